"""What operators look at: pages of tasks, counts, run times, and failures that are alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from coordinator.lookup import Lookup
from coordinator.model import Task
from coordinator.requests import Caller
from coordinator.status import Status

#: ``long_running``: held for longer than the mean and two standard deviations of its pipeline's
#: finished runs. ``recent_failures``: FAILED, the latest change first.
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

    ``next``: an opaque text for ``page(after=...)``, None at the end. ``searched_to``: with a text
    to look for, the age to which this page has looked, when it has not looked at everything.
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
    """How long the latest finished runs of a pipeline took, from claim to DONE, in seconds.

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
    the like; ``pattern`` names the group, ``example`` is the latest message."""

    pipeline: str
    pattern: str
    example: str
    tasks: int
    first: datetime
    last: datetime


class Overview(Lookup):
    """Verbs for the page that operators open. Whoever may look at a pipeline, may look at these."""

    def page(
        self, caller: Caller, view: View, *, after: str | None = None, limit: int = 50
    ) -> Page:
        """One page of tasks, as fast with a million as with a hundred."""
        raise NotImplementedError

    def counts(self, caller: Caller) -> list[Counts]:
        """Every pipeline, by name, with its tasks counted."""
        raise NotImplementedError

    def throughput(
        self, caller: Caller, *, pipeline: str | None = None, hours: int = 24
    ) -> list[Interval]:
        """The last ``hours``, cut into intervals of equal length, the oldest first."""
        raise NotImplementedError

    def run_times(self, caller: Caller) -> list[RunTimes]:
        """Each pipeline that has finished runs, by name."""
        raise NotImplementedError

    def failure_groups(
        self, caller: Caller, *, pipeline: str | None = None, most: int = 20
    ) -> list[FailureGroup]:
        """FAILED tasks grouped by similar message, the largest group first."""
        raise NotImplementedError

    def failures(
        self, caller: Caller, pipeline: str, pattern: str, *, after: int = 0, limit: int = 1_000
    ) -> list[Task]:
        """The tasks of a failure group beyond task_id ``after``, in order of task_id."""
        raise NotImplementedError
