"""Tasks shown, listed and counted."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from coordinator import shapes
from coordinator.gateway.callers import Porch, Reader
from coordinator.gateway.v2.answers import CountsAnswer, EventsAnswer, TasksAnswer
from coordinator.gateway.v2.documents import problems
from coordinator.queries import MOST_LISTED
from coordinator.requests import Name, Search
from coordinator.sent import SentInAddress, SentRowId, SentSeconds
from coordinator.shapes import TaskShape
from coordinator.status import Status

router = APIRouter(tags=["v2: looking"], responses=problems(404))

_After = Annotated[SentRowId, Query(description="The `next` of the page before")]
_Limit = Annotated[int, Query(ge=1, le=MOST_LISTED)]
_NEXT = {"Link": {"description": 'The next page: rel="next"', "schema": {"type": "string"}}}


def search(
    pipeline: SentInAddress | None = None,
    version: SentInAddress | None = None,
    status: Annotated[list[Status] | None, Query(description="May be given several times")] = None,
    since: Annotated[datetime | None, Query(description="Changed at or after")] = None,
    text: Annotated[SentInAddress | None, Query(description="In the task_input")] = None,
    message: Annotated[
        SentInAddress | None, Query(description="In the last message; % for anything between")
    ] = None,
    stale: Annotated[
        SentSeconds | None, Query(description="Held, and not heard of for so many seconds")
    ] = None,
) -> Search:
    """Which tasks to list or count."""
    return Search(pipeline, version, frozenset(status or ()), since, text, message, stale)


Wanted = Annotated[Search, Depends(search)]


@router.get("/tasks", responses={200: {"headers": _NEXT}})
def list_tasks(
    request: Request,
    response: Response,
    porch: Porch,
    caller: Reader,
    wanted: Wanted,
    after: _After = 0,
    limit: _Limit = 1_000,
) -> TasksAnswer:
    """A page of tasks, in the order of registration."""
    tasks = porch.tasks(caller, wanted, after=after, limit=limit)
    more = tasks[-1].task_id if len(tasks) == limit else None
    if more is not None:
        url = request.url.include_query_params(after=more)
        response.headers["Link"] = f'<{url.path}?{url.query}>; rel="next"'
    return {"tasks": [shapes.task(task) for task in tasks], "next": more}


@router.get("/counts")
def counts(porch: Porch, caller: Reader, wanted: Wanted) -> CountsAnswer:
    """How many tasks fit, per status."""
    return {"counts": {Status(s): n for s, n in porch.count(caller, wanted).items()}}


@router.get("/tasks/{task}")
def show(
    porch: Porch,
    caller: Reader,
    task: SentInAddress,
    pipeline: SentInAddress | None = None,
    version: SentInAddress | None = None,
) -> TaskShape:
    """One task, by its task_input_id or a prefix of it."""
    return shapes.task(porch.show(caller, Name(task, version), pipeline=pipeline)[0])


@router.get("/tasks/{task}/events")
def events(
    porch: Porch,
    caller: Reader,
    task: SentInAddress,
    pipeline: SentInAddress | None = None,
    version: SentInAddress | None = None,
) -> EventsAnswer:
    """What has happened to a task, oldest first."""
    _, found = porch.show(caller, Name(task, version), pipeline=pipeline)
    return {"events": [shapes.event(event) for event in found]}
