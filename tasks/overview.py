"""The Celery tasks for what operators look at: failures that are alike, throughput, run times."""

from __future__ import annotations

from coordinator import overview_shapes as shapes
from coordinator.requests import Caller
from coordinator.service import Coordinator
from coordinator.shapes import task
from tasks import wire
from tasks.door import Answer
from tasks.verbs import door


@door("failure_groups", wire.FailureGroupsRequest)
def failure_groups(porch: Coordinator, caller: Caller, asked: wire.FailureGroupsRequest) -> Answer:
    """Failures by similar message."""
    groups = porch.failure_groups(caller, pipeline=asked.pipeline, most=asked.most)
    return {"groups": [shapes.failure_group(group) for group in groups]}, {"n": len(groups)}


@door("failures", wire.FailuresRequest)
def failures(porch: Coordinator, caller: Caller, asked: wire.FailuresRequest) -> Answer:
    """One page of the tasks of a group of failures."""
    tasks, more = porch.failures(
        caller,
        asked.pipeline,
        asked.group,
        after=asked.after,
        limit=asked.limit,
        until=asked.until,
    )
    return {"tasks": [task(t) for t in tasks], "next": more}, {"n": len(tasks)}


@door("stats", wire.StatsRequest)
def stats(porch: Coordinator, caller: Caller, asked: wire.StatsRequest) -> Answer:
    """Throughput and run times."""
    intervals = porch.throughput(caller, pipeline=asked.pipeline, hours=asked.hours)
    busy = porch.busiest(caller, pipeline=asked.pipeline, hours=asked.hours)
    times = porch.run_times(caller, pipeline=asked.pipeline)
    data = {
        "throughput": [shapes.interval(one) for one in intervals],
        "pipelines": [shapes.busy(one) for one in busy],
        "run_times": [shapes.run_times(of) for of in times],
    }
    return data, {"hours": asked.hours, "n": len(times)}
