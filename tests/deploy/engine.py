"""docker-compose.yml without Docker: its services as processes, with the same words throughout.

Each service gets what the file says: its command, its environment, its user without capabilities,
a root that is read-only, tmpfs, volumes, secrets, and the names of the other services. What Docker
does beyond that is not imitated: limits, and networks that keep services apart. All share one with
nothing else in it, so that they listen on the ports of the file, and nobody outside meets them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from tests.deploy.images import Image, as_user, environment, view
from tests.house import BIN, wait_until

ROOT = Path(__file__).parents[2]


def configuration(project: Path, **env: str) -> dict[str, Any]:
    """The file as Docker Compose understands it; AssertionError with its words if it does not."""
    done = subprocess.run(
        [str(BIN / "docker-compose"), "--profile", "*", "config", "--format", "json"],
        cwd=project,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    # What is given to a shell keeps its dollars doubled.
    found: dict[str, Any] = json.loads(done.stdout.replace("$$", "$"))
    return found


def project(folder: Path) -> Path:
    """A folder with what the file mounts, and with secrets as the script makes them."""
    folder.mkdir()
    shutil.copy(ROOT / "docker-compose.yml", folder)
    for name in ("docker", "prometheus", "grafana"):
        shutil.copytree(ROOT / "config" / name, folder / "config" / name)
    subprocess.run([str(folder / "config" / "docker" / "secrets.sh")], cwd="/", check=True)
    return folder


class Container:
    """One service. ``words`` are what contains a command of it."""

    def __init__(self, name: str, service: Mapping[str, Any], image: Image, words: list[str]):
        self.name = name
        self.service = service
        self.image = image
        self.words = words
        self.process: subprocess.Popen[str] | None = None

    @property
    def payload(self) -> psutil.Process:
        """The service's own process; bubblewrap, and its first process, are around it."""
        assert self.process is not None
        first = psutil.Process(self.process.pid).children()[0]
        return wait_until(first.children, 10.0, f"{self.name} has begun")[0]

    def run(self, *argv: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """`docker compose exec`, or `run`: a command in such a container."""
        command = [*self.words, *(argv or self.service["command"])]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, **options
        )

    def check(self) -> subprocess.CompletedProcess[str]:
        """The health check, once."""
        kind, *words = self.service["healthcheck"]["test"]
        return self.run(*(["/bin/sh", "-c", *words] if kind == "CMD-SHELL" else words))

    @property
    def healthy(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.said()
        return self.check().returncode == 0

    def said(self) -> str:
        """The end of its log."""
        log = self.image.root.parent / f"{self.name}.log"
        return f"{self.name}:\n" + "\n".join(log.read_text().splitlines()[-30:])


class Engine:
    """Services of a project, started with what they depend on. A context manager."""

    def __init__(self, project: Path, images: Mapping[str, Image], folder: Path) -> None:
        self.folder = folder
        self.compose = configuration(project)
        self.images = images
        self.containers: dict[str, Container] = {}
        self._hosts = folder / "hosts"
        names = " ".join(self.compose["services"])
        self._hosts.write_text(f"127.0.0.1 localhost {names}\n")
        # It holds the network, in which there is nothing but its loopback.
        self._network = subprocess.Popen(
            [
                "bwrap",
                "--unshare-net",
                "--die-with-parent",
                "--ro-bind",
                "/",
                "/",
                "sleep",
                "infinity",
            ]
        )
        holder = psutil.Process(self._network.pid)
        self._inside = wait_until(holder.children, 10.0, "there is a network")[0].pid

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exception: object) -> None:
        for container in self.containers.values():
            if container.process is not None and container.process.poll() is None:
                container.process.kill()
                container.process.wait(30)
        self._network.kill()
        self._network.wait(30)

    def image_of(self, service: Mapping[str, Any]) -> Image:
        """The image of a service, by the name before its tag."""
        return self.images[service["image"].rpartition(":")[0]]

    def up(self, name: str) -> Container:
        """Start a service, after those that it depends on, each in the state that it waits for."""
        if name in self.containers:
            return self.containers[name]
        service = self.compose["services"][name]
        for other, needed in service.get("depends_on", {}).items():
            before = self.up(other)
            if needed["condition"] == "service_completed_successfully":
                assert before.process is not None
                assert before.process.wait(120) == 0, before.said()
            else:
                wait_until(lambda b=before: b.healthy, 90.0, f"{other} is healthy")
        return self.start(name, service)

    def start(self, name: str, service: Mapping[str, Any]) -> Container:
        """Start one service, whatever it depends on."""
        container = self.containers[name] = self.container(name, service)
        with (container.image.root.parent / f"{name}.log").open("w") as log:
            container.process = subprocess.Popen(
                [*container.words, *container.image.entrypoint, *service["command"]],
                stdout=log,
                stderr=log,
                text=True,
            )
        return container

    def container(self, name: str, service: Mapping[str, Any]) -> Container:
        """A container that is not started."""
        image = self.image_of(service)
        words = [
            *("nsenter", f"--net=/proc/{self._inside}/ns/net"),
            *view(image, read_only=service.get("read_only", False)),
            *("--hostname", name),
            *("--ro-bind", str(self._hosts), image.mountpoint("/etc/hosts", self._hosts)),
        ]
        user = service.get("user", image.user)
        for path in service.get("tmpfs", []):
            folder = self.folder / "tmpfs" / name / path.strip("/")
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o1777)
            words += ["--bind", str(folder), image.mountpoint(path, folder)]
        for volume in service.get("volumes", []):
            if volume["type"] == "volume":
                words += self._volume(image, volume)
            else:
                source = Path(volume["source"])
                assert source.exists(), f"{source} is mounted, and is not there"
                words += ["--ro-bind", str(source), image.mountpoint(volume["target"], source)]
        for secret in service.get("secrets", []):
            source = Path(self.compose["secrets"][secret["source"]]["file"])
            target = "/run/secrets/" + secret.get("target", secret["source"]).split("/")[-1]
            words += ["--ro-bind", str(source), image.mountpoint(target, source)]
        words += environment({**image.env, **service.get("environment", {})})
        words += ["--chdir", service.get("working_dir", image.workdir)]
        return Container(name, service, image, [*words, *as_user(user)])

    def _volume(self, image: Image, volume: Mapping[str, Any]) -> list[str]:
        """A volume; when it is new, it has the owner that its place has in the image."""
        folder = self.folder / "volumes" / volume["source"]
        if not folder.exists():
            folder.mkdir(parents=True)
            place = image.root / volume["target"].lstrip("/")
            if place.exists() and not (volume.get("volume") or {}).get("nocopy"):
                os.chown(folder, place.stat().st_uid, place.stat().st_gid)
        how = "--ro-bind" if volume.get("read_only") else "--bind"
        return [how, str(folder), image.mountpoint(volume["target"], folder)]


def stopped(container: Container, signal_number: int) -> float:
    """Seconds until a service has ended by itself after the signal that Docker sends first."""
    assert container.process is not None
    began = time.monotonic()
    container.payload.send_signal(signal_number)
    container.process.wait(120)
    return time.monotonic() - began
