"""From a history of npg_porch to a path in our table of statuses: pure rules, which know no store.

npg_porch notes changes as text and lets a task go from any status to any other. Each of its events
keeps its time, token and text. Where two of them do not follow each other in our table, the fewest
steps that lead from one to the other are put in, at the time of the later one, and say so. What
changed nothing is left out, as our coordinator would have left it out.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import NamedTuple
from uuid import UUID, uuid5

from coordinator.status import TRANSITIONS, Status

_NAMESPACE = UUID("5f0d1e44-6d0c-5b6e-9a53-2f6b8f1d7a10")

#: npg_porch formats a Python enum: since Python 3.12 that writes the class before the status.
_CHANGED = re.compile(r"\ATask changed, new status (?:TaskStateEnum\.)?([A-Z]+)\Z")

#: How the message of every step begins that is no event there. Run times leave out such claims.
FILLED_IN = "filled in on import from npg_porch"

#: Of inputs that are one definition here, the one furthest on is kept: what is done is not done
#: again, what is held is not handed out twice. Of those equally far, the oldest.
_FURTHEST_FIRST = ("DONE", "RUNNING", "CLAIMED", "FAILED", "CANCELLED", "PENDING")

REPEATS = "it repeats the status that the task had"
UNKNOWN_CHANGE = "its text is none that npg_porch writes"
CREATED_AGAIN = "the task had been created before"


_Dated = tuple[int, datetime, str | None, int | None]


class Change(NamedTuple):
    """An event of npg_porch. ``text``: what it calls ``change``."""

    event_id: int
    at: datetime | None
    text: str | None
    token_id: int | None


class Moved(NamedTuple):
    """A step of the path here. ``token_id`` is npg_porch's. ``filled``: it is no event there."""

    at: datetime
    from_status: Status | None
    to_status: Status
    attempt: int
    token_id: int | None
    request_id: UUID
    message: str
    filled: bool


@dataclass(slots=True)
class Path:
    """Legal steps to the status of the task, from nothing or from where a path before has ended.

    ``left``: events that are no step, by number, and why.
    """

    steps: list[Moved] = field(default_factory=list)
    left: dict[int, str] = field(default_factory=dict)
    start: Status | None = None
    start_attempt: int = 0

    @property
    def status(self) -> Status | None:
        """Where it leads."""
        return self.steps[-1].to_status if self.steps else self.start

    @property
    def attempt(self) -> int:
        """How many claims there are up to its end."""
        return self.steps[-1].attempt if self.steps else self.start_attempt

    @property
    def left_out(self) -> Counter[str]:
        """How many events are no step, by the reason."""
        return Counter(self.left.values())


class Reached(NamedTuple):
    """Where the path of an import before has ended. ``requests``: of all events that are here."""

    at: datetime
    status: Status
    attempt: int
    requests: Collection[object]


def landing_of(source: str) -> UUID:
    """The request_id of the creation of a task, whatever events it has there, now and later."""
    return uuid5(_NAMESPACE, f"{source}/created")


def traces_of(source: str, changes: Sequence[Change]) -> set[UUID]:
    """Every request_id that an import of this task can have written, now or before."""
    events: list[object] = ["", *(change.event_id for change in changes)]
    names = [f"{source}/{event}{state}" for event in events for state in ("", "/state")]
    filled = [f"{name}/{number}" for name in names for number in range(len(Status))]
    return {landing_of(source), *(uuid5(_NAMESPACE, name) for name in [*names, *filled])}


def furthest_first(state: str) -> int:
    """The rank of a status where several tasks are one definition here; the lowest is kept."""
    return _FURTHEST_FIRST.index(state)


def status_of(state: str | None) -> Status | None:
    """The status that npg_porch's ``state`` means; None for what is none."""
    word = (state or "").removeprefix("TaskStateEnum.")
    return Status(word) if word in Status.__members__ else None


def path_of(
    source: str, state: Status, created: datetime, changes: Iterable[Change], token: int | None
) -> Path:
    """The path that leads to ``state``.

    ``source`` names the task, the same whenever it is imported: the request_ids come of it, so that
    an event is the same event in every import. ``token``: npg_porch's, for a task without events.
    """
    path = Path()
    _walk(path, source, state, created, _in_order(list(changes), created), token)
    return path


def path_from(
    reached: Reached, source: str, state: Status, created: datetime, changes: Iterable[Change]
) -> Path:
    """The path that leads on from ``reached`` to ``state``, by the events that came later."""
    path = Path(start=reached.status, start_attempt=reached.attempt)
    ordered = _in_order(list(changes), created)
    begin = 0
    for number, (event_id, _, text, _) in enumerate(ordered):
        first = number == 0 and text == "Created"
        own = landing_of(source) if first else uuid5(_NAMESPACE, f"{source}/{event_id}")
        if {own, uuid5(_NAMESPACE, f"{source}/{event_id}/state")} & set(reached.requests):
            begin = number + 1
    token = ordered[begin - 1][3] if begin else None
    _walk(path, source, state, reached.at, ordered[begin:], token)
    return path


def _walk(
    path: Path, source: str, state: Status, last: datetime, ordered: list[_Dated], token: int | None
) -> None:
    event_id: int | str = ""
    for event_id, at, text, token_id in ordered:
        goal = _goal(path, event_id, text)
        if goal is None:
            continue
        token = token_id
        _fill(path, source, f"{source}/{event_id}", at, token, goal)
        request = uuid5(_NAMESPACE, f"{source}/{event_id}")
        if path.status is None:
            request = landing_of(source)
        _add(path, at, goal, token, request, _clean(text or ""), filled=False)
    if path.status is not state:
        last = path.steps[-1].at if path.steps else last
        name = f"{source}/{event_id}/state"
        _fill(path, source, name, last, token, state)
        request = landing_of(source) if path.status is None else uuid5(_NAMESPACE, name)
        message = f"{FILLED_IN}: its task was {state} there"
        _add(path, last, state, token, request, message, filled=True)


def _in_order(changes: Sequence[Change], created: datetime) -> list[_Dated]:
    """By time, and by number within an instant; the creation comes first, whatever its time."""
    dated = []
    before = created
    for change in sorted(changes, key=lambda change: change.event_id):
        before = change.at or before
        dated.append((change.event_id, before, change.text, change.token_id))
    return sorted(dated, key=lambda event: (event[2] != "Created", event[1], event[0]))


def _goal(path: Path, event_id: int, text: str | None) -> Status | None:
    """The status that an event leads to; None, and noted, if it leads nowhere."""
    if text == "Created":
        if path.status is None:
            return Status.PENDING
        path.left[event_id] = CREATED_AGAIN
        return None
    if text == "Task claimed":
        return Status.CLAIMED  # npg_porch hands out only what is PENDING: each is one attempt
    said = _CHANGED.match(text or "")
    goal = status_of(said[1]) if said else None
    if goal is None:
        path.left[event_id] = UNKNOWN_CHANGE
    elif goal is path.status and goal is not Status.RUNNING:
        path.left[event_id] = REPEATS
        return None
    return goal


def _fill(
    path: Path, source: str, name: str, at: datetime, token: int | None, goal: Status
) -> None:
    """The steps that are missing before ``goal``."""
    for number, status in enumerate(_between(path.status, goal)):
        request = uuid5(_NAMESPACE, f"{name}/{number}")
        if path.status is None:
            request = landing_of(source)
        _add(path, at, status, token, request, FILLED_IN, filled=True)


def _add(
    path: Path,
    at: datetime,
    to: Status,
    token: int | None,
    request: UUID,
    message: str,
    *,
    filled: bool,
) -> None:
    attempt = path.attempt + (to is Status.CLAIMED)
    path.steps.append(Moved(at, path.status, to, attempt, token, request, message, filled))


def _clean(text: str) -> str:
    """Without what PostgreSQL cannot hold."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


@cache
def _between(status: Status | None, goal: Status) -> tuple[Status, ...]:
    """What lies on a shortest way from one status to another, both left out.

    >>> _between(Status.PENDING, Status.DONE)
    (<Status.CLAIMED: 'CLAIMED'>,)
    """
    if status is None and goal is Status.PENDING:
        return ()
    ways: list[tuple[Status, ...]] = [(Status.PENDING,)] if status is None else [()]
    for way in ways:  # breadth first: the list grows while it is walked
        at = way[-1] if way else status
        assert at is not None  # noqa: S101 (for mypy: a way begins with PENDING if nowhere else)
        for following in TRANSITIONS[at]:
            if following is goal:
                return way
            if following not in way:
                ways.append((*way, following))
    raise AssertionError(f"no way from {status} to {goal}")  # the table is one piece
