"""Whom the embedded servers run as."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass

from coordinator.errors import PorchError

# Not "porch": somebody may well have given that name to a person's or a service's account.
_NAME = "porch-servers"


class NoServerUser(PorchError):
    """We are root and there is no unprivileged user to run the servers as."""

    code = "no_server_user"

    def __init__(self, why: str) -> None:
        super().__init__(
            f'PostgreSQL refuses to run as root, and the user "{_NAME}" cannot be made: {why}',
            f"make it (useradd --system {_NAME}), run porch-server as another user, "
            "or set PORCH_DATABASE_URL and PORCH_BROKER_URL",
        )


@dataclass(frozen=True, slots=True)
class SystemUser:
    """An unprivileged account."""

    name: str
    uid: int
    gid: int


def server_user() -> SystemUser | None:
    """The account for the servers: a system user of their own if we are root, else ourselves.

    None means ourselves. Made on first use; raises NoServerUser when that fails.
    """
    if os.geteuid() != 0:
        return None
    found = _look_up() or _make()
    if found.uid == 0:
        raise NoServerUser("it exists and is root")
    return found


def _look_up() -> SystemUser | None:
    try:
        entry = pwd.getpwnam(_NAME)
    except KeyError:
        return None
    return SystemUser(_NAME, entry.pw_uid, entry.pw_gid)


def _make() -> SystemUser:
    search = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    useradd = shutil.which("useradd", path=search)
    if useradd is None:
        raise NoServerUser("there is no useradd on this machine")
    done = subprocess.run(
        [useradd, "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent",
         "--shell", "/usr/sbin/nologin", _NAME],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    # Looked up whatever useradd says: another porch-server may have made it in the same moment.
    made = _look_up()
    if made is None:
        raise NoServerUser(done.stderr.strip() or f"useradd ended with {done.returncode}")
    return made
