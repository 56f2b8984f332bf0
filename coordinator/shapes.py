"""The nouns as data: what every door answers, in porch's words, ready for JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

# Python 3.11's own cannot be read by pydantic, which describes these shapes in the HTTP document.
from typing_extensions import TypedDict

from coordinator.errors import PorchError
from coordinator.model import (
    Event,
    Foreseen,
    IdentityPolicy,
    PipelineLoad,
    Standing,
    Task,
    Token,
)
from coordinator.requests import Reported
from coordinator.status import Status
from coordinator.views import AdminAction, AdminEvent


class ErrorShape(TypedDict):
    """A refusal as data: what was wrong and where, and what to do about it."""

    code: str
    message: str
    cure: str


class RefusedShape(TypedDict):
    """What stands in the place of an answer that was refused."""

    error: ErrorShape


class StandingShape(TypedDict):
    """How one submitted definition stands; ``created``: this submission made it."""

    task_input_id: str
    status: Status
    created: bool


class ReportedShape(TypedDict):
    """What became of one report; ``lease``: seconds until the next sign of life must come."""

    task_input_id: str
    version: str
    status: Status
    attempt: int
    changed: bool
    lease: int | None


class NearShape(TypedDict):
    """A known task that is like a new definition but for the values at ``paths``."""

    differs: Literal["value", "type"]
    paths: list[str]
    task: TaskShape


class ForeseenShape(TypedDict):
    """How a submission would find a definition; ``status``: of the task that is known."""

    task_input_id: str
    new: bool
    status: Status | None


class NearestShape(ForeseenShape):
    """As well, what is nearest to a new one, and among how many tasks that was sought."""

    nearest: NearShape | None
    compared: int
    complete: bool


class TaskShape(TypedDict):
    """A task. Times are ISO 8601 in UTC. ``task_input``: null of what has been pruned."""

    pipeline: str
    version: str
    task_input_id: str
    task_input: dict[str, Any] | None
    status: Status
    attempt: int
    priority: int
    created_at: str
    updated_at: str
    lease_until: str | None
    job_id: str | None
    retry_at: str | None


class EventShape(TypedDict):
    """One change of a task; ``refused``: none, but what an earlier attempt reported too late."""

    at: str
    from_status: Status | None
    to_status: Status
    attempt: int
    token: str | None
    host: str | None
    message: str | None
    job_id: str | None
    refused: bool


class PipelineShape(TypedDict):
    """A pipeline with its tasks counted; ``lease``, ``retry``, ``oldest_pending`` and ``keep`` in
    seconds. ``keep``: for how long inputs and histories are kept, by the status of the task."""

    name: str
    uri: str
    versions: list[str]
    identity: IdentityPolicy
    lease: int | None
    max_attempts: int | None
    retry: int | None
    keep: dict[Status, int | None]
    counts: dict[Status, int]
    oldest_pending: float | None


class TokenShape(TypedDict):
    """A token, without its secret, which nobody here knows; an admin token has no pipeline.

    ``used_at``: when it was used last, to a few minutes; ``replaced_by``: what it was rotated for.
    """

    token_id: int
    pipeline: str | None
    description: str
    created_at: str
    revoked_at: str | None
    expires_at: str | None
    used_at: str | None
    replaced_by: int | None


class AdminEventShape(TypedDict):
    """What an administrator did; ``token_id``: whose token, ``subject_id``: that of the token that
    was issued, revoked or rotated."""

    admin_event_id: int
    at: str
    action: AdminAction
    token_id: int | None
    token: str | None
    host: str | None
    pipeline: str | None
    subject_id: int | None
    detail: dict[str, Any]


def refused(error: PorchError) -> RefusedShape:
    """``{"error": {"code", "message", "cure"}}``."""
    return {"error": {"code": error.code, "message": error.message, "cure": error.cure}}


def standing(answer: Standing | PorchError) -> StandingShape | RefusedShape:
    """How one definition stands, or ``{"error": ...}``."""
    if isinstance(answer, PorchError):
        return refused(answer)
    return {
        "task_input_id": answer.key.hex(),
        "status": answer.status,
        "created": answer.created,
    }


def foreseen(answer: Foreseen | PorchError) -> ForeseenShape | RefusedShape:
    """How a submission would find a definition, or ``{"error": ...}``."""
    if isinstance(answer, PorchError):
        return refused(answer)
    return {
        "task_input_id": answer.key.hex(),
        "new": answer.status is None,
        "status": answer.status,
    }


def nearest(answer: Foreseen | PorchError) -> NearestShape | ForeseenShape | RefusedShape:
    """The same, with what is nearest to it where it is new."""
    told = foreseen(answer)
    if isinstance(answer, PorchError) or answer.status is not None or "error" in told:
        return told
    near: NearShape | None = None
    if answer.near is not None:
        near = {
            "differs": answer.near.differs,
            "paths": list(answer.near.paths),
            "task": task(answer.near.task),
        }
    return {
        **told,
        "nearest": near,
        "compared": answer.compared,
        "complete": answer.complete,
    }


def reported(answer: Reported | PorchError) -> ReportedShape | RefusedShape:
    """What became of one report, or ``{"error": ...}``."""
    if isinstance(answer, PorchError):
        return refused(answer)
    return {
        "task_input_id": answer.key.hex(),
        "version": answer.version,
        "status": answer.status,
        "attempt": answer.attempt,
        "changed": answer.changed,
        "lease": answer.lease,
    }


def task(t: Task) -> TaskShape:
    """A task."""
    return {
        "pipeline": t.pipeline,
        "version": t.version,
        "task_input_id": t.task_input_id,
        "task_input": t.task_input,
        "status": t.status,
        "attempt": t.attempt,
        "priority": t.priority,
        "created_at": moment(t.created_at),
        "updated_at": moment(t.updated_at),
        "lease_until": _maybe(t.lease_until),
        "job_id": t.job_id,
        "retry_at": _maybe(t.retry_at),
    }


def event(e: Event) -> EventShape:
    """An event of a task."""
    return {
        "at": moment(e.at),
        "from_status": e.from_status,
        "to_status": e.to_status,
        "attempt": e.attempt,
        "token": e.token,
        "host": e.host,
        "message": e.message,
        "job_id": e.job_id,
        "refused": e.refused,
    }


def pipeline(load: PipelineLoad) -> PipelineShape:
    """A pipeline with its tasks counted."""
    p = load.pipeline
    return {
        "name": p.name,
        "uri": p.uri,
        "versions": list(p.versions),
        "identity": p.identity,
        "lease": p.lease,
        "max_attempts": p.max_attempts,
        "retry": p.retry,
        "keep": p.keep.by_status(),
        "counts": dict(load.counts),
        "oldest_pending": load.oldest_pending,
    }


def token(t: Token) -> TokenShape:
    """A token."""
    return {
        "token_id": t.token_id,
        "pipeline": t.pipeline,
        "description": t.description,
        "created_at": moment(t.created_at),
        "revoked_at": _maybe(t.revoked_at),
        "expires_at": _maybe(t.expires_at),
        "used_at": _maybe(t.used_at),
        "replaced_by": t.replaced_by,
    }


def admin_event(e: AdminEvent) -> AdminEventShape:
    """What an administrator did."""
    return {
        "admin_event_id": e.admin_event_id,
        "at": moment(e.at),
        "action": e.action,
        "token_id": e.token_id,
        "token": e.token,
        "host": e.host,
        "pipeline": e.pipeline,
        "subject_id": e.subject_id,
        "detail": e.detail,
    }


def moment(at: datetime) -> str:
    """ISO 8601 in UTC."""
    return at.astimezone(UTC).isoformat()


def _maybe(at: datetime | None) -> str | None:
    return None if at is None else moment(at)
