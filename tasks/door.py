"""How every verb is answered: parse, call, reply; with patience while PostgreSQL is away."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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

from config.wiring import coordinator, counting
from coordinator.errors import InternalError, LedgerAway, PorchError
from coordinator.operations import Fact, Operation, begin
from coordinator.proofs import Proof
from coordinator.requests import Caller
from coordinator.service import Coordinator
from tasks.app import PATIENCE
from tasks.reply import Reply, refusal, sentence
from tasks.results import DATABASE_AWAY, Notice
from tasks.wire import Request, parse

logger = logging.getLogger("porch")

#: That for what comes again by itself: it keeps nobody waiting for a child.
_MOMENT = 0.5

_notice = Notice()

R = TypeVar("R", bound=Request)
T = TypeVar("T")

#: What a verb answers: the data of the reply, and what logs and Flower tell of it.
Answer = tuple[dict[str, Any], Mapping[str, Fact]]
#: What is asked, by whom.
Asked = Sequence[tuple[Caller, R]]
#: The same, while it is not known whose the token is.
Proved = tuple[Caller, R, Proof | None]


@dataclass(frozen=True, slots=True)
class Verb(Generic[R]):
    """A verb as the queue knows it: ``carry_out`` answers several requests, each by itself.

    Or says None of one: it has not been carried out, as the others would have had to wait for it.
    ``lasting``: when PostgreSQL stays away, a request is put back; otherwise it is refused, as it
    comes again by itself.
    """

    name: str
    shape: type[R]
    carry_out: Callable[[Coordinator, Asked[R]], Sequence[Answer | PorchError | None]]
    lasting: bool = True


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as it came: its id, the proof that came with it, its text, and its traceparent."""

    request_id: str
    proof: object
    text: object
    traceparent: object = None


def answer_alone(task: Task, sent: Sent, verb: Verb[R]) -> Reply:
    """As ``answer``, for one request, which waits for whom it must wait for."""
    (reply,) = answer(task, [sent], verb)
    if reply is None:
        raise AssertionError("unreachable: who is alone waits")
    return reply


def answer(task: Task, sent: Sequence[Sent], verb: Verb[R]) -> list[Reply | None]:
    """The reply to each request: the verb's answer, or the error as data.

    None to one of several that is to be answered alone, for which the others would have to wait.
    Raises Reject, which puts what ``task`` came with back into its queue, when PostgreSQL stays
    away and the verb is ``lasting``.
    """
    began = time.perf_counter()
    operations = [Operation(verb.name, one.request_id) for one in sent]
    alone = len(operations) == 1
    begin(operations[0] if alone else None)
    for operation, one in zip(operations, sent, strict=True):
        operation.trace(one.traceparent, around=alone)
    requests = [_parsed(*both, verb.shape) for both in zip(operations, sent, strict=True)]
    good = [r for r in requests if not isinstance(r, PorchError)]
    try:
        told = iter(_answers(task, good, verb))
    except LedgerAway as away:
        if verb.lasting:
            for operation in operations:
                operation.outcome, operation.facts = "put_back", {"why": away.message}
                operation.log(logging.WARNING, time.perf_counter() - began)
            raise Reject(away, requeue=True) from away
        told = iter([away] * len(good))
    answers = [r if isinstance(r, PorchError) else next(told) for r in requests]
    took = time.perf_counter() - began
    for operation, request, answered in zip(operations, requests, answers, strict=True):
        if answered is not None:
            _log(operation, request, answered, len(sent), took)
        elif operation.span is not None:
            operation.span.end(verb.name, {"batch": len(sent)}, "left_out")
    return [
        None if one is None else _reply(one, operation.pipeline)
        for operation, one in zip(operations, answers, strict=True)
    ]


def _reply(answered: Answer | PorchError, pipeline: str | None) -> Reply:
    if isinstance(answered, PorchError):
        return refusal(answered, pipeline)
    return Reply({"ok": answered[0]}, sentence(_without_pipeline(answered[1])), pipeline)


def _log(
    operation: Operation,
    request: tuple[Caller, Request, Proof | None] | PorchError,
    answered: Answer | PorchError,
    batch: int,
    took: float,
) -> None:
    if operation.pipeline is None and not isinstance(request, PorchError):
        operation.pipeline = request[1].pipeline
    if isinstance(answered, PorchError):
        operation.outcome, level = answered.code, None
    else:
        operation.facts.update(answered[1])
        operation.pipeline = str(operation.facts.pop("pipeline", "")) or operation.pipeline
        # A sweep that had nothing to do has nothing to say, every two seconds.
        level = None if answered[1] else logging.DEBUG
    if batch > 1:
        operation.facts["batch"] = batch
    operation.log(level, took)


def _parsed(operation: Operation, sent: Sent, shape: type[R]) -> Proved[R] | PorchError:
    try:
        request: R = parse(sent.text, shape)
    except PorchError as error:
        counting().turn_away(error)
        return error
    proof = None
    # In its place, until it is opened: nobody's token.
    secret = "no proof" if isinstance(sent.proof, str) else None
    if isinstance(sent.proof, str) and isinstance(sent.text, str):
        proof = Proof.of(sent.proof, operation.verb, sent.request_id, sent.text)
    caller = Caller(secret, UUID(sent.request_id), request.host, operation.traceparent)
    return caller, request, proof


def _without_pipeline(facts: Mapping[str, Fact]) -> Mapping[str, Fact]:
    return {name: fact for name, fact in facts.items() if name != "pipeline"}


def _answers(
    task: Task, sent: Sequence[Proved[R]], verb: Verb[R]
) -> Sequence[Answer | PorchError | None]:
    ids = [str(caller.request_id) for caller, _, _ in sent]

    def carry_out() -> Sequence[Answer | PorchError | None]:
        porch = coordinator()
        tokens = porch.proofs.open([proof for _, _, proof in sent])
        asked = [
            (caller if proof is None else replace(caller, secret=token), request)
            for (caller, request, proof), token in zip(sent, tokens, strict=True)
        ]
        return verb.carry_out(porch, asked)

    try:
        return _patiently(task, verb, ids, carry_out)
    except LedgerAway:
        raise
    except PorchError as error:
        return [error for _ in sent]
    except Exception:
        if len(sent) > 1:  # whose fault it is shows when each is alone
            return [answered for one in sent for answered in _answers(task, [one], verb)]
        logger.exception("%s failed: a defect of porch", *ids)
        return [_defect(request_id) for request_id in ids]


def _defect(request_id: str) -> InternalError:
    defect = InternalError(
        "the coordinator failed on this request",
        f"tell the operator of porch: its log has the details of {request_id}",
    )
    counting().turn_away(defect)
    return defect


def _patiently(task: Task, verb: Verb[R], ids: Sequence[str], call: Callable[[], T]) -> T:
    """Try until PostgreSQL answers, for a while; the clients are told why they wait."""

    def tell(state: RetryCallState) -> None:
        counting().tried_again()
        failed = state.outcome.exception() if state.outcome else None
        # The first failure may be a connection gone stale.
        if state.attempt_number >= 2 and not (isinstance(failed, LedgerAway) and failed.busy):
            try:
                _notice.put_up(task.backend)
                for request_id in ids if verb.lasting and state.attempt_number == 2 else ():
                    task.update_state(request_id, state=DATABASE_AWAY, meta=None)
            except Exception as error:  # noqa: BLE001 (the broker may be away too)
                # A courtesy: whether it succeeds has nothing to do with the answer.
                logger.warning("cannot tell that PostgreSQL is away: %s", error)

    for attempt in Retrying(
        retry=retry_if_exception_type(LedgerAway),
        stop=stop_after_delay(PATIENCE if verb.lasting else _MOMENT),
        wait=wait_random_exponential(multiplier=0.05, max=2),
        before_sleep=tell,
        reraise=True,
    ):
        with attempt:
            result = call()
    if _notice.hangs:
        try:
            _notice.take_down(task.backend)
        except Exception as error:  # noqa: BLE001 (it goes by itself)
            logger.warning("cannot take down that PostgreSQL is away: %s", error)
    return result
