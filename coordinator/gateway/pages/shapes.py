"""What the templates show, shaped from what the Coordinator tells: no requests, no store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from coordinator.errors import BadRequest
from coordinator.gateway.pages.session import Said, Tone
from coordinator.gateway.pages.words import tasks as so_many
from coordinator.model import Event, Task
from coordinator.naming import may_be_a_name
from coordinator.overview import GROUPED, Counts, FailureGroup
from coordinator.status import HELD, TRANSITIONS, Status

#: What an operator may do, and what the button says.
VERBS = {"rerun": "Re-run", "cancel": "Cancel", "release": "Release"}
_PAST = {"rerun": "re-run", "cancel": "cancelled", "release": "released"}


@dataclass(frozen=True, slots=True)
class Chosen:
    """A task as it stood on the page from which it was chosen."""

    pipeline: str
    version: str
    task_input_id: str
    status: Status
    attempt: int

    @classmethod
    def of(cls, task: Task) -> Chosen:
        """The task as it stands."""
        return cls(task.pipeline, task.version, task.task_input_id, task.status, task.attempt)

    @classmethod
    def read(cls, given: str) -> Chosen:
        """From the value of a form's field. Raises BadRequest."""
        try:
            pipeline, version, task_input_id, status, attempt = json.loads(given)
            chosen = cls(pipeline, version, task_input_id, Status(status), attempt)
        except (ValueError, TypeError, RecursionError):
            chosen = None
        if (
            chosen is None
            or type(chosen.attempt) is not int
            or not 0 <= chosen.attempt < 2**31
            or not all(isinstance(text, str) for text in (pipeline, version, task_input_id))
            or not may_be_a_name(pipeline + version + task_input_id)
        ):
            raise BadRequest("the form names a task in a way that no page writes", "load it again")
        return chosen

    @property
    def value(self) -> str:
        """The value of a form's field."""
        return json.dumps(
            [self.pipeline, self.version, self.task_input_id, self.status, self.attempt]
        )


@dataclass(frozen=True, slots=True)
class Alike:
    """A group of failures as it stood on a page, of which ``last`` was the latest."""

    pipeline: str
    group: str
    last: datetime

    @classmethod
    def of(cls, group: FailureGroup) -> Alike:
        """The group that a page shows."""
        return cls(group.pipeline, group.group, group.last)

    @classmethod
    def read(cls, given: str) -> Alike:
        """From the value of a form's field. Raises BadRequest."""
        try:
            pipeline, group, last = json.loads(given)
            alike = cls(pipeline, group, datetime.fromisoformat(last))
        except (ValueError, TypeError, RecursionError):
            alike = None
        if (
            alike is None
            or alike.last.tzinfo is None
            or not all(isinstance(text, str) for text in (pipeline, group))
        ):
            raise BadRequest("the form names a group in a way that no page writes", "load it again")
        return alike

    @property
    def value(self) -> str:
        """The value of a form's field; in ASCII, as browsers write line ends in their own way."""
        return json.dumps([self.pipeline, self.group, self.last.isoformat()])


def verbs_for(status: Status) -> list[str]:
    """What an operator may do with a task in this status, in the order of the buttons."""
    allowed = set(TRANSITIONS[status].values())
    return [verb for verb in VERBS if verb in allowed]


@dataclass(frozen=True, slots=True)
class Tile:
    """A status, and how many tasks are in it."""

    status: Status
    tasks: int


def tiles(counts: Iterable[Counts], pipeline: str | None) -> list[Tile]:
    """Each status with its tasks, of one pipeline or of all."""
    chosen = [c.counts for c in counts if pipeline in (None, c.pipeline)]
    return [Tile(status, sum(c.get(status, 0) for c in chosen)) for status in Status]


def is_partly_grouped(shown: Iterable[Tile]) -> bool:
    """Whether there are more failures than are compared for the groups."""
    return any(tile.status is Status.FAILED and tile.tasks > GROUPED for tile in shown)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a task: when it was claimed and ended, and how.

    ``outcome``: the status in which it ended; PENDING where it was given back; None while it lasts.
    """

    number: int
    claimed: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None
    outcome: Status | None = None
    job_id: str | None = None
    host: str | None = None
    message: str | None = None

    @property
    def seconds(self) -> float | None:
        """How long it took, from claim to end."""
        if self.claimed is None or self.ended is None:
            return None
        return (self.ended - self.claimed).total_seconds()


def attempts(events: Sequence[Event]) -> list[Attempt]:
    """The attempts that a task's events tell of, the first one first."""
    found: dict[int, Attempt] = {}
    for event in events:
        if event.attempt < 1 or event.refused:
            continue
        known = found.get(event.attempt, Attempt(event.attempt))
        found[event.attempt] = _with(known, event)
    return [found[number] for number in sorted(found)]


def _with(attempt: Attempt, event: Event) -> Attempt:
    attempt = replace(attempt, job_id=event.job_id or attempt.job_id)
    if event.to_status is Status.CLAIMED:
        return replace(attempt, claimed=event.at, host=event.host)
    if event.to_status is Status.RUNNING:
        return replace(attempt, started=attempt.started or event.at)
    if event.from_status in HELD:
        return replace(attempt, ended=event.at, outcome=event.to_status, message=event.message)
    return attempt


def told(verb: str, done: int, settled: int, refused: Sequence[str]) -> Said:
    """What became of a wish for several tasks. ``settled``: those that were so already."""
    if not (done or settled or refused):
        return Said("bad", "No task was selected", ("Select tasks by the boxes before them",))
    past = _PAST[verb]
    parts = [f"{so_many(done)} {past}"]
    if settled:
        parts.append(f"{so_many(settled)} already so")
    if refused:
        parts.append(f"{so_many(len(refused))} refused")
    kind: Tone = "good" if not refused else "mixed" if done or settled else "bad"
    shown = tuple(dict.fromkeys(refused))
    lines = shown[:5]
    if len(shown) > len(lines):
        lines += (f"and {len(shown) - len(lines)} more refusals",)
    return Said(kind, "; ".join(parts), lines)
