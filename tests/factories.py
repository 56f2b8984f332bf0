"""Builders: what tests need, made in one line each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import uuid4

from sqlalchemy import text

from coordinator.access import digest, new_secret
from coordinator.lookup import or_raise
from coordinator.model import Pipeline, Standing, Task
from coordinator.requests import Caller, Decision, Name, Report, Reported, Seen
from coordinator.service import Coordinator
from coordinator.status import Status

_numbers = count(1)


def unique(word: str) -> str:
    """A name that no other test has."""
    return f"{word}-{uuid4().hex[:8]}"


def definition(**fields: Any) -> dict[str, Any]:
    """A definition of work unlike any other, unless ``fields`` make it so."""
    return {"run": next(_numbers), **fields} if "run" not in fields else fields


def definitions(n: int) -> list[dict[str, Any]]:
    """``n`` different definitions."""
    return [definition() for _ in range(n)]


def caller(secret: str | None) -> Caller:
    """A caller with a request of its own."""
    return Caller(secret, uuid4(), "test-host")


def admin(porch: Coordinator) -> str:
    """The secret of a new admin token."""
    secret = new_secret()
    porch.ledger.add_token(digest(secret), None, "test admin")
    return secret


def pipeline(porch: Coordinator, *versions: str, name: str | None = None) -> tuple[str, str]:
    """A new pipeline: its name, and the secret of a token for it."""
    boss, name, secret = admin(porch), name or unique("pipeline"), new_secret()
    first, *others = versions or ("1.0",)
    porch.register_pipeline(caller(boss), name, uri="https://example.org/p", version=first)
    for version in others:
        porch.add_version(caller(boss), name, version)
    porch.add_token(caller(boss), digest(secret), pipeline=name, description="test token")
    return name, secret


def a_pipeline(*versions: str, pipeline_id: int = 1) -> Pipeline:
    """A Pipeline that is in no ledger."""
    name = f"pipeline-{pipeline_id}"
    return Pipeline(pipeline_id, name, "https://example.org/p", versions, "version", None, None)


def a_task(key: bytes = b"\1" * 32, version: str = "1.0") -> Task:
    """A Task that is in no ledger."""
    at = datetime(2026, 11, 1, tzinfo=UTC)
    return Task(1, "pipeline-1", version, key, {"run": 1}, Status.PENDING, 0, 0, at, at, None)


def submit(porch: Coordinator, secret: str, given: Sequence[object], **options: Any) -> list[str]:
    """Submit definitions; their task_input_ids."""
    answers = porch.submit(caller(secret), given, **options)
    return [answer.key.hex() for answer in answers if isinstance(answer, Standing)]


def let_time_pass(porch: Coordinator, seconds: float) -> None:
    """Move everything that a task waits for, and when it last changed, into the past.

    To the ledger, which compares these with PostgreSQL's clock and with nothing else, this is the
    same as waiting.
    """
    with porch.ledger.engine.begin() as connection:  # type: ignore[attr-defined]
        connection.execute(
            text(
                "UPDATE porch.task SET updated_at = updated_at - make_interval(secs => :s),"
                " lease_until = lease_until - make_interval(secs => :s),"
                " retry_at = retry_at - make_interval(secs => :s),"
                " restored_at = restored_at - make_interval(secs => :s)"
            ),
            {"s": seconds},
        )
        connection.execute(
            text("UPDATE porch.event SET at = at - make_interval(secs => :s)"), {"s": seconds}
        )


def rerun(porch: Coordinator, who: Caller, name: Name, seen: Seen, **options: Any) -> Reported:
    """Re-run one task; raises what it is refused for."""
    return or_raise(porch.rerun(who, [Decision(name, seen)], **options)[0])


def cancel(porch: Coordinator, who: Caller, name: Name, seen: Seen, **options: Any) -> Reported:
    """Cancel one task; raises what it is refused for."""
    return or_raise(porch.cancel(who, [Decision(name, seen)], **options)[0])


def finish(porch: Coordinator, secret: str, status: Status) -> str:
    """Claim the next task and bring it to DONE, FAILED or CANCELLED; its task_input_id."""
    (task,) = porch.claim(caller(secret), 1)
    name = Name(task.task_input_id, task.version, task.attempt)
    if status is Status.CANCELLED:
        cancel(porch, caller(secret), name, Seen(task.status, task.attempt))
    else:
        porch.update(caller(secret), [Report(name, status)])
    return task.task_input_id
