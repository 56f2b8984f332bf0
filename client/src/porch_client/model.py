"""The nouns a caller gets back: one frozen class each, built from what the coordinator sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, get_args

from porch_client.errors import PorchError, Unreachable

Status = Literal["PENDING", "CLAIMED", "RUNNING", "DONE", "FAILED", "CANCELLED"]
STATUSES: tuple[str, ...] = get_args(Status)


@dataclass(frozen=True, slots=True)
class Registered:
    """One submitted definition: whether it is new (``created``), its current ``status``, and the
    ``pipeline`` whose it is, by its token where none was named. (A coordinator of before does not
    tell that.)"""

    position: int
    task_input_id: str
    status: str
    created: bool
    pipeline: str | None = None


@dataclass(frozen=True, slots=True)
class NotRegistered:
    """One submitted definition that was refused, by its position in the submission (from 0)."""

    position: int
    error: PorchError


@dataclass(frozen=True, slots=True)
class Spooled:
    """One definition or report that is kept in the spool, on disk, and why it was not delivered."""

    position: int
    error: Unreachable


@dataclass(frozen=True, slots=True)
class Flushed:
    """What became of the definitions and reports in a spool.

    ``created`` and ``known`` (by status) are registered, ``reported`` taken; ``refused`` are set
    aside in ``refused/``; ``kept`` stay for who may send them, and ``left`` because nobody answered
    (``away``). ``errors``: one for each reason of ``refused`` and ``kept``. ``reports``: how many
    of all these were reports.
    """

    created: int = 0
    known: Mapping[str, int] = field(default_factory=dict)
    refused: int = 0
    kept: int = 0
    left: int = 0
    errors: tuple[PorchError, ...] = ()
    away: Unreachable | None = None
    reported: int = 0
    reports: int = 0

    def any(self) -> bool:
        """Whether there was anything in it that has an end now, good or bad."""
        return bool(self.created or self.known or self.reported or self.errors)


@dataclass(frozen=True, slots=True)
class Task:
    """One definition of work as it stands. Times are ISO 8601 in UTC.

    ``job_id``: what a scheduler calls the job of its last attempt. ``retry_at``: when it will be
    PENDING again by itself. ``task_input``: None of what ended long ago and has been pruned.
    """

    pipeline: str
    version: str
    task_input_id: str
    task_input: dict[str, Any] | None
    status: str
    attempt: int
    priority: int
    created_at: str
    updated_at: str
    lease_until: str | None
    job_id: str | None = None
    retry_at: str | None = None

    @property
    def lease(self) -> float | None:
        """Seconds within which its holder must be heard of, from ``updated_at`` on: by the
        coordinator's clock, whatever ours says. None where there is no such limit."""
        if self.lease_until is None:
            return None
        until, since = map(datetime.fromisoformat, (self.lease_until, self.updated_at))
        return (until - since).total_seconds()

    @classmethod
    def from_wire(cls, sent: Mapping[str, Any]) -> Task:
        return cls(**{name: sent[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True, slots=True)
class Event:
    """One change of a task: when, from which status to which, attempt, whose token, where, why.

    ``refused``: no change, but what the holder of an earlier attempt reported too late.
    """

    at: str
    from_status: str | None
    to_status: str
    attempt: int
    token: str | None
    host: str | None
    message: str | None
    job_id: str | None = None
    refused: bool = False

    @classmethod
    def from_wire(cls, sent: Mapping[str, Any]) -> Event:
        return cls(**{name: sent[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True, slots=True)
class StatusMessage:
    """One committed change, as `Porch.watch` tells it: an Event, and of which task.

    ``event_id``: what `watch` goes on from. ``message``: its first 1,000 characters.
    """

    event_id: int
    at: str
    pipeline: str
    version: str
    task_input_id: str
    from_status: str | None
    to_status: str
    attempt: int
    token: str | None
    host: str | None
    job_id: str | None
    message: str | None

    @classmethod
    def from_wire(cls, sent: Mapping[str, Any]) -> StatusMessage:
        """What a coordinator sent; one of a later release may have more to say."""
        return cls(**{name: sent[name] for name in cls.__dataclass_fields__})


@dataclass(frozen=True, slots=True)
class Reported:
    """What became of one report: ``changed`` is False where it already held.

    ``lease``: seconds within which the next report or heartbeat must come; None where there is no
    such limit. The policy may have changed since the claim.
    """

    task_input_id: str
    version: str
    status: str
    attempt: int
    changed: bool
    lease: int | None = None

    @classmethod
    def from_wire(cls, sent: Mapping[str, Any]) -> Reported:
        """What a coordinator sent; one of a later release may have more to say."""
        return cls(**{name: sent[name] for name in cls.__dataclass_fields__ if name in sent})


@dataclass(frozen=True, slots=True)
class NotReported:
    """One report of several that was refused, by its position (from 0)."""

    position: int
    error: PorchError


@dataclass(frozen=True, slots=True)
class Change:
    """One report to send: ``task`` is a task_input_id or an unambiguous prefix of one.

    ``job_id``: what your scheduler calls the job. ``permanent``: of a failure that would only fail
    again, whatever the pipeline's policy of retries.
    """

    task: str
    status: str
    attempt: int | None = None
    message: str | None = None
    version: str | None = None
    job_id: str | None = None
    permanent: bool = False

    def as_wire(self) -> dict[str, Any]:
        """As it is sent, and kept in a spool."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class Decision:
    """A task to re-run or cancel, if it is still in the status and attempt that you saw."""

    task: str
    status: str
    attempt: int
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A thing that can be run. ``lease`` and ``retry`` are in seconds; ``counts`` are tasks per
    status; ``oldest_pending`` is the age in seconds of the oldest PENDING task. ``keep``: seconds
    for which inputs and histories are kept, by the status that tasks ended in; None for ever."""

    name: str
    uri: str
    versions: tuple[str, ...]
    identity: str
    lease: int | None
    max_attempts: int | None
    retry: int | None
    counts: Mapping[str, int]
    oldest_pending: float | None
    keep: Mapping[str, int | None] = field(default_factory=dict)

    @classmethod
    def from_wire(cls, sent: Mapping[str, Any]) -> Pipeline:
        # A coordinator of before there was the last one does not send it.
        fields = {name: sent[name] for name in cls.__dataclass_fields__ if name in sent}
        return cls(**{**fields, "versions": tuple(sent["versions"])})


@dataclass(frozen=True, slots=True)
class Token:
    """A bearer secret as the coordinator knows it: never the secret. No pipeline means admin.

    ``used_at``: when it was used last, to a few minutes. ``replaced_by``: the number of the token
    that it was rotated for.
    """

    token_id: int
    pipeline: str | None
    description: str
    created_at: str
    revoked_at: str | None
    expires_at: str | None = None
    used_at: str | None = None
    replaced_by: int | None = None

    @classmethod
    def from_wire(cls, sent: Mapping[str, Any]) -> Token:
        # A coordinator of before there were the last three does not send them.
        return cls(**{name: sent[name] for name in cls.__dataclass_fields__ if name in sent})


@dataclass(frozen=True, slots=True)
class AdminEvent:
    """What an administrator did: with which token, from where, to which pipeline or token.

    ``token``: None for somebody who may write to the database. ``subject_id``: the number of the
    token that was issued, revoked or rotated.
    """

    admin_event_id: int
    at: str
    action: str
    token_id: int | None
    token: str | None
    host: str | None
    pipeline: str | None
    subject_id: int | None
    detail: Mapping[str, Any]

    @classmethod
    def from_wire(cls, sent: Mapping[str, Any]) -> AdminEvent:
        return cls(**{name: sent[name] for name in cls.__dataclass_fields__})
