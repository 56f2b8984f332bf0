"""What wrappers write down about themselves, and how it is read: one file per process.

Each line is written by one call to the kernel, so that a wrapper killed with SIGKILL leaves all
that it had said, whole, and at most its last line torn. Nothing is synced to disk: it is wrappers
that die here, not the machine.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class Journal:
    """One wrapper's own file."""

    def __init__(self, folder: Path, wrapper: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(folder / f"{wrapper}.jsonl", flags, 0o600)

    def asked(self, op: str, verb: str, items: Sequence[Any]) -> None:
        """About to ask for something, for the first time."""
        self._write(what="asked", op=op, verb=verb, items=items)

    def answered(self, op: str, results: Sequence[Any]) -> None:
        """The answer, one result per item (of a claim: per task handed out)."""
        self._write(what="answered", op=op, results=results)

    def refused(self, op: str, code: str) -> None:
        """The request was refused as a whole."""
        self._write(what="refused", op=op, code=code)

    def unknown(self, op: str, code: str) -> None:
        """No answer came in time: it may have been carried out, or may be yet."""
        self._write(what="unknown", op=op, code=code)

    def started(self, task: str, attempt: int) -> None:
        """The work itself begins now."""
        self._write(what="started", task=task, attempt=attempt)

    def draining(self) -> None:
        """From now on only what is left is worked off; nothing new is submitted or re-run."""
        self._write(what="draining")

    def _write(self, **entry: Any) -> None:
        line = json.dumps({"at": time.time(), **entry}, separators=(",", ":")) + "\n"
        os.write(self._file, line.encode())


@dataclass(slots=True)
class Operation:
    """One request of a wrapper, and what it heard. Repeated under the same ``op`` until answered.

    ``answers``: every answer that came (normally one); ``refusals`` and ``silences``: codes.
    """

    op: str
    wrapper: str
    verb: str
    at: float
    items: list[Any]
    answers: list[list[Any]] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    silences: list[str] = field(default_factory=list)

    @property
    def results(self) -> Iterator[tuple[Any, Any]]:
        """Each item with its result, of every answer."""
        for answer in self.answers:
            yield from zip(self.items, answer, strict=True)


@dataclass(frozen=True, slots=True)
class Start:
    """Work that was begun: by whom, of which task, in which attempt."""

    wrapper: str
    task: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Record:
    """What all wrappers of a run have written down."""

    operations: list[Operation]
    starts: list[Start]
    draining: frozenset[str] = frozenset()

    def of(self, *verbs: str) -> Iterator[Operation]:
        """The operations of these verbs."""
        return (done for done in self.operations if done.verb in verbs)


def read(folder: Path) -> Record:
    """Everything in the journals of a folder."""
    operations: dict[str, Operation] = {}
    starts, draining = [], set()
    for path in sorted(folder.glob("*.jsonl")):
        for entry in _entries(path):
            match entry["what"]:
                case "asked":
                    operations[entry["op"]] = Operation(
                        entry["op"], path.stem, entry["verb"], entry["at"], entry["items"]
                    )
                case "answered":
                    operations[entry["op"]].answers.append(entry["results"])
                case "refused":
                    operations[entry["op"]].refusals.append(entry["code"])
                case "unknown":
                    operations[entry["op"]].silences.append(entry["code"])
                case "started":
                    starts.append(Start(path.stem, entry["task"], entry["attempt"]))
                case "draining":
                    draining.add(path.stem)
    return Record(list(operations.values()), starts, frozenset(draining))


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    *lines, torn = path.read_text().split("\n")
    del torn  # empty, unless the writer was killed in the middle of it
    yield from map(json.loads, lines)
