"""What operators look at, as the coordinator sends it. Times are ISO 8601 in UTC."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """FAILED tasks of a pipeline whose last messages differ only in numbers, names of files, ids
    and dates.

    ``pattern``: what these have in common; ``example``: the latest of them; both are empty where
    there was no message. ``group``: the name of the group, for ``Porch.failed_alike`` and
    `porch rerun --alike`. ``tasks``: how many failed from ``first`` to ``last``.
    """

    pipeline: str
    group: str
    pattern: str
    example: str
    tasks: int
    first: str
    last: str

    @classmethod
    def from_wire(cls, sent: Mapping[str, Any]) -> FailureGroup:
        return cls(**{name: sent[name] for name in cls.__dataclass_fields__})

    @property
    def rerun(self) -> str:
        """The command that re-runs the group as it was seen: not what fails later."""
        named = ["--pipeline", self.pipeline, "--alike", self.group, "--until", self.last]
        return shlex.join(["porch", "rerun", *named])


@dataclass(frozen=True, slots=True)
class Interval:
    """How many tasks were submitted, DONE and FAILED from ``begin`` on, until the next begins."""

    begin: str
    submitted: int
    done: int
    failed: int

    @classmethod
    def from_wire(cls, sent: Mapping[str, Any]) -> Interval:
        return cls(**{name: sent[name] for name in cls.__dataclass_fields__})


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

    @classmethod
    def from_wire(cls, sent: Mapping[str, Any]) -> RunTimes:
        return cls(**{name: sent[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True, slots=True)
class Busy:
    """What happened in a pipeline of late, in intervals of equal length, the oldest first."""

    pipeline: str
    throughput: tuple[Interval, ...]

    @classmethod
    def from_wire(cls, sent: Mapping[str, Any]) -> Busy:
        return cls(sent["pipeline"], tuple(map(Interval.from_wire, sent["throughput"])))


@dataclass(frozen=True, slots=True)
class Stats:
    """What happened of late, in intervals of equal length, the oldest first; and how long the runs
    of each pipeline take that has finished any. ``pipelines``: where that is of all of them, what
    happened in each of the busiest, these first."""

    throughput: tuple[Interval, ...]
    run_times: tuple[RunTimes, ...]
    pipelines: tuple[Busy, ...] = ()

    @classmethod
    def from_wire(cls, sent: Mapping[str, Any]) -> Stats:
        return cls(
            tuple(Interval.from_wire(one) for one in sent["throughput"]),
            tuple(RunTimes.from_wire(one) for one in sent["run_times"]),
            tuple(Busy.from_wire(one) for one in sent["pipelines"]),
        )
