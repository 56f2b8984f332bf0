"""Images without an engine: a folder that becomes `/`, and what the image says of its processes.

A Dockerfile's steps are carried out for real, in namespaces of their own (bubblewrap), where all
but `/usr` is the image's. `/usr` is this machine's, `/usr/local` the Python that runs the tests, as
in the official images of Python.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.house import needs

_PATH = "/usr/local/bin:/usr/local/sbin:/usr/bin:/usr/sbin:/bin:/sbin"


@dataclass(slots=True)
class Image:
    """``local`` is what it has at ``/usr/local``; ``entrypoint`` comes before each command."""

    root: Path
    local: Path
    env: dict[str, str] = field(default_factory=lambda: {"PATH": _PATH})
    user: str = "0:0"
    workdir: str = "/"
    command: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)

    def mountpoint(self, path: str, source: Path) -> str:
        """A path in the image at which ``source`` can be mounted, also where `/` is read-only."""
        inside = self.root / path.lstrip("/")
        if source.is_dir():
            inside.mkdir(parents=True, exist_ok=True)
        elif not inside.exists():
            inside.parent.mkdir(parents=True, exist_ok=True)
            inside.touch()
        return path


def container_tools() -> None:
    """Skips, or fails in CI, where a container cannot be had."""
    if sys.platform != "linux" or os.geteuid() != 0:
        reason = "containers are tested on Linux, as root"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    needs("bwrap", package="bubblewrap")


def bare(root: Path, local: Path) -> Image:
    """An image with nothing of its own but the system's folders."""
    for name in ("usr", "opt", "tmp", "run", "root", "home", "proc", "dev", "var/lib", "var/run"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    # As it is here: certificates, and how the index of packages is reached.
    shutil.copytree("/etc", root / "etc", symlinks=True)
    image = Image(root, local)
    inside(image, "ldconfig", timeout=60)  # the Python of the tests may have a shared library
    return image


def view(image: Image, *, read_only: bool) -> list[str]:
    """bubblewrap's words for the files of an image, with its own processes, /proc and /dev."""
    return [
        *("bwrap", "--die-with-parent", "--unshare-pid", "--unshare-ipc", "--unshare-uts"),
        *("--ro-bind" if read_only else "--bind", str(image.root), "/"),
        *("--ro-bind", "/usr", "/usr", "--ro-bind", str(image.local), "/usr/local"),
        *("--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/dev/shm"),
    ]


def environment(env: Mapping[str, str]) -> list[str]:
    """bubblewrap's words for an environment and nothing else."""
    words = ["--clearenv"]
    for name, value in env.items():
        words += ["--setenv", name, value]
    return words


def as_user(user: str) -> list[str]:
    """The words before a command that is run by this user, without a single capability."""
    uid, _, gid = user.partition(":")
    return [
        *("setpriv", "--reuid", uid, "--regid", gid or uid, "--clear-groups", "--no-new-privs"),
        *("--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--"),
    ]


def inside(image: Image, script: str, *, timeout: float, mounts: Sequence[str] = ()) -> None:
    """A step of a build: root runs a script, which must succeed."""
    machine = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    done = subprocess.run(
        [
            *view(image, read_only=False),
            *mounts,
            *environment({"HOME": "/root", **machine, **image.env}),
            *("--chdir", image.workdir, "sh", "-ec", script),
        ],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"


# A Dockerfile ---------------------------------------------------------------------------------


def build(dockerfile: Path, context: Path, folder: Path) -> Image:
    """The last stage, after all steps of all stages."""
    stages: dict[str, Image] = {}
    for word, text in instructions(dockerfile.read_text()):
        if word == "FROM":
            base, _, name = text.partition(" AS ")
            assert re.fullmatch(r"python:3\.\d+-slim-\w+", base), base
            image = bare(folder / f"stage{len(stages)}", Path(sys.base_prefix))
            stages[name or "last"] = image
        else:
            _carry_out(word, text, image, stages, context, dockerfile)
    return image


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Each instruction and its words, continued lines joined."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        word, _, rest = line.partition(" ")
        yield word, " ".join(rest.split())


def _carry_out(
    word: str, text: str, image: Image, stages: dict[str, Image], context: Path, dockerfile: Path
) -> None:
    match word:
        case "WORKDIR":
            image.workdir = text
            (image.root / text.lstrip("/")).mkdir(parents=True, exist_ok=True)
        case "ENV":
            for pair in shlex.split(text):
                name, _, value = pair.partition("=")
                image.env[name] = re.sub(r"\$(\w+)", lambda it: image.env[it[1]], value)
        case "USER":
            image.user = text
        case "CMD":
            image.command = shlex.split(text.strip("[]").replace(",", " "))
        case "COPY" if text.startswith("--from="):
            stage, source, target = text.removeprefix("--from=").split()
            folder = stages[stage].root / source.lstrip("/")
            inside_image = image.root / target.lstrip("/")
            shutil.copytree(folder, inside_image, symlinks=True, copy_function=os.link)
        case "COPY":
            *sources, target = text.split()
            for source in sources:
                assert f"!{source}" in _ignored(dockerfile), f"{source} is kept from the builder"
                path = context / source
                _copy(path, image, target if path.is_dir() else f"{target}/{source}", dockerfile)
        case "RUN":
            mounts = []
            while text.startswith("--mount="):
                option, _, text = text.partition(" ")
                assert option == "--mount=type=cache,target=/root/.cache/pip", option
                cache = _pip_cache()
                mounts += ["--bind", str(cache), image.mountpoint("/root/.cache/pip", cache)]
            inside(image, text, timeout=600, mounts=mounts)
        case _:
            raise AssertionError(f"these tests do not know {word}")


def _copy(source: Path, image: Image, target: str, dockerfile: Path) -> None:
    path = image.root / os.path.normpath(os.path.join(image.workdir, target)).lstrip("/")
    if source.is_dir():
        left_out = [line for line in _ignored(dockerfile) if line.startswith("**/")]
        ignore = shutil.ignore_patterns(*(line.removeprefix("**/") for line in left_out))
        shutil.copytree(source, path, symlinks=True, dirs_exist_ok=True, ignore=ignore)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, path)


def _ignored(dockerfile: Path) -> list[str]:
    lines = Path(f"{dockerfile}.dockerignore").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _pip_cache() -> Path:
    command = [sys.executable, "-m", "pip", "cache", "dir"]
    path = Path(subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip())
    path.mkdir(parents=True, exist_ok=True)
    return path
