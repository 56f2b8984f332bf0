"""What operators look at, as data. Times are ISO 8601 in UTC."""

from __future__ import annotations

from typing_extensions import TypedDict

from coordinator.shapes import moment
from coordinator.views import Busy, FailureGroup, Interval, RunTimes


class FailureGroupShape(TypedDict):
    """FAILED tasks whose last messages are alike: see ``FailureGroup``."""

    pipeline: str
    group: str
    pattern: str
    example: str
    tasks: int
    first: str
    last: str


class IntervalShape(TypedDict):
    """What happened from ``begin`` on, until the next one begins."""

    begin: str
    submitted: int
    done: int
    failed: int


class BusyShape(TypedDict):
    """What happened in one of the busiest pipelines."""

    pipeline: str
    throughput: list[IntervalShape]


class RunTimesShape(TypedDict):
    """How long the latest finished runs of a pipeline took, in seconds; see ``RunTimes``."""

    pipeline: str
    runs: int
    mean: float
    deviation: float | None
    median: float
    p95: float
    limit: float | None


def failure_group(group: FailureGroup) -> FailureGroupShape:
    """A group of failures."""
    return {
        "pipeline": group.pipeline,
        "group": group.group,
        "pattern": group.pattern,
        "example": group.example,
        "tasks": group.tasks,
        "first": moment(group.first),
        "last": moment(group.last),
    }


def interval(one: Interval) -> IntervalShape:
    """An interval."""
    return {
        "begin": moment(one.begin),
        "submitted": one.submitted,
        "done": one.done,
        "failed": one.failed,
    }


def busy(one: Busy) -> BusyShape:
    """What happened in a pipeline."""
    return {"pipeline": one.pipeline, "throughput": [interval(of) for of in one.throughput]}


def run_times(of: RunTimes) -> RunTimesShape:
    """The run times of a pipeline."""
    return {
        "pipeline": of.pipeline,
        "runs": of.runs,
        "mean": of.mean,
        "deviation": of.deviation,
        "median": of.median,
        "p95": of.p95,
        "limit": of.limit,
    }
