"""Files that nobody else may read: private from their first moment, whole or not there."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from config.system_user import SystemUser

_TAIL_BYTES = 8192
_TAIL_LINES = 15


def write_private(path: Path, text: str, owner: SystemUser | None = None) -> None:
    """Replace a file atomically and durably: mode 0600, of ``owner`` (default: ourselves).

    A reader, or a crash at any moment, sees the old text or the new one.
    """
    # mkstemp: mode 0600 from the start, and never through somebody's symbolic link.
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            if owner is not None:
                os.fchown(file.fileno(), owner.uid, owner.gid)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def open_log(path: Path) -> int:
    """A descriptor that appends to a log of mode 0600; the caller closes it."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o600)


def tail(path: Path) -> str:
    """The last lines of a log, indented, for an error message."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()[-_TAIL_LINES:]
    except FileNotFoundError:
        lines = []
    return "\n".join(f"    {line}" for line in lines or ["(nothing)"])
