"""Nouns of the coordinator, as they are written on the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from coordinator.errors import PorchError
from coordinator.model import Event, PipelineLoad, Standing, Task, Token
from coordinator.requests import Reported


def standing(answer: Standing | PorchError) -> dict[str, Any]:
    """How one definition stands, or ``{"error": ...}``."""
    if isinstance(answer, PorchError):
        return {"error": answer.as_wire()}
    return {
        "task_input_id": answer.key.hex(),
        "status": answer.status.value,
        "created": answer.created,
    }


def reported(answer: Reported | PorchError) -> dict[str, Any]:
    """What became of one report, or ``{"error": ...}``."""
    if isinstance(answer, PorchError):
        return {"error": answer.as_wire()}
    return {
        "task_input_id": answer.key.hex(),
        "version": answer.version,
        "status": answer.status.value,
        "attempt": answer.attempt,
        "changed": answer.changed,
        "lease": answer.lease,
    }


def task(t: Task) -> dict[str, Any]:
    """A task."""
    return {
        "pipeline": t.pipeline,
        "version": t.version,
        "task_input_id": t.task_input_id,
        "task_input": t.task_input,
        "status": t.status.value,
        "attempt": t.attempt,
        "priority": t.priority,
        "created_at": moment(t.created_at),
        "updated_at": moment(t.updated_at),
        "lease_until": moment(t.lease_until),
        "job_id": t.job_id,
        "retry_at": moment(t.retry_at),
    }


def event(e: Event) -> dict[str, Any]:
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


def pipeline(load: PipelineLoad) -> dict[str, Any]:
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
        "counts": {status.value: n for status, n in load.counts.items()},
        "oldest_pending": load.oldest_pending,
    }


def token(t: Token) -> dict[str, Any]:
    """A token, without its secret, which nobody here knows."""
    return {
        "token_id": t.token_id,
        "pipeline": t.pipeline,
        "description": t.description,
        "created_at": moment(t.created_at),
        "revoked_at": moment(t.revoked_at),
    }


def moment(at: datetime | None) -> str | None:
    """ISO 8601 in UTC."""
    return None if at is None else at.astimezone(UTC).isoformat()
