"""The Celery tasks, one per verb: each says its name, its shape, and which verb it calls."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from celery import Task
from celery.exceptions import Reject

from coordinator import shapes
from coordinator.arrivals import Handed, Registered
from coordinator.errors import PorchError
from coordinator.model import Standing
from coordinator.operations import Fact
from coordinator.proofs import unsealed
from coordinator.reporting import Updated
from coordinator.requests import (
    Caller,
    Claiming,
    Name,
    Policy,
    Rotation,
    Search,
    Submission,
    Updating,
)
from coordinator.service import Coordinator
from tasks import wire
from tasks.app import PATIENCE, app
from tasks.door import Answer, Asked, Sent, Verb, answer, answer_alone
from tasks.reply import Reply
from tasks.results import store_all
from tasks.together import TOGETHER, Told

R = TypeVar("R", bound=wire.Request)
Single = Callable[[Coordinator, Caller, R], Answer]
Crowd = Callable[[Coordinator, Asked[R]], Sequence[Answer | PorchError | None]]

#: The verbs that answer several requests in one transaction.
_CROWD: dict[str, Verb[Any]] = {}


def door(name: str, shape: type[R], *, lasting: bool = True) -> Callable[[Single[R]], Task]:
    """Register a verb as the Celery task ``porch.<name>`` that takes requests of ``shape``."""

    def register(single: Single[R]) -> Task:
        def carry_out(porch: Coordinator, asked: Asked[R]) -> list[Answer]:
            return [single(porch, caller, request) for caller, request in asked]

        return _registered(Verb(f"porch.{name}", shape, carry_out, lasting))

    return register


def crowd(name: str, shape: type[R]) -> Callable[[Crowd[R]], Task]:
    """As ``door``, for a verb that can answer several requests at once."""

    def register(carry_out: Crowd[R]) -> Task:
        verb = Verb(f"porch.{name}", shape, carry_out)
        _CROWD[verb.name] = verb
        return _registered(verb)

    return register


def _registered(verb: Verb[R]) -> Task:
    def run(task: Task, text: object) -> Reply:
        headers = task.request
        sent = Sent(headers.id, headers.get("porch_proof"), text, headers.get("traceparent"))
        return answer_alone(task, sent, verb)

    return app.task(run, bind=True, name=verb.name, typing=False)


# A child that is killed for taking too long gives back what it had: see ``together``.
@app.task(bind=True, name=TOGETHER, ignore_result=True, acks_on_failure_or_timeout=False)
def together(task: Task, name: str, requests: Sequence[tuple[str, object, object, object]]) -> Told:
    """Answer several requests of one verb, which the worker has gathered.

    Raises Reject, which puts all of them back, when PostgreSQL stays away, or when what others hold
    keeps some waiting for too long. Those that have been answered by then come once more, too, as
    they would if a child were lost.
    """
    began = time.monotonic()
    verb, sent = _CROWD[name], [Sent(*request) for request in requests]
    replies = answer(task, sent, verb)
    _store((one, reply) for one, reply in zip(sent, replies, strict=True) if reply is not None)
    # These would have kept the others waiting, who have their answers now.
    for n in [n for n, reply in enumerate(replies) if reply is None]:
        if time.monotonic() - began > PATIENCE:
            raise Reject("others have held what these need for too long", requeue=True)
        reply = replies[n] = answer_alone(task, sent[n], verb)
        _store([(sent[n], reply)])
    return Told(replies)


def _store(answers: Iterable[tuple[Sent, Reply]]) -> None:
    store_all(app.backend, [(one.request_id, reply) for one, reply in answers])


# Work ---------------------------------------------------------------------------------------


@crowd("submit", wire.SubmitRequest)
def submit(porch: Coordinator, asked: Asked[wire.SubmitRequest]) -> list[Answer | PorchError]:
    """Register definitions."""
    submissions = [
        Submission(caller, one.definitions, one.pipeline, one.version, one.priority)
        for caller, one in asked
    ]
    return [
        one if isinstance(one, PorchError) else _submitted(one)
        for one in porch.submit_all(submissions)
    ]


@crowd("claim", wire.ClaimRequest)
def claim(porch: Coordinator, asked: Asked[wire.ClaimRequest]) -> list[Answer | PorchError]:
    """Hand out PENDING tasks."""
    wishes = [
        Claiming(caller, one.n, one.pipeline, one.version, one.job_id) for caller, one in asked
    ]
    return [
        handed if isinstance(handed, PorchError) else _claimed(wish.n, handed)
        for wish, handed in zip(wishes, porch.claim_all(wishes), strict=True)
    ]


@crowd("update", wire.UpdateRequest)
def update(
    porch: Coordinator, asked: Asked[wire.UpdateRequest]
) -> list[Answer | PorchError | None]:
    """Record reports."""
    wanted = [
        Updating(caller, [change.report() for change in one.changes], one.pipeline)
        for caller, one in asked
    ]
    return [
        _updated(one, updated) if isinstance(updated, Updated) else updated
        for one, updated in zip(wanted, porch.update_all(wanted), strict=True)
    ]


@door("heartbeat", wire.HeartbeatRequest)
def heartbeat(porch: Coordinator, caller: Caller, asked: wire.HeartbeatRequest) -> Answer:
    """Extend leases."""
    answers = porch.heartbeat(caller, [t.name() for t in asked.tasks], pipeline=asked.pipeline)
    return _reported(answers), _judged(answers)


@door("release", wire.ReleaseRequest)
def release(porch: Coordinator, caller: Caller, asked: wire.ReleaseRequest) -> Answer:
    """Give tasks back."""
    how = {"pipeline": asked.pipeline, "message": asked.message}
    answers = porch.release(caller, [t.name() for t in asked.tasks], **how) if asked.tasks else []
    unstarted = porch.release_claim(caller, asked.claim, **how) if asked.claim else 0
    data = {**_reported(answers), "released": unstarted}
    return data, {**_judged(answers), "of_claim": unstarted}


@door("rerun", wire.RerunRequest)
def rerun(porch: Coordinator, caller: Caller, asked: wire.RerunRequest) -> Answer:
    """Make finished work PENDING again."""
    decisions = [task.decision() for task in asked.tasks]
    answers = porch.rerun(
        caller, decisions, pipeline=asked.pipeline, reason=asked.reason, force=asked.force
    )
    return _reported(answers), _judged(answers)


@door("cancel", wire.CancelRequest)
def cancel(porch: Coordinator, caller: Caller, asked: wire.CancelRequest) -> Answer:
    """Take work out of the queue."""
    decisions = [task.decision() for task in asked.tasks]
    answers = porch.cancel(caller, decisions, pipeline=asked.pipeline, reason=asked.reason)
    return _reported(answers), _judged(answers)


@door("sweep", wire.SweepRequest, lasting=False)
def sweep(porch: Coordinator, caller: Caller, asked: wire.SweepRequest) -> Answer:
    """Do what time has made due; beat asks for it every few seconds."""
    del caller, asked
    counts = asdict(porch.sweep())
    return counts, {what: n for what, n in counts.items() if n}


# Looking ------------------------------------------------------------------------------------


@door("show", wire.ShowRequest)
def show(porch: Coordinator, caller: Caller, asked: wire.ShowRequest) -> Answer:
    """One task with its events."""
    task, events = porch.show(caller, Name(asked.task, asked.version), pipeline=asked.pipeline)
    data = {"task": shapes.task(task), "events": [shapes.event(e) for e in events]}
    return data, {"task": task.task_input_id[:12]}


@door("list", wire.ListRequest)
def list_tasks(porch: Coordinator, caller: Caller, asked: wire.ListRequest) -> Answer:
    """One page of tasks."""
    tasks = porch.tasks(caller, _search(asked), after=asked.after, limit=asked.limit)
    more = tasks[-1].task_id if len(tasks) == asked.limit else None
    return {"tasks": [shapes.task(t) for t in tasks], "next": more}, {"n": len(tasks)}


@door("count", wire.CountRequest)
def count(porch: Coordinator, caller: Caller, asked: wire.CountRequest) -> Answer:
    """Tasks per status."""
    counts = porch.count(caller, _search(asked))
    return {"counts": counts}, {"n": sum(counts.values())}


@door("feed", wire.FeedRequest)
def feed(porch: Coordinator, caller: Caller, asked: wire.FeedRequest) -> Answer:
    """One page of status messages."""
    page, signal = porch.feed(
        caller,
        pipeline=asked.pipeline,
        task=asked.task,
        version=asked.version,
        statuses=asked.status,
        after=asked.after,
        limit=asked.limit,
    )
    messages = [message.as_wire() for message in page.messages]
    data = {"messages": messages, "next": page.next, "more": page.more, "signal": signal}
    data["pruned"] = page.pruned
    return data, {"n": len(messages)}


@door("pipelines", wire.PipelinesRequest)
def pipelines(porch: Coordinator, caller: Caller, asked: wire.PipelinesRequest) -> Answer:
    """All pipelines or one."""
    loads = porch.pipelines(caller, asked.pipeline)
    return {"pipelines": [shapes.pipeline(load) for load in loads]}, {"n": len(loads)}


# Administration -----------------------------------------------------------------------------


@door("register_pipeline", wire.RegisterPipelineRequest)
def register_pipeline(
    porch: Coordinator, caller: Caller, asked: wire.RegisterPipelineRequest
) -> Answer:
    """Add a pipeline."""
    load = porch.register_pipeline(caller, asked.pipeline, uri=asked.uri, version=asked.version)
    return {"pipelines": [shapes.pipeline(load)]}, {"version": asked.version}


@door("add_version", wire.AddVersionRequest)
def add_version(porch: Coordinator, caller: Caller, asked: wire.AddVersionRequest) -> Answer:
    """Add a version."""
    load = porch.add_version(caller, asked.pipeline, asked.version)
    return {"pipelines": [shapes.pipeline(load)]}, {"version": asked.version}


@door("set_policy", wire.SetPolicyRequest)
def set_policy(porch: Coordinator, caller: Caller, asked: wire.SetPolicyRequest) -> Answer:
    """Set policies."""
    words = asked.model_fields_set & set(Policy.__dataclass_fields__)
    given = {word: getattr(asked, word) for word in sorted(words)}
    load = porch.set_policy(caller, asked.pipeline, Policy.of(given))
    return {"pipelines": [shapes.pipeline(load)]}, {"set": ",".join(given) or "-"}


@door("issue_token", wire.IssueTokenRequest)
def issue_token(porch: Coordinator, caller: Caller, asked: wire.IssueTokenRequest) -> Answer:
    """Register a token."""
    token = porch.add_token(
        caller,
        _digest(caller, asked.digest),
        pipeline=asked.pipeline,
        description=asked.description,
        lifetime=asked.expires,
    )
    return {"tokens": [shapes.token(token)]}, {"token_id": token.token_id}


@door("tokens", wire.TokensRequest)
def tokens(porch: Coordinator, caller: Caller, asked: wire.TokensRequest) -> Answer:
    """Tokens, without their secrets."""
    known = porch.tokens(caller, pipeline=asked.pipeline)
    return {"tokens": [shapes.token(token) for token in known]}, {"n": len(known)}


@door("rotate_token", wire.RotateTokenRequest)
def rotate_token(porch: Coordinator, caller: Caller, asked: wire.RotateTokenRequest) -> Answer:
    """Put a new token in the place of one."""
    digest = _digest(caller, asked.digest)
    rotation = Rotation(asked.token_id, digest, asked.overlap, asked.expires)
    new, old = porch.rotate_token(caller, rotation)
    return (
        {"tokens": [shapes.token(new), shapes.token(old)]},
        {"token_id": old.token_id, "new": new.token_id},
    )


@door("revoke_token", wire.RevokeTokenRequest)
def revoke_token(porch: Coordinator, caller: Caller, asked: wire.RevokeTokenRequest) -> Answer:
    """Make a token worthless."""
    token = porch.revoke_token(caller, asked.token_id)
    return {"tokens": [shapes.token(token)]}, {"token_id": token.token_id}


@door("admin_events", wire.AdminEventsRequest)
def admin_events(porch: Coordinator, caller: Caller, asked: wire.AdminEventsRequest) -> Answer:
    """What administrators did."""
    events = porch.admin_events(caller, after=asked.after, limit=asked.limit)
    following = events[-1].admin_event_id if len(events) == asked.limit else None
    return (
        {"events": [shapes.admin_event(event) for event in events], "next": following},
        {"n": len(events)},
    )


# Shared -------------------------------------------------------------------------------------


def _search(asked: wire.CountRequest) -> Search:
    return Search(
        asked.pipeline,
        asked.version,
        frozenset(asked.status),
        asked.since,
        asked.text,
        asked.message,
        asked.stale,
    )


def _digest(caller: Caller, sealed: str) -> bytes:
    """The digest of the token that is to be; whoever sends no token of theirs is refused later."""
    return unsealed(caller.secret or "", caller.request_id, bytes.fromhex(sealed))


def _submitted(registered: Registered) -> Answer:
    answers = registered.answers
    results = [shapes.standing(answer) for answer in answers]
    new = sum(isinstance(a, Standing) and a.created for a in answers)
    of = {"pipeline": registered.pipeline.name}
    facts: dict[str, Fact] = {**of, "n": len(results), "new": new, "refused": _refused(answers)}
    return {**of, "results": results}, facts


def _claimed(n: int, handed: Handed) -> Answer:
    tasks = [shapes.task(task) for task in handed.tasks]
    return {"tasks": tasks}, {"pipeline": handed.pipeline.name, "n": n, "claimed": len(tasks)}


def _updated(asked: Updating, updated: Updated) -> Answer:
    counts = Counter(report.status.value for report in asked.reports)
    facts = {**dict(sorted(counts.items())), "refused": _refused(updated.answers)}
    return _reported(updated.answers), {"pipeline": updated.pipeline.name, **facts}


def _reported(answers: Sequence[Any]) -> dict[str, Any]:
    return {"results": [shapes.reported(answer) for answer in answers]}


def _judged(answers: Sequence[object]) -> dict[str, Fact]:
    return {"n": len(answers), "refused": _refused(answers)}


def _refused(answers: Sequence[object]) -> int:
    return sum(isinstance(answer, PorchError) for answer in answers)
