"""Claim, report, give back, run again, cancel: lists in, a verdict on each out."""

from __future__ import annotations

from dataclasses import replace

from fastapi import APIRouter, Request
from pydantic import TypeAdapter

from coordinator import shapes
from coordinator.errors import BadRequest
from coordinator.gateway.callers import Porch, Writer
from coordinator.gateway.crowd import Crowd, Together
from coordinator.gateway.v2.answers import ClaimAnswer, ReleaseAnswer, ResultsAnswer, results
from coordinator.gateway.v2.bodies import (
    CancelBody,
    ClaimBody,
    HeartbeatBody,
    ReleaseBody,
    RerunBody,
    UpdateBody,
)
from coordinator.gateway.v2.documents import problems
from coordinator.operations import tell
from coordinator.requests import Caller, Claiming, Updating

_CLAIMED = TypeAdapter(ClaimAnswer)
_RESULTS = TypeAdapter(ResultsAnswer)
#: Reports of one request that go together with those of others.
_FEW = 10

router = APIRouter(prefix="/tasks", tags=["v2: work"], responses=problems(400, 404, 413))


@router.post("/claim")
async def claim(
    request: Request, together: Together, caller: Writer, body: ClaimBody
) -> ClaimAnswer:
    """Hand out PENDING tasks, highest priority first, then oldest first."""
    if body.request_id is not None and "idempotency-key" in request.headers:
        raise BadRequest("this claim has an Idempotency-Key and a request_id", "send one")
    return await _claim(together, caller, body)


async def claimed(crowd: Crowd, caller: Caller, body: bytes) -> tuple[int, bytes]:
    """As ``claim``, as JSON: see ``lane``."""
    return 200, _CLAIMED.dump_json(await _claim(crowd, caller, ClaimBody.model_validate_json(body)))


async def _claim(crowd: Crowd, caller: Caller, body: ClaimBody) -> ClaimAnswer:
    if body.request_id is not None:
        caller = replace(caller, request_id=body.request_id)
    wish = Claiming(caller, body.n, body.pipeline, body.version, body.job_id)
    tell("porch.claim", request_id=caller.request_id, pipeline=body.pipeline, n=body.n)
    handed = await crowd.claim(wish)
    tasks = handed.tasks
    tell(pipeline=handed.pipeline.name, claimed=len(tasks))
    return {
        "request_id": str(caller.request_id),
        "lease": tasks[0].lease if tasks else None,
        "tasks": [shapes.task(task) for task in tasks],
    }


@router.post("/update")
def update(porch: Porch, caller: Writer, body: UpdateBody) -> ResultsAnswer:
    """Report RUNNING, DONE or FAILED for tasks that the caller holds."""
    reports = [change.report() for change in body.changes]
    return {"results": results(porch.update(caller, reports, pipeline=body.pipeline))}


async def updated(crowd: Crowd, caller: Caller, body: bytes) -> tuple[int, bytes]:
    """As ``update``, as JSON: see ``lane``. Raises ValueError for what is to be carried out alone:
    more than a few reports, or of what somebody else is just changing."""
    asked = UpdateBody.model_validate_json(body)
    if len(asked.changes) > _FEW:
        raise ValueError("more than a few reports")
    reports = [change.report() for change in asked.changes]
    told = await crowd.update(Updating(caller, reports, asked.pipeline))
    if told is None:
        raise ValueError("others are changing this")
    tell("porch.update", pipeline=told.pipeline.name)
    return 200, _RESULTS.dump_json({"results": results(told.answers)})


@router.post("/heartbeat")
def heartbeat(porch: Porch, caller: Writer, body: HeartbeatBody) -> ResultsAnswer:
    """Extend the leases of tasks; each answer says for how many seconds it is good."""
    names = [task.name() for task in body.tasks]
    return {"results": results(porch.heartbeat(caller, names, pipeline=body.pipeline))}


@router.post("/release")
def release(porch: Porch, caller: Writer, body: ReleaseBody) -> ReleaseAnswer:
    """Give tasks back, or what of a claim is not started: they are PENDING again."""
    if body.tasks and body.claim:
        raise BadRequest("this gives back tasks and a claim", "send two requests")
    how = {"pipeline": body.pipeline, "message": body.message}
    if body.claim:
        return {"results": [], "released": porch.release_claim(caller, body.claim, **how)}
    answers = porch.release(caller, [task.name() for task in body.tasks], **how)
    return {"results": results(answers), "released": 0}


@router.post("/rerun")
def rerun(porch: Porch, caller: Writer, body: RerunBody) -> ResultsAnswer:
    """Make finished work PENDING again, where it is still as the caller saw it."""
    decisions = [task.decision() for task in body.tasks]
    answers = porch.rerun(
        caller, decisions, pipeline=body.pipeline, reason=body.reason, force=body.force
    )
    return {"results": results(answers)}


@router.post("/cancel")
def cancel(porch: Porch, caller: Writer, body: CancelBody) -> ResultsAnswer:
    """Take work out of the queue or out of its holder's hands, where it is still as seen."""
    decisions = [task.decision() for task in body.tasks]
    answers = porch.cancel(caller, decisions, pipeline=body.pipeline, reason=body.reason)
    return {"results": results(answers)}
