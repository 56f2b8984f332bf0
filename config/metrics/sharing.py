"""Counting together: the processes of one worker, or of one gateway, are scraped as one.

Each process counts in files of its own, in a folder that the first of them makes, and whoever is
scraped adds them up (prometheus_client calls it multiprocess mode). A process takes the lowest slot
that nobody holds, and goes on counting in that slot's files: there are files for as many processes
as there are at a time, however often one dies, and no counter ever falls. The kernel lets go of the
slot of a process that dies, and of the folder of a group that does.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import values
from prometheus_client.multiprocess import mark_process_dead

from config.settings import Misconfigured

#: Where prometheus_client looks for the folder; set here and nowhere else.
_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_LOCK = "lock"
_MOST_SLOTS = 1_000


def count_together() -> None:
    """Let this process, and those that it is about to start, count together.

    Comes before anything is counted. The folder is removed when this process ends; if it is killed,
    by the next of the same user that comes here. Raises Misconfigured.
    """
    home = _home()
    with _locked(home):
        _remove_abandoned(home)
        folder = Path(tempfile.mkdtemp(dir=home))
        _try_lock(folder / _LOCK)  # for as long as this process lives
    os.environ[_FOLDER] = str(folder)
    owner = os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)


def count_alone() -> None:
    """Let this process count for itself."""
    os.environ.pop(_FOLDER, None)


def folder() -> Path | None:
    """Where this process counts together with others; None where it counts alone."""
    name = os.environ.get(_FOLDER)
    return Path(name) if name else None


def use() -> None:
    """Make what is counted from now on what ``count_together`` or ``count_alone`` says."""
    together = folder()
    if together is None:
        values.ValueClass = values.MutexValue
    else:
        values.ValueClass = values.MultiProcessValue(  # type: ignore[no-untyped-call]
            _Slot(together).number
        )


def forget_the_dead(together: Path) -> None:
    """Drop what a dead process was doing when it died; what it has counted stays."""
    for path in together.glob("gauge_live*.db"):
        slot = path.stem.rpartition("_")[2]
        lock = _try_lock(together / f"slot-{slot}")
        if lock is not None:
            mark_process_dead(slot, str(together))  # type: ignore[no-untyped-call]
            os.close(lock)


class _Slot:
    """The number under which this process counts; a fork of it takes one of its own."""

    def __init__(self, together: Path) -> None:
        self._folder = together
        self._number: int | None = None
        self._held: int | None = None
        os.register_at_fork(after_in_child=self._leave)

    def number(self) -> int:
        """The same for as long as this process lives."""
        if self._number is None:
            self._number, self._held = self._take()
        return self._number

    def _leave(self) -> None:
        if self._held is not None:
            os.close(self._held)  # the parent has its own
        self._number = self._held = None

    def _take(self) -> tuple[int, int]:
        for number in range(_MOST_SLOTS):
            lock = _try_lock(self._folder / f"slot-{number}")
            if lock is not None:
                mark_process_dead(number, str(self._folder))  # type: ignore[no-untyped-call]
                return number, lock
        raise AssertionError("a thousand processes count together")


def _home() -> Path:
    """A folder of this user's, where the system keeps what is temporary."""
    home = Path(tempfile.gettempdir()) / f"porch-metrics-{os.geteuid()}"
    try:
        home.mkdir(mode=0o700, exist_ok=True)
        found = home.lstat()
    except OSError as error:
        raise Misconfigured(f"cannot use {home}: {error.strerror}", "set TMPDIR") from None
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    if not ours or found.st_mode & 0o077:
        raise Misconfigured(
            f"{home} is not this user's alone", "remove it, or set TMPDIR to another folder"
        )
    return home


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """One at a time makes and removes folders."""
    held = os.open(home, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _remove_abandoned(home: Path) -> None:
    for path in home.iterdir():
        lock = _try_lock(path / _LOCK)
        if lock is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


def _try_lock(path: Path) -> int | None:
    """A descriptor that holds the lock; None while another process does, or if the path is gone."""
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock
