"""From rows to nouns."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row

from coordinator.model import Keep, Pipeline, Task, Token
from coordinator.status import Status


def pipeline_of(row: Row[Any]) -> Pipeline:
    """A Pipeline from a row of porch.pipeline with the array ``versions``."""
    return Pipeline(
        row.pipeline_id,
        row.name,
        row.uri,
        tuple(row.versions),
        row.identity,
        row.lease_seconds,
        row.max_attempts,
        row.retry_seconds,
        Keep(row.keep_done_seconds, row.keep_failed_seconds, row.keep_cancelled_seconds),
    )


def task_of(row: Row[Any], pipeline: str, lease: int | None = None) -> Task:
    """A Task of ``pipeline`` from a row of porch.task; ``lease``: what its claim is good for."""
    return Task(
        row.task_id,
        pipeline,
        row.version,
        bytes(row.task_input_id),
        row.task_input,
        Status(row.status),
        row.attempt,
        row.priority,
        row.created_at,
        row.updated_at,
        row.lease_until,
        row.job_id,
        row.retry_at,
        lease,
    )


def token_of(row: Row[Any]) -> Token:
    """A Token from a row of porch.token with the name of its pipeline as ``pipeline``."""
    return Token(
        row.token_id,
        row.pipeline,
        row.description,
        row.created_at,
        row.revoked_at,
        row.expires_at,
        row.used_at,
        row.replaced_by,
    )
