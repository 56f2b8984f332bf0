"""The nouns of the overview, and of what administrators did: one frozen class each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from coordinator.model import Task
from coordinator.status import Status

#: ``long_running``: held for longer than the mean and two standard deviations of its pipeline's
#: latest finished runs. ``recent_failures``: FAILED, the latest change first.
Kind = Literal["all", "not_done", "long_running", "recent_failures"]


@dataclass(frozen=True, slots=True)
class View:
    """Which tasks a page shows, in an operator's words; an empty field does not restrict."""

    kind: Kind = "all"
    pipeline: str | None = None
    status: Status | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Tasks, the newest first, and where the next page begins.

    ``next``: an opaque text for ``page(after=...)``, None at the end. ``searched_to``: where every
    task has to be looked at, for its text or its claim, the age to which this page has looked,
    when it has not looked at everything. Such a page may be short, or empty, and not the last.
    """

    tasks: list[Task]
    next: str | None
    searched_to: datetime | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """How many tasks of a pipeline there are per status; none is left out."""

    pipeline: str
    counts: Mapping[Status, int]


@dataclass(frozen=True, slots=True)
class Interval:
    """What happened from ``begin`` on, for as long as the interval lasts."""

    begin: datetime
    submitted: int
    done: int
    failed: int


@dataclass(frozen=True, slots=True)
class RunTimes:
    """How long the latest finished runs of a pipeline took, from the claim to DONE, in seconds.

    ``limit``: beyond it a run is long: mean and two standard deviations; None for fewer than two
    runs.
    """

    pipeline: str
    runs: int
    mean: float
    deviation: float | None
    median: float
    p95: float
    limit: float | None


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """FAILED tasks of one pipeline whose last messages differ only in numbers, names of files and
    the like; ``pattern`` is what these have in common, ``example`` the latest. Both are empty where
    there was no message. ``group`` names the group within its pipeline, in 16 hexadecimal digits.
    ``tasks`` is how many failed from ``first`` to ``last``, both included."""

    pipeline: str
    group: str
    pattern: str
    example: str
    tasks: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Position:
    """A task in the order in which a page lists: by registration, or by ``changed`` if given.

    ``age``: when it was registered, or changed. It says nothing of the place.
    """

    task_id: int
    changed: datetime | None = None
    age: datetime | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """Which tasks a page may show, all looked up.

    ``pipeline_id``: None for all. ``by_change``: of FAILED tasks only, the latest change first,
    instead of the latest registered. ``texts``: one of them in the input, whatever the case.
    ``limits``: only tasks held for longer than so many seconds, by pipeline_id; of other pipelines,
    none.
    """

    pipeline_id: int | None
    statuses: frozenset[Status]
    by_change: bool = False
    texts: tuple[str, ...] = ()
    limits: Mapping[int, float] | None = None


@dataclass(frozen=True, slots=True)
class Looked:
    """The tasks that fit, and the last one that was looked at; None: there are no more."""

    tasks: list[Task]
    end: Position | None


@dataclass(frozen=True, slots=True)
class Happened:
    """What happened in the TICK seconds from ``begin`` on."""

    begin: datetime
    submitted: int
    done: int
    failed: int


@dataclass(frozen=True, slots=True)
class Busy:
    """What happened in a pipeline, in intervals of equal length, the oldest first."""

    pipeline: str
    throughput: list[Interval]


@dataclass(frozen=True, slots=True)
class Runs:
    """The run times of the pipeline with this number."""

    pipeline_id: int
    times: RunTimes


#: Seconds: the finest grain in which is counted what happened when.
TICK = 600


AdminAction = Literal[
    "register", "add_version", "set_policy", "issue_token", "revoke_token", "rotate_token"
]


@dataclass(frozen=True, slots=True)
class AdminEvent:
    """What an administrator did: when, with which token, from where, and to what.

    ``token``: None for somebody who may write to the database. ``subject_id``: the token that was
    issued, revoked or rotated. ``detail``: what was set.
    """

    admin_event_id: int
    at: datetime
    action: AdminAction
    token_id: int | None
    token: str | None
    host: str | None
    pipeline: str | None
    subject_id: int | None
    detail: dict[str, Any]
