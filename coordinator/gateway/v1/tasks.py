"""/tasks: register, list, claim and change them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import TypeAdapter

from coordinator.arrivals import MOST_CLAIMED
from coordinator.errors import AmbiguousTask, UnknownTask, WhichVersion
from coordinator.gateway.callers import Porch, Reader, Writer
from coordinator.gateway.crowd import Crowd, Together
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
from coordinator.operations import tell
from coordinator.requests import Caller, Claiming, Search, Submission
from coordinator.status import Status

_TASKS = TypeAdapter(list[Task])

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
    response_model=Task,
    responses={
        200: {"description": "It is known: as it stands", "model": Task},
        **documented(400, 404),
    },
)
async def create_task(together: Together, caller: Writer, asked: NewTask) -> Response:
    """Register a task, with a token of its pipeline: 201 if it is new, 200 if it is known."""
    with worded(WhichVersion, WHICH_VERSION):
        status, body = await _create(together, caller, asked)
    return _as_json(body, status)


@router.put("", responses=documented(400, 404, 409))
def update_task(porch: Porch, caller: Writer, asked: ChangedTask) -> Task:
    """Bring a task to a status, with a token of its pipeline.

    From PENDING to RUNNING is a claim and a start in one step. What is so already is no error.
    """
    tell(pipeline=asked.pipeline.name, n=1)
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


@router.post("/claim", response_model=list[Task], responses=documented(400, 404))
async def claim_tasks(
    together: Together,
    caller: Writer,
    asked: SparsePipeline,
    num_tasks: Annotated[int, Query(ge=1)] = 1,
) -> Response:
    """Hand out up to ``num_tasks`` PENDING tasks of a pipeline, oldest first; of a version, if
    one is named. However many are asked for, 1,000 are handed out at most."""
    return _as_json(await _claim(together, caller, asked, min(num_tasks, MOST_CLAIMED)))


# The plain ones of these, as JSON: see ``lane``.


async def created(crowd: Crowd, caller: Caller, body: bytes) -> tuple[int, bytes]:
    """As ``create_task``."""
    return await _create(crowd, caller, NewTask.model_validate_json(body))


async def claimed(crowd: Crowd, caller: Caller, body: bytes) -> tuple[int, bytes]:
    """As ``claim_tasks`` for one task."""
    return 200, await _claim(crowd, caller, SparsePipeline.model_validate_json(body), 1)


async def _create(crowd: Crowd, caller: Caller, asked: NewTask) -> tuple[int, bytes]:
    named = asked.pipeline
    submission = Submission(caller, [asked.task_input], named.name, named.version, own=True)
    tell("porch.submit", pipeline=named.name)
    registered = await crowd.submit(submission)
    standing = or_raise(registered.answers[0])
    tell(n=1, new=int(standing.created))
    task = Task(
        pipeline=Pipeline.of(registered.pipeline, registered.version),
        task_input_id=standing.key.hex(),
        task_input=asked.task_input,
        status=TaskStateEnum(standing.status),
    )
    return 201 if standing.created else 200, task.model_dump_json().encode()


async def _claim(crowd: Crowd, caller: Caller, asked: SparsePipeline, n: int) -> bytes:
    tell("porch.claim", pipeline=asked.name, n=n)
    handed = await crowd.claim(Claiming(caller, n, asked.name, asked.version, own=True))
    tell(claimed=len(handed.tasks))
    return _TASKS.dump_json([Task.of(handed.pipeline, task) for task in handed.tasks])


def _as_json(body: bytes, status: int = 200) -> Response:
    """A reply that has been written by its model already, and is not checked again."""
    return Response(body, status, media_type="application/json")
