"""/tasks: register, list, claim and change them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from coordinator.arrivals import MOST_CLAIMED
from coordinator.errors import AmbiguousTask, UnknownTask, WhichVersion
from coordinator.gateway.callers import Porch, Reader, Writer
from coordinator.gateway.v1.listing import listing
from coordinator.gateway.v1.models import (
    AnyText,
    ChangedTask,
    NewTask,
    Pipeline,
    SparsePipeline,
    Task,
    TaskStateEnum,
)
from coordinator.gateway.v1.refusals import WHICH_VERSION, documented, worded
from coordinator.lookup import or_raise
from coordinator.naming import pick_version
from coordinator.requests import Search
from coordinator.status import Status

router = APIRouter(prefix="/tasks", tags=["tasks"], strict_content_type=False)


@router.get("", response_model=list[Task], responses=documented())
def get_tasks(
    porch: Porch,
    caller: Reader,
    pipeline_name: AnyText | None = None,
    status: TaskStateEnum | None = None,
) -> Response:
    """All tasks, or those of one pipeline or status, in the order in which they were registered.

    The list is streamed: however long it is, it takes the server little memory.
    """
    statuses = frozenset({Status(status)}) if status else frozenset()
    chunks = listing(porch, caller, Search(pipeline_name or None, statuses=statuses))
    return StreamingResponse(chunks, media_type="application/json")


@router.post(
    "",
    status_code=201,
    responses={
        200: {"description": "It is known: as it stands", "model": Task},
        **documented(400, 404),
    },
)
def create_task(porch: Porch, caller: Writer, asked: NewTask, response: Response) -> Task:
    """Register a task, with a token of its pipeline: 201 if it is new, 200 if it is known."""
    pipeline = porch.own_pipeline(caller, asked.pipeline.name)
    with worded(WhichVersion, WHICH_VERSION):
        version = pick_version(pipeline, asked.pipeline.version)
    (answer,) = porch.submit(caller, [asked.task_input], pipeline=pipeline.name, version=version)
    standing = or_raise(answer)
    if not standing.created:
        response.status_code = 200
    return Task(
        pipeline=Pipeline.of(pipeline, version),
        task_input_id=standing.key.hex(),
        task_input=asked.task_input,
        status=TaskStateEnum(standing.status),
    )


@router.put("", responses=documented(400, 404, 409))
def update_task(porch: Porch, caller: Writer, asked: ChangedTask) -> Task:
    """Bring a task to a status, with a token of its pipeline.

    From PENDING to RUNNING is a claim and a start in one step. What is so already is no error.
    """
    pipeline = porch.own_pipeline(caller, asked.pipeline.name)
    with (
        worded(UnknownTask, "Task to be modified could not be found"),
        worded(AmbiguousTask, WHICH_VERSION),
    ):
        task = porch.bring(
            caller,
            asked.task_input,
            Status(asked.status),
            pipeline=pipeline.name,
            version=asked.pipeline.version,
            attempt=asked.attempt,
        )
    return Task.of(pipeline, task)


@router.post("/claim", responses=documented(400, 404))
def claim_tasks(
    porch: Porch,
    caller: Writer,
    asked: SparsePipeline,
    num_tasks: Annotated[int, Query(ge=1)] = 1,
) -> list[Task]:
    """Hand out up to ``num_tasks`` PENDING tasks of a pipeline, oldest first; of a version, if
    one is named. However many are asked for, 1,000 are handed out at most."""
    pipeline = porch.own_pipeline(caller, asked.name)
    n = min(num_tasks, MOST_CLAIMED)
    tasks = porch.claim(caller, n, pipeline=pipeline.name, version=asked.version)
    return [Task.of(pipeline, task) for task in tasks]
