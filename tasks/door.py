"""How every verb is answered: parse, call, reply; with patience while PostgreSQL is away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
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
from coordinator.proofs import Opened, Proof
from coordinator.requests import Caller
from coordinator.service import Coordinator
from tasks.app import PATIENCE
from tasks.wire import Reply, Request, parse, refusal

logger = logging.getLogger("porch")

#: The state that a waiting client sees while a worker has its request and PostgreSQL is away.
DATABASE_AWAY = "DATABASE_AWAY"

R = TypeVar("R", bound=Request)
T = TypeVar("T")

#: What a verb answers: the data of the reply, and the sentence for logs.
Answer = tuple[dict[str, Any], str]
#: What is asked, by whom.
Asked = Sequence[tuple[Caller, R]]


@dataclass(frozen=True, slots=True)
class Verb(Generic[R]):
    """A verb as the queue knows it: ``carry_out`` answers several requests, each by itself."""

    name: str
    shape: type[R]
    carry_out: Callable[[Coordinator, Asked[R]], Sequence[Answer | PorchError]]


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as it came: its id, the proof that came with it, and its text."""

    request_id: str
    proof: object
    text: object


def answer(task: Task, sent: Sequence[Sent], verb: Verb[R]) -> list[Reply]:
    """The reply to each request: the verb's answer, or the error as data.

    Raises Reject, which puts what ``task`` came with back into its queue, when PostgreSQL stays
    away.
    """
    began = time.monotonic()
    requests = [_parsed(one, verb.shape) for one in sent]
    good = [
        (one, request)
        for one, request in zip(sent, requests, strict=True)
        if not isinstance(request, PorchError)
    ]
    told = iter(_replies(task, good, verb))
    replies = [refusal(r) if isinstance(r, PorchError) else next(told) for r in requests]
    taken = (time.monotonic() - began) * 1000
    for one, reply in zip(sent, replies, strict=True):
        # A sweep that had nothing to do has nothing to say, every two seconds.
        logger.log(
            logging.INFO if reply.sentence else logging.DEBUG,
            "%s %s %s ms=%.1f",
            verb.name,
            one.request_id,
            reply,
            taken,
        )
    return replies


def _parsed(sent: Sent, shape: type[R]) -> R | PorchError:
    try:
        request: R = parse(sent.text, shape)
    except PorchError as error:
        return error
    return request


def _replies(task: Task, sent: Sequence[tuple[Sent, R]], verb: Verb[R]) -> list[Reply]:
    ids = [one.request_id for one, _ in sent]

    def carry_out() -> list[Reply]:
        porch = coordinator()
        opened = porch.proofs.open([_proof(one, verb.name) for one, _ in sent])
        asked = [
            (Caller(_secret(one, token), UUID(one.request_id), request.host), request)
            for (one, request), token in zip(sent, opened, strict=True)
        ]
        answers = verb.carry_out(porch, asked) if asked else []
        return [
            _reply(answered, token.pipeline or request.pipeline)
            for answered, token, (_, request) in zip(answers, opened, sent, strict=True)
        ]

    try:
        return _patiently(task, ids, carry_out)
    except LedgerAway as away:
        logger.warning("%s %s put back: %s", verb.name, " ".join(ids), away.message)
        raise Reject(away, requeue=True) from away
    except PorchError as error:
        return [refusal(error, request.pipeline) for _, request in sent]
    except Exception:
        if len(sent) > 1:  # whose fault it is shows when each is alone
            return [reply for one in sent for reply in _replies(task, [one], verb)]
        logger.exception("%s %s failed: a defect of porch", verb.name, *ids)
        return [refusal(_defect(request_id)) for request_id in ids]


def _proof(sent: Sent, verb: str) -> Proof | None:
    if not (isinstance(sent.proof, str) and isinstance(sent.text, str)):
        return None
    return Proof.of(sent.proof, verb, sent.request_id, sent.text)


def _secret(sent: Sent, opened: Opened) -> str | None:
    return opened.secret if isinstance(sent.proof, str) else None


def _reply(answered: Answer | PorchError, pipeline: str | None) -> Reply:
    if isinstance(answered, PorchError):
        return refusal(answered, pipeline)
    data, sentence = answered
    return Reply({"ok": data}, sentence, pipeline)


def _defect(request_id: str) -> InternalError:
    return InternalError(
        "the coordinator failed on this request",
        f"tell the operator of porch: its log has the details of {request_id}",
    )


def _patiently(task: Task, ids: Sequence[str], call: Callable[[], T]) -> T:
    """Try until PostgreSQL answers, for PATIENCE seconds; the clients are told why they wait."""

    def tell(state: RetryCallState) -> None:
        if state.attempt_number == 2:  # the first failure may be a connection gone stale
            try:
                for request_id in ids:
                    task.update_state(request_id, state=DATABASE_AWAY, meta=None)
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
