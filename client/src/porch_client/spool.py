"""A folder that keeps what cannot be delivered, definitions and reports: one file for each bundle.

A file is there whole and on disk, or not at all: it is written under another name, synced, renamed,
and the folder synced. Its name is unique, so any number of processes may write at once; it sorts by
time, and ends with the number of definitions, or of reports. In ``refused/`` is what the
coordinator said no to, in the same form, with the reasons beside it: moved back, it is sent again.

Whoever sends holds ``.lock``, only to spare the coordinator the work: where the file system knows
no locks, two senders send the same twice, which registers it once.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from porch_client.bundle import Bundle, Reports
from porch_client.errors import BadInput, Misconfigured, PorchError

_NAME = re.compile(r"[0-9]{20}-[0-9a-f]{32}-([0-9]{1,9})(\.reports)?\.json")
_UNFINISHED = ".unfinished-"
#: Seconds after which an unfinished file is taken for one whose writer was killed. One that was
#: only frozen fails when it goes on, and has told nobody that its definitions are kept.
_ABANDONED = 86_400.0
_POLL = 0.1


class Spool:
    """The folder at ``path``. Raises Misconfigured (spool_failed) wherever the disk says no."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        if not os.fspath(path):
            # An unset variable of a shell script, which must not spool into wherever we are.
            raise Misconfigured("spool_failed", "the folder of the spool has no name", "name one")
        self.path = Path(path).absolute()
        self.refused = self.path / "refused"

    def make(self) -> None:
        """Make the folder where it is missing, for us alone, and see that it can be written to."""
        with self._told():
            missing = [folder for folder in (self.path, *self.path.parents) if not folder.exists()]
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            for folder in missing:
                _sync(folder.parent)
            # Now, and not on the day when it is needed.
            os.unlink(self._unfinished(self.path, b""))

    def put(self, bundle: Bundle | Reports) -> str:
        """Keep a bundle; it is on disk when this returns its name."""
        name = f"{time.time_ns():020d}-{uuid4().hex}-{_ending(bundle)}"
        with self._told():
            self._write(self.path, name, bundle.as_text())
        return name

    def waiting(self) -> list[str]:
        """The names of what is to be sent, oldest first. Raises Misconfigured: no such folder."""
        try:
            return sorted(name for name in os.listdir(self.path) if _NAME.fullmatch(name))
        except OSError as error:
            raise Misconfigured(
                "no_spool",
                f"cannot look into {self.path}: {error.strerror}",
                "name the folder that was given as --spool",
            ) from error

    def read(self, name: str) -> Bundle | Reports | None:
        """A bundle; None if another process has sent it meanwhile.

        Raises BadInput where the file is damaged, Misconfigured where it is not ours to read.
        """
        try:
            text = (self.path / name).read_bytes().decode()
            return Reports.from_text(text) if reports(name) else Bundle.from_text(text)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Misconfigured(
                "spool_unreadable",
                f"cannot read {self.path / name}: {error.strerror}",
                "let its owner send it",
            ) from error
        except ValueError as error:
            raise BadInput(
                "spool_damaged", f"cannot use {name}: {error}", "see what is left of it"
            ) from error

    def remove(self, name: str) -> None:
        """Let go of what the coordinator has answered for."""
        with self._told(), suppress(FileNotFoundError):
            os.unlink(self.path / name)

    def refuse(self, name: str, error: PorchError) -> None:
        """Set a whole file aside with the reason."""
        with self._told(), suppress(FileNotFoundError):
            self._explain(name, {None: error})
            os.rename(self.path / name, self.refused / name)
            _sync(self.refused)
            _sync(self.path)

    def refuse_some(
        self, name: str, bundle: Bundle | Reports, errors: Mapping[int, PorchError]
    ) -> None:
        """Set some of a file aside with the reasons, and let go of the others."""
        some = bundle.only(errors)
        # The same name each time: one who is killed in the middle has it done again.
        aside = f"{name.rpartition('-')[0]}-{_ending(some)}"
        with self._told():
            self._explain(aside, dict(enumerate(errors.values())))
            self._write(self.refused, aside, some.as_text())
        self.remove(name)

    def tidy(self) -> None:
        """Remove what killed writers have left unfinished."""
        before = time.time() - _ABANDONED
        for folder in (self.path, self.refused):
            # Another may be doing the same, and another's files may not be ours to remove.
            for path in folder.glob(f"{_UNFINISHED}*"):
                with suppress(OSError):
                    if path.lstat().st_mtime < before:
                        path.unlink()

    @contextmanager
    def lock(self, patience: float = 0.0) -> Iterator[bool]:
        """Be the only one who sends; whether we are, after ``patience`` seconds at most."""
        file = self._lock_file()
        try:
            yield file is None or _locked(file, time.monotonic() + patience)
        finally:
            if file is not None:
                os.close(file)

    # ----------------------------------------------------------------------------------------

    def _lock_file(self) -> int | None:
        try:
            return os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:  # made by another user: we go without
            return None

    def _explain(self, name: str, errors: Mapping[int | None, PorchError]) -> None:
        """Write the reasons, one JSON line each, into the folder of what is refused."""
        self.refused.mkdir(mode=0o700, exist_ok=True)
        _sync(self.path)
        lines = [
            {"position": position, "code": error.code, "message": error.message, "cure": error.cure}
            for position, error in errors.items()
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        self._write(self.refused, f"{name}.errors", text)

    def _write(self, folder: Path, name: str, text: str) -> None:
        unfinished = self._unfinished(folder, text.encode())
        try:
            os.rename(unfinished, folder / name)
        except OSError:
            with suppress(OSError):
                os.unlink(unfinished)
            raise
        _sync(folder)

    def _unfinished(self, folder: Path, data: bytes) -> Path:
        """A new file with this in it, on disk, under a name that nobody reads."""
        path = folder / f"{_UNFINISHED}{uuid4().hex}"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.fchmod(file, 0o600)  # whatever the umask
            left = memoryview(data)
            while left:
                left = left[os.write(file, left) :]
            os.fsync(file)
        except OSError:
            with suppress(OSError):
                os.unlink(path)
            raise
        finally:
            os.close(file)
        return path

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise Misconfigured(
                "spool_failed",
                f"cannot keep anything in {self.path}: {error.strerror}",
                "give a folder that can be written to and has room; what was not answered is "
                "neither delivered nor kept: send it again",
            ) from error


def size(name: str) -> int:
    """The number of definitions, or reports, in a file that waits, by its name."""
    found = _NAME.fullmatch(name)
    return int(found[1]) if found else 0


def reports(name: str) -> bool:
    """Whether a file that waits has reports, by its name."""
    found = _NAME.fullmatch(name)
    return bool(found and found[2])


def _ending(bundle: Bundle | Reports) -> str:
    return f"{len(bundle)}{'.reports' if isinstance(bundle, Reports) else ''}.json"


def _sync(folder: Path) -> None:
    """Put the names in a folder on disk: what was renamed stays renamed."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _locked(file: int, deadline: float) -> bool:
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL)
        except OSError:  # a file system without locks
            return True
        else:
            return True
