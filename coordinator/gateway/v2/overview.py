"""What operators look at: failures that are alike, throughput and run times."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from coordinator import overview_shapes as shapes
from coordinator.gateway.callers import Porch, Reader
from coordinator.gateway.v2.answers import FailuresAnswer, StatsAnswer
from coordinator.gateway.v2.documents import problems
from coordinator.overview import MOST_GROUPS, MOST_HOURS
from coordinator.sent import SentInAddress

router = APIRouter(tags=["v2: looking"], responses=problems(404))


@router.get("/pipelines/{name:path}/failures")
def failures(
    porch: Porch,
    caller: Reader,
    name: SentInAddress,
    most: Annotated[int, Query(ge=1, le=MOST_GROUPS, description="Groups, the largest")] = 20,
) -> FailuresAnswer:
    """FAILED tasks by similar message, the largest group first."""
    groups = porch.failure_groups(caller, pipeline=name, most=most)
    return {"groups": [shapes.failure_group(group) for group in groups]}


@router.get("/pipelines/{name:path}/stats")
def stats(
    porch: Porch,
    caller: Reader,
    name: SentInAddress,
    hours: Annotated[int, Query(ge=1, le=MOST_HOURS, description="So many of the latest")] = 24,
) -> StatsAnswer:
    """What happened in the last hours, and how long the latest finished runs took."""
    return {
        "throughput": [
            shapes.interval(one) for one in porch.throughput(caller, pipeline=name, hours=hours)
        ],
        "run_times": [shapes.run_times(of) for of in porch.run_times(caller, pipeline=name)],
    }
