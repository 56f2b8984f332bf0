"""How every verb is answered: parse, call, reply; with patience while PostgreSQL is away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

from celery import Task
from celery.exceptions import Reject
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_random_exponential,
)

from config.wiring import coordinator
from coordinator.errors import InternalError, LedgerAway, PorchError
from coordinator.requests import Caller
from coordinator.service import Coordinator
from tasks.app import PATIENCE
from tasks.wire import Reply, Request, parse, refusal

logger = logging.getLogger("porch")

#: The state that a waiting client sees while a worker has its request and PostgreSQL is away.
DATABASE_AWAY = "DATABASE_AWAY"

R = TypeVar("R", bound=Request)

#: What a verb answers: the data of the reply, and the sentence for logs.
Answer = tuple[dict[str, Any], str]


def answer(
    task: Task, text: object, shape: type[R], verb: Callable[[Coordinator, Caller, R], Answer]
) -> Reply:
    """The reply to one request: ``verb``'s answer, or the error as data.

    Raises Reject, which puts the message back into its queue, when PostgreSQL stays away.
    """
    began = time.monotonic()
    pipeline = "-"
    try:
        request = parse(text, shape)
        pipeline = request.pipeline or "-"
        caller = Caller(_secret(task), UUID(task.request.id), request.host)
        data, sentence = _patiently(task, lambda: verb(coordinator(), caller, request))
        reply = Reply({"ok": data}, sentence)
    except LedgerAway as away:
        logger.warning("%s %s put back: %s", task.name, task.request.id, away.message)
        raise Reject(away, requeue=True) from away
    except PorchError as error:
        reply = refusal(error)
    except Exception:
        logger.exception("%s %s failed: a defect of porch", task.name, task.request.id)
        reply = refusal(
            InternalError(
                "the coordinator failed on this request",
                f"tell the operator of porch: its log has the details of {task.request.id}",
            )
        )
    taken = (time.monotonic() - began) * 1000
    # A sweep that had nothing to do has nothing to say, every two seconds.
    level = logging.INFO if reply.sentence else logging.DEBUG
    logger.log(
        level, "%s %s pipeline=%s %s ms=%.1f", task.name, task.request.id, pipeline, reply, taken
    )
    return reply


def _patiently(task: Task, call: Callable[[], Answer]) -> Answer:
    """Try until PostgreSQL answers, for PATIENCE seconds; the client is told why it waits."""

    def tell(state: RetryCallState) -> None:
        if state.attempt_number == 2:  # the first failure may be a connection gone stale
            try:
                task.update_state(state=DATABASE_AWAY, meta=None)
            except Exception as error:  # noqa: BLE001 (the broker may be away too)
                # A courtesy: whether it succeeds has nothing to do with the answer.
                logger.warning("cannot tell that PostgreSQL is away: %s", error)

    for attempt in Retrying(
        retry=retry_if_exception_type(LedgerAway),
        stop=stop_after_delay(PATIENCE),
        wait=wait_random_exponential(multiplier=0.05, max=2),
        before_sleep=tell,
        reraise=True,
    ):
        with attempt:
            return call()
    raise AssertionError("unreachable: Retrying returns or raises")


def _secret(task: Task) -> str | None:
    secret = task.request.get("porch_token")
    return secret if isinstance(secret, str) else None
