"""``porch-server archive`` and ``restore``: what ended long ago leaves the database, or comes back.

What is pruned is on disk first. A file is written whole under another name, synced, renamed, and
its folder synced, before the first of its tasks is pruned: whatever dies in between loses nothing,
and at most some tasks are in two files. A file is named by its first task as that ended, so that
one that was not pruned at all is written again under the same name.
"""

from __future__ import annotations

import fcntl
import gzip
import json
import os
import shlex
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from coordinator.errors import BadRequest, PorchError
from coordinator.identity import Identified, Limits, identified
from coordinator.naming import key_range
from coordinator.requests import Name
from db.archiving import Archive, Due, Kept
from db.engine import make_engine
from db.import_target import NotMigrated
from db.shape import behind
from db.translate import translated

#: Tasks in one transaction, and in one file.
BATCH = 250
FILE = 25_000

#: Days for which a claim that got nothing, or whose history has been pruned, is answered as before
#: when it is asked again: longer than a message waits for workers that are away over holidays, and
#: than a script goes on asking. Later it is a new claim.
CLAIM_DAYS = 14
#: Blocks of claims that are looked at together: some two thousand rows.
_CLAIM_BLOCKS = 16

#: What was accepted under the limits of its day is not judged by those of today.
_NO_LIMITS = Limits(max_bytes=2**40, max_depth=10_000)

_Batch = TypeVar("_Batch")
Tell = Callable[["Pruned"], None]


class ArchiveBusy(PorchError):
    """Another archive is being written in this folder."""

    code = "archive_busy"


class NotArchived(PorchError):
    """The archive cannot be written: what is not in it has not been pruned."""

    code = "not_archived"


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was pruned of a pipeline in one status, so far; ``file``: the last one written."""

    pipeline: str
    status: str
    tasks: int
    events: int
    files: int
    file: str | None


def archive(
    database_url: str,
    folder: Path | None,
    *,
    seconds: float | None = None,
    from_the_start: bool = False,
    tell: Tell = lambda _: None,
) -> list[Pruned]:
    """Prune what the pipelines' policies keep no longer, having written it to ``folder`` (None:
    it is not written). Returns what was pruned, by pipeline and status.

    Rests as long as it works, in batches of some milliseconds, so that whoever claims meanwhile
    does not notice. ``seconds``: begins no new file after so many; the next run goes on there.
    ``from_the_start``: looks again at times where everything was pruned before, as an import may
    have brought more. Raises ArchiveBusy, NotMigrated, LedgerAway, OSError.
    """
    until = None if seconds is None else time.monotonic() + seconds
    with _opened(database_url) as kept_there, _only_one(folder):
        done = []
        for kept in kept_there.policies():
            pruned = Pruned(kept.pipeline, kept.status.value, 0, 0, 0, None)
            batches = _rested(kept_there.due(kept, BATCH, from_the_start=from_the_start))
            while until is None or time.monotonic() < until:
                first = next(batches, None)
                if first is None:
                    break
                several = chain([first], islice(batches, FILE // BATCH - 1))
                some, path = _write(folder, kept, several)
                pruned = _pruned(kept_there, kept, some, pruned, path)
                tell(pruned)
            done.append(pruned)
        return done


def prune_claims(database_url: str, seconds: float | None = None) -> int:
    """Forget claims that were asked long ago and that nothing refers to; how many those were.

    Rests as long as it works. Raises NotMigrated, LedgerAway.
    """
    until = None if seconds is None else time.monotonic() + seconds
    gone = 0
    with _opened(database_url) as kept_there:
        for some in _rested(kept_there.prune_claims(CLAIM_DAYS, _CLAIM_BLOCKS)):
            gone += some
            if until is not None and time.monotonic() >= until:
                break
    return gone


def restore(database_url: str, files: Sequence[Path], tasks: Sequence[str] = ()) -> tuple[int, int]:
    """Give inputs back to tasks that have been pruned, from archives or any JSON lines that have
    ``pipeline``, ``version`` and ``task_input``. ``tasks``: only those, by beginnings of keys.

    Returns how many were given back, and how many lines fitted. Raises BadRequest for a line that
    is none of these, UnknownTask for what is no beginning of a key, LedgerAway, OSError.
    """
    keys = [key_range(Name(task)) for task in tasks]
    restored = fitted = 0
    with _opened(database_url) as kept_there:
        lines = chain.from_iterable(map(_lines, files))
        wanted = (one for one in lines if not keys or any(k.low <= one[2] <= k.high for k in keys))
        while some := list(islice(wanted, BATCH)):
            # Of one that is in two files, one is enough; and a row is changed once by a statement.
            unique = {line[:3]: line for line in some}
            fitted += len(unique)
            restored += kept_there.restore(list(unique.values()))
    return restored, fitted


@contextmanager
def _opened(database_url: str) -> Iterator[Archive]:
    engine = make_engine(database_url)
    try:
        with translated():
            needed = behind(engine)
        if needed is not None:
            raise NotMigrated(f"the database of porch {needed}", "run `porch-server migrate` first")
        yield Archive(engine)
    finally:
        engine.dispose()


@contextmanager
def _only_one(folder: Path | None) -> Iterator[None]:
    """Holds the folder for itself, until the end of this process at the latest."""
    if folder is None:
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    held = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArchiveBusy(
                f"another archive is being written to {folder}", "wait for its end"
            ) from None
        for part in folder.glob(".*.ndjson.gz.part"):
            part.unlink()  # of a run that was killed
        yield
    finally:
        os.close(held)


def _rested(batches: Iterator[_Batch]) -> Iterator[_Batch]:
    while True:
        began = time.monotonic()
        batch = next(batches, None)
        if batch is None:
            return
        time.sleep(time.monotonic() - began)
        yield batch


def _write(
    folder: Path | None, kept: Kept, batches: Iterator[list[Due]]
) -> tuple[list[Due], Path | None]:
    """Write the lines of some tasks to a file, safely; the tasks, without their lines."""
    if folder is None:
        return [one for batch in batches for one in batch], None
    first = next(batches)
    path = folder / _name(kept, first[0])
    part = path.with_name(f".{path.name}.part")
    try:
        some = _packed(part, chain([first], batches))
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)  # a disk that is full needs the room
        raise
    _sync(folder)
    return some, path


def _packed(part: Path, batches: Iterable[list[Due]]) -> list[Due]:
    some: list[Due] = []
    with closing(os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")) as f:
        with gzip.GzipFile("", "wb", fileobj=f, mtime=0) as packed:
            for batch in batches:
                for one in batch:
                    packed.write(one.line.encode() + b"\n")
                    some.append(one._replace(line=""))
        f.flush()
        os.fsync(f.fileno())
    return some


def _name(kept: Kept, first: Due) -> str:
    when = first.updated_at.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    pipeline = quote(kept.pipeline, safe="")[:100]
    if pipeline[0] in ".-~":  # `*.gz` is to find it, and no command to take it for something else
        pipeline = f"%{ord(pipeline[0]):02X}{pipeline[1:]}"
    return f"{pipeline}.{kept.pipeline_id}.{kept.status}.{when}.{first.task_id}.ndjson.gz"


def _sync(folder: Path) -> None:
    entry = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(entry)
    finally:
        os.close(entry)


def _pruned(
    there: Archive, kept: Kept, some: Sequence[Due], so_far: Pruned, path: Path | None
) -> Pruned:
    tasks, events = so_far.tasks, so_far.events
    for begin in range(0, len(some), BATCH):
        began = time.monotonic()
        gone = there.prune(kept, some[begin : begin + BATCH])
        tasks, events = tasks + gone[0], events + gone[1]
        time.sleep(time.monotonic() - began)
    files = so_far.files + (path is not None)
    name = so_far.file if path is None else path.name
    return Pruned(so_far.pipeline, so_far.status, tasks, events, files, name)


def _lines(path: Path) -> Iterator[tuple[str, str, bytes, str]]:
    with path.open("rb") as f:
        packed = f.peek(2)[:2] == b"\x1f\x8b"
        yield from _parsed(path, gzip.GzipFile(fileobj=f) if packed else f)


def _parsed(path: Path, lines: Iterable[bytes]) -> Iterator[tuple[str, str, bytes, str]]:
    number = 0
    try:
        for number, line in enumerate(lines, 1):
            try:
                said = json.loads(line)
                pipeline, version = _name_of(said["pipeline"]), _name_of(said["version"])
                key = identified(said["task_input"], _NO_LIMITS)
            except (ValueError, KeyError, TypeError, RecursionError):
                key = BadRequest("it is not a JSON object with pipeline, version and task_input")
            if not isinstance(key, Identified):
                raise BadRequest(f"{path}, line {number}: {key.message}", key.cure)
            yield pipeline, version, key.key, key.text
    except (EOFError, zlib.error, gzip.BadGzipFile) as damage:
        raise BadRequest(
            f"{path} is broken off, or damaged, after line {number}: {damage}",
            f"restore what there is: zcat {shlex.quote(str(path))} | head -n {number} > FILE",
        ) from damage


def _name_of(given: Any) -> str:
    """Text that PostgreSQL can hold. Raises ValueError."""
    if not isinstance(given, str) or "\0" in given:
        raise ValueError
    given.encode()  # raises for half a surrogate
    return given
