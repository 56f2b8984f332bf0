"""The bodies of answers: ``coordinator.shapes``, and what HTTP puts around them."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import TypedDict

from coordinator import shapes
from coordinator.errors import PorchError
from coordinator.operations import tell
from coordinator.overview_shapes import FailureGroupShape, IntervalShape, RunTimesShape
from coordinator.requests import Reported
from coordinator.shapes import (
    AdminEventShape,
    EventShape,
    PipelineShape,
    RefusedShape,
    ReportedShape,
    TaskShape,
    TokenShape,
)
from coordinator.status import Status


class ClaimAnswer(TypedDict):
    """What was handed out; ``lease``: the seconds for which it is good, null for ever."""

    request_id: str
    lease: int | None
    tasks: list[TaskShape]


class ResultsAnswer(TypedDict):
    """A verdict on each thing that was sent, in order."""

    results: list[ReportedShape | RefusedShape]


class ReleaseAnswer(ResultsAnswer):
    """As well, how many tasks of the claim were given back."""

    released: int


class TasksAnswer(TypedDict):
    """A page of tasks; ``next``: what to give as ``after`` for the next page."""

    tasks: list[TaskShape]
    next: int | None


class EventsAnswer(TypedDict):
    """The events of a task, oldest first."""

    events: list[EventShape]


class CountsAnswer(TypedDict):
    """How many tasks there are per status; statuses with none are left out."""

    counts: dict[Status, int]


class FailuresAnswer(TypedDict):
    """Groups of FAILED tasks, the largest first."""

    groups: list[FailureGroupShape]


class StatsAnswer(TypedDict):
    """What happened, interval by interval, the oldest first; and how long runs take."""

    throughput: list[IntervalShape]
    run_times: list[RunTimesShape]


class PipelinesAnswer(TypedDict):
    """Pipelines by name."""

    pipelines: list[PipelineShape]


class VersionsAnswer(TypedDict):
    """The versions of a pipeline, in the order in which they were added."""

    versions: list[str]


class TokensAnswer(TypedDict):
    """Tokens in the order of issue."""

    tokens: list[TokenShape]


class IssuedAnswer(TokenShape):
    """A new token, with its secret: shown this once, and not kept."""

    token: str


class RotatedAnswer(IssuedAnswer):
    """As well, the token that it replaces."""

    replaces: TokenShape


class AdminEventsAnswer(TypedDict):
    """A page of what administrators did, oldest first; ``next``: ``after`` for the next page."""

    events: list[AdminEventShape]
    next: int | None


def results(answers: Sequence[Reported | PorchError]) -> list[ReportedShape | RefusedShape]:
    """Verdicts, in order."""
    tell(n=len(answers), refused=sum(isinstance(answer, PorchError) for answer in answers))
    return [shapes.reported(answer) for answer in answers]
