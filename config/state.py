"""The state directory: the lock, the secrets and the ports of one embedded installation.

    lock           held by `up` and its lifeline; whoever holds it owns the directory
    state.json     passwords, ports, where the servers' data live
    children.json  what runs, for the start after a SIGKILL of everybody
    admin-token    the first admin token
    env.sh         `. env.sh` makes the client work, and `porch-server doctor`
    *.log          one per child
    servers/       data of PostgreSQL and Valkey (elsewhere for root: see server_home.py)
    flower/        Flower's password, and what it has seen

The directory has mode 0700, each file 0600, from its first moment.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import stat
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType

import psutil

from config.lifeline import running
from config.private_files import write_private
from config.processes import POLL_SECONDS, Pause
from coordinator.errors import PorchError

# Longer than a lifeline takes to stop everything.
_TAKEOVER_SECONDS = 60.0


class StateDirInUse(PorchError):
    """Another porch-server works in this state directory."""

    code = "state_dir_in_use"

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(
            f"{path} is in use by {holder}",
            "use that one (its env.sh says how), stop it, or set PORCH_STATE_DIR to another path",
        )


class StateDirUnsafe(PorchError):
    """The state directory could be read by other users, or belongs to one."""

    code = "state_dir_unsafe"


class StateDirDamaged(PorchError):
    """``state.json`` cannot be read: the passwords in it are lost."""

    code = "state_dir_damaged"


@dataclass(frozen=True, slots=True)
class Secrets:
    """What has to be the same at each start. ``server_home`` is empty before the first one."""

    postgres_password: str
    valkey_password: str
    postgres_port: int = 0
    valkey_port: int = 0
    server_home: str = ""


class State:
    """An open state directory: ours alone until closed. A context manager.

    Raises StateDirInUse and StateDirUnsafe. Waits (through ``pause``) while the children of a
    killed predecessor are still being stopped. ``new``: nobody has worked in it before.
    """

    def __init__(self, path: Path, pause: Pause = time.sleep) -> None:
        self.path = private_directory(path)
        self.lock = _take_lock(self.path, pause)
        self.new = False
        try:
            self.secrets = self._load()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> State:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the directory back."""
        fcntl.flock(self.lock, fcntl.LOCK_UN)  # a forked child may hold a copy of the descriptor
        os.close(self.lock)

    @property
    def children(self) -> Path:
        """Record of the running children."""
        return self.path / "children.json"

    @property
    def admin_token(self) -> Path:
        """Where the first admin token is kept."""
        return self.path / "admin-token"

    @property
    def env_sh(self) -> Path:
        """The file a user sources to work with this installation."""
        return self.path / "env.sh"

    def log(self, name: str) -> Path:
        """The log of one child."""
        return self.path / f"{name}.log"

    def change(self, **changes: str | int) -> None:
        """Change secrets, on disk before in memory."""
        changed = replace(self.secrets, **changes)  # type: ignore[arg-type]
        write_private(self.path / "state.json", json.dumps(asdict(changed), indent=2))
        self.secrets = changed

    def _load(self) -> Secrets:
        path = self.path / "state.json"
        try:
            return Secrets(**json.loads(path.read_text()))
        except FileNotFoundError:
            new = Secrets(secrets.token_hex(32), secrets.token_hex(32))
            write_private(path, json.dumps(asdict(new), indent=2))
            self.new = True
            return new
        except (ValueError, TypeError) as error:
            raise StateDirDamaged(
                f"{path} cannot be read: {error}", "restore it from a backup, or move the directory"
            ) from error


def private_directory(path: Path) -> Path:
    """A directory of ours that nobody else may enter; made if missing. Raises StateDirUnsafe."""
    path = path.expanduser().absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise StateDirUnsafe(
            f"{path} cannot be made a directory of ours: {error.strerror}",
            "set PORCH_STATE_DIR to another path",
        ) from error
    path = path.resolve()
    found = path.stat()
    if found.st_uid != os.geteuid():
        raise StateDirUnsafe(
            f"{path} belongs to user number {found.st_uid}",
            "run porch-server as that user, or set PORCH_STATE_DIR to another path",
        )
    # Refused rather than mended: it may be a directory that is not meant for us at all.
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        ours = f"chmod 700 {path}, or " if (path / "state.json").exists() else ""
        raise StateDirUnsafe(
            f"{path} is open to other users (mode {stat.S_IMODE(found.st_mode):04o})",
            f"{ours}set PORCH_STATE_DIR to a path that does not exist yet",
        )
    return path


def _take_lock(directory: Path, pause: Pause) -> int:
    """Lock the directory; the kernel lets go of it when its last holder has died."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    lock = os.open(directory / "lock", flags, 0o600)
    try:
        _wait_for_lock(lock, directory, pause)
        us = {"pid": os.getpid(), "created": psutil.Process().create_time()}
        os.ftruncate(lock, 0)
        os.pwrite(lock, json.dumps(us).encode(), 0)
    except BaseException:
        os.close(lock)
        raise
    return lock


def _wait_for_lock(lock: int, directory: Path, pause: Pause) -> None:
    """Wait only for the lifeline of a porch-server that was killed; it is stopping its children."""
    deadline = time.monotonic() + _TAKEOVER_SECONDS
    while not _try_lock(lock):
        holder = _holder(lock)
        if holder and running(holder["pid"], holder["created"]):
            raise StateDirInUse(directory, f"porch-server, process {holder['pid']}")
        if time.monotonic() > deadline:
            raise StateDirInUse(directory, "what a killed porch-server has left behind")
        pause(POLL_SECONDS)


def _try_lock(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(lock: int) -> Mapping[str, int] | None:
    try:
        holder: Mapping[str, int] = json.loads(os.pread(lock, 200, 0))
    except ValueError:  # it is writing this very moment
        return None
    return holder
