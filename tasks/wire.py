"""The wire format, version 1: one JSON text each way, which Celery only carries.

A request is the single argument of a Celery task ``porch.<verb>``: the text of a JSON object with
``wire: 1`` and the fields below. The Celery task id is the request_id: a request that is sent again
has the same. The token itself is in no message: the header ``porch_proof`` proves it for this one
request, see ``coordinator.proofs``.

The answer is the result of the Celery task: the text of ``{"ok": ...}`` or of
``{"error": {"code", "message", "cure"}}``.

Text, and not the objects themselves, because kombu's JSON gives a meaning of its own to objects
that have the keys ``__type__`` and ``__value__``, which a task_input may well have.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, ValidationError

from coordinator.errors import BadRequest, TooDeep, UnknownWire
from coordinator.sent import (
    Sent,
    SentDecision,
    SentJobId,
    SentName,
    SentReport,
    SentRowId,
    SentSeconds,
    SentText,
)
from coordinator.status import Status

WIRE = 1

#: SHA-256 of a secret, sealed by the administrator: see ``coordinator.proofs.unsealed``.
SentDigest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

#: Characters of one request. A client sends about a thousand definitions or 1 MiB at once.
MOST_CHARACTERS = 32 * 2**20


class Request(Sent):
    """What every request has."""

    wire: Literal[1]
    host: Annotated[SentText, Field(max_length=255)] | None = None
    pipeline: SentText | None = None


class SubmitRequest(Request):
    """porch.submit: ``definitions`` are the task_inputs themselves. Answers ``results``, for each a
    StandingShape or a RefusedShape; ``pipeline``, whose they are, by the token if none is named."""

    version: SentText | None = None
    priority: int = 0
    definitions: list[Any]


class ClaimRequest(Request):
    """porch.claim. Answers ``tasks``, a TaskShape each; none where the claim queue is empty."""

    version: SentText | None = None
    n: int
    job_id: SentJobId | None = None


class UpdateRequest(Request):
    """porch.update. Answers ``results``, for each a ReportedShape or a RefusedShape."""

    changes: list[SentReport]


class HeartbeatRequest(Request):
    """porch.heartbeat. Answers ``results``, for each a ReportedShape or a RefusedShape."""

    tasks: list[SentName]


class ReleaseRequest(Request):
    """porch.release: named tasks, or (``claim``: its request_id) what of a claim is not started.
    Answers ``results``, for each of ``tasks`` a ReportedShape or a RefusedShape; ``released``, how
    many of the claim."""

    tasks: list[SentName] = Field(default_factory=list)
    claim: UUID | None = None
    message: str | None = None


class CancelRequest(Request):
    """porch.cancel. Answers ``results``, for each a ReportedShape or a RefusedShape."""

    tasks: list[SentDecision]
    reason: str | None = None


class RerunRequest(CancelRequest):
    """porch.rerun. Answers ``results``, for each a ReportedShape or a RefusedShape."""

    force: bool = False


class ShowRequest(Request):
    """porch.show. Answers ``task``, a TaskShape; ``events``, an EventShape each, oldest first."""

    task: SentText
    version: SentText | None = None


class CountRequest(Request):
    """porch.count. Answers ``counts``: by status, how many."""

    version: SentText | None = None
    status: list[Status] = Field(default_factory=list)
    since: datetime | None = None
    text: SentText | None = None
    message: SentText | None = None
    stale: SentSeconds | None = None


class ListRequest(CountRequest):
    """porch.list: one page; ``after`` is the ``next`` of the page before. Answers ``tasks``, a
    TaskShape each; ``next``, null after the last page."""

    after: SentRowId = 0
    limit: int = 1_000


class FeedRequest(Request):
    """porch.feed: changes after the event ``after`` (null: none, but where the feed ends now); the
    next page begins after ``next``. ``signal``: a channel that says when to ask again.

    Answers ``messages``, in order, each as `Porch.watch()` tells it; ``next``; ``more``, whether to
    ask on at once; ``signal``; ``pruned``: the newest change that has been pruned, who goes on
    from before it has a gap.
    """

    after: SentRowId | None = None
    limit: int = 1_000
    task: SentText | None = None
    version: SentText | None = None
    status: list[Status] = Field(default_factory=list)


class PipelinesRequest(Request):
    """porch.pipelines: all, or the one named by ``pipeline``. Answers ``pipelines``, a
    PipelineShape each."""


class FailureGroupsRequest(Request):
    """porch.failure_groups: the ``most`` largest. Answers ``groups``, a FailureGroupShape each."""

    most: int = 20


class FailuresRequest(Request):
    """porch.failures: tasks of the group of that name which failed by ``until``; ``after`` is the
    ``next`` of the page before. Answers ``tasks``, a TaskShape each; ``next``, null after the last
    page."""

    group: SentText
    until: AwareDatetime | None = None
    after: SentRowId = 0
    limit: int = 1_000


class StatsRequest(Request):
    """porch.stats: what happened in the last ``hours``, and how long runs take. Answers
    ``throughput``, an IntervalShape each; ``pipelines``, a BusyShape of each of the busiest, where
    all are looked at; ``run_times``, a RunTimesShape each."""

    hours: int = 24


class RegisterPipelineRequest(Request):
    """porch.register_pipeline. Answers ``pipelines``, the PipelineShape of that one."""

    pipeline: SentText
    uri: SentText
    version: SentText


class AddVersionRequest(Request):
    """porch.add_version. Answers ``pipelines``, the PipelineShape of that one."""

    pipeline: SentText
    version: SentText


class SetPolicyRequest(Request):
    """porch.set_policy: what is left out stays as it is; null means none.

    ``keep``: for how many seconds inputs and histories of DONE, FAILED and CANCELLED tasks are
    kept; null for ever.

    Answers ``pipelines``, the PipelineShape of that one.
    """

    pipeline: SentText
    identity: Literal["version", "pipeline"] = "version"
    lease: int | None = None
    max_attempts: int | None = None
    retry: int | None = None
    keep: dict[Status, int | None] = Field(default_factory=dict)


class SweepRequest(Request):
    """porch.sweep: what time has made due. It comes from beat, without a token, and asks nothing
    that would not happen anyway. Answers ``taken_back``, ``failed``, ``retried``, how many tasks;
    ``more``, whether there may be more that is due."""


class IssueTokenRequest(Request):
    """porch.issue_token: ``digest`` is the sealed SHA-256 of the secret, in hexadecimal digits.

    The client makes the secret and keeps it; it never travels before it is used.

    Answers ``tokens``, the TokenShape of the new one.
    """

    digest: SentDigest
    description: SentText
    #: Seconds for which it is good; null for ever.
    expires: SentSeconds | None = None


class TokensRequest(Request):
    """porch.tokens. Answers ``tokens``, a TokenShape each."""


class RotateTokenRequest(Request):
    """porch.rotate_token: a new token, whose ``digest`` is given, in the place of ``token_id``.

    That one is good for ``overlap`` seconds yet; the new one for ``expires`` seconds, or (null) for
    as long as the old one was meant to be.

    Answers ``tokens``, the TokenShapes of the new one and the old one.
    """

    token_id: SentRowId
    digest: SentDigest
    overlap: SentSeconds
    expires: SentSeconds | None = None


class RevokeTokenRequest(Request):
    """porch.revoke_token. Answers ``tokens``, the TokenShape of that one."""

    token_id: SentRowId


class AdminEventsRequest(Request):
    """porch.admin_events: one page; ``after`` is the ``next`` of the page before. Answers
    ``events``, an AdminEventShape each; ``next``, null after the last page."""

    after: SentRowId = 0
    limit: int = 1_000


def parse(text: object, shape: type[Request]) -> Any:
    """The request in ``text``, as an instance of ``shape``.

    Raises BadRequest, UnknownWire or TooDeep, naming the field that is wrong.
    """
    if not isinstance(text, str):
        raise BadRequest("the argument of the message is not a JSON text", "use porch_client")
    try:
        sent = json.loads(text)
    except RecursionError:
        raise TooDeep("the request is nested too deeply", "flatten its definitions") from None
    except ValueError as error:
        raise BadRequest(f"the request is not JSON: {error}", "use porch_client") from None
    if not isinstance(sent, dict):
        raise BadRequest("the request is not a JSON object", "use porch_client")
    if sent.get("wire") != WIRE:
        raise UnknownWire(
            f"the request is in wire format {str(sent.get('wire'))[:40]!r}, this coordinator "
            f"speaks {WIRE}",
            "use a porch client and coordinator of about the same age",
        )
    try:
        return shape.model_validate(sent)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadRequest(f"{where[:200]}: {first['msg']}", "see the wire format") from None
