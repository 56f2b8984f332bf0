"""The nouns: one frozen class each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

from coordinator.identity import Identified
from coordinator.status import Status

IdentityPolicy = Literal["version", "pipeline"]


class Keep(NamedTuple):
    """For how many seconds inputs and histories are kept of what ended so; None: for ever."""

    done: int | None = None
    failed: int | None = None
    cancelled: int | None = None

    def by_status(self) -> dict[Status, int | None]:
        """The same, by the status that a task ended in."""
        return {
            Status.DONE: self.done,
            Status.FAILED: self.failed,
            Status.CANCELLED: self.cancelled,
        }


#: All is kept for ever.
KEEP_ALL = Keep()


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A thing that can be run.

    ``lease``: seconds for which a claim is good, None for claims that never run out. ``retry``:
    seconds until what failed in its first attempt is tried again, None for never.
    ``max_attempts``: beyond so many, nothing is tried again by itself.
    """

    pipeline_id: int
    name: str
    uri: str
    versions: tuple[str, ...]
    identity: IdentityPolicy
    lease: int | None
    max_attempts: int | None
    retry: int | None = None
    keep: Keep = KEEP_ALL


@dataclass(frozen=True, slots=True)
class PipelineLoad:
    """A pipeline with its tasks counted; ``oldest_pending`` is an age in seconds.

    ``created``: the request that is answered has added it, or the version that it asked for.
    """

    pipeline: Pipeline
    counts: Mapping[Status, int]
    oldest_pending: float | None
    created: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Permission:
    """What a token allows: everything of one pipeline, or, without one, administration."""

    token_id: int
    description: str
    pipeline: Pipeline | None

    @property
    def is_admin(self) -> bool:
        return self.pipeline is None


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it may be shown: never the secret, of which only a hash is kept.

    ``used_at``: when it was used last, to a few minutes. ``replaced_by``: the number of the token
    that it was rotated for.
    """

    token_id: int
    pipeline: str | None
    description: str
    created_at: datetime
    revoked_at: datetime | None
    expires_at: datetime | None = None
    used_at: datetime | None = None
    replaced_by: int | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """One definition of work of one pipeline, as it stands.

    ``job_id``: what a scheduler calls the job of its last attempt. ``retry_at``: when it will be
    PENDING again by itself. ``lease``: of a task that is handed out, the seconds until its holder
    must be heard of; None for ever. ``task_input``: None of what has been pruned.
    """

    task_id: int
    pipeline: str
    version: str
    key: bytes
    task_input: dict[str, Any] | None
    status: Status
    attempt: int
    priority: int
    created_at: datetime
    updated_at: datetime
    lease_until: datetime | None
    job_id: str | None = None
    retry_at: datetime | None = None
    lease: int | None = field(default=None, compare=False)

    @property
    def task_input_id(self) -> str:
        """The key as people see it: 64 hexadecimal digits."""
        return self.key.hex()


class Outline(NamedTuple):
    """A task as the long lists have it. A tuple, and ``text`` its input as the JSON text that is
    kept: there may be millions of them, to be written out again."""

    task_id: int
    pipeline: str
    uri: str
    version: str
    task_input_id: str
    text: str
    status: str


@dataclass(frozen=True, slots=True)
class Event:
    """One change of a task: when, from which status to which, attempt, whose token, where, why.

    ``refused``: no change, but what the holder of an earlier attempt reported too late.
    """

    event_id: int
    at: datetime
    from_status: Status | None
    to_status: Status
    attempt: int
    token: str | None
    host: str | None
    message: str | None
    job_id: str | None = None
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a change comes from. ``request_id`` is the same when a request is sent again."""

    token_id: int
    request_id: UUID
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Registration:
    """What one request wants registered, all of it of one version."""

    pipeline: Pipeline
    version: str
    inputs: Sequence[Identified]
    priority: int
    origin: Origin


@dataclass(frozen=True, slots=True)
class Claim:
    """What one request wants handed out: up to ``n`` tasks, of one version or (None) of any."""

    pipeline: Pipeline
    version: str | None
    n: int
    job_id: str | None
    origin: Origin


class Standing(NamedTuple):
    """What a submitted definition has become: its status, and whether this submission made it.

    Made by the thousand, as Identified is: a tuple takes a third of the time of a frozen class.
    """

    key: bytes
    status: Status
    created: bool


@dataclass(frozen=True, slots=True)
class Near:
    """A known task that is like a new definition, but for the values at some paths.

    ``differs``: in what the values are, or only in their type (1 and "1").
    """

    task: Task
    differs: Literal["value", "type"]
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What submitting a definition would find: its status, or None: it is new.

    ``near``: for a new one, what is nearest to it, if that was asked for and anything is near.
    ``compared``: with how many tasks it had to be compared value by value; ``complete``: with all
    of them.
    """

    key: bytes
    status: Status | None
    near: Near | None = None
    compared: int = 0
    complete: bool = False


@dataclass(frozen=True, slots=True)
class LookAlikes:
    """For each position of some inputs the task_id of a task that has all values but one of it.

    ``compared``: how many tasks were looked at; ``complete``: these were all there are.
    """

    found: Mapping[int, int]
    compared: int
    complete: bool


@dataclass(frozen=True, slots=True)
class KeyRange:
    """The keys that begin with some hexadecimal digits, ends included; of one version or any."""

    low: bytes
    high: bytes
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One change of status to try.

    It happens only from a status in ``sources`` and, where ``attempt`` is given, only in that
    attempt. ``of_holder``: its author claims to hold the task; from an earlier attempt, what they
    say is noted with the task. ``permanent``: trying it again is of no use.
    """

    task_id: int
    to: Status
    sources: frozenset[Status]
    attempt: int | None
    message: str | None = None
    job_id: str | None = None
    permanent: bool = False
    of_holder: bool = True


#: What one request wants changed, and where it comes from.
Changing = tuple[Sequence[Change], Origin]


@dataclass(frozen=True, slots=True)
class Swept:
    """How many tasks a sweep has moved: taken back, failed for good, and tried again.

    ``more``: there may be more that is due.
    """

    taken_back: int
    failed: int
    retried: int
    more: bool = False

    def __add__(self, other: Swept) -> Swept:
        return Swept(
            self.taken_back + other.taken_back,
            self.failed + other.failed,
            self.retried + other.retried,
            other.more,
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a Change.

    ``status`` and ``attempt`` are the task's afterwards. ``changed``: this request made the change.
    ``repeated``: this very request had made it before, so that it counts as made. ``lease``: of a
    sign of life that was taken, the seconds for which it is good from now on; None for ever.
    ``over``: this attempt has ended, and not by the word of its holder. ``since_claim``: where it
    has become RUNNING, DONE or FAILED by this change, the seconds since this attempt was claimed,
    if that was asked: a ledger may do so now and then.
    """

    status: Status
    attempt: int
    changed: bool
    repeated: bool = False
    lease: int | None = None
    over: bool = False
    since_claim: float | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks to list or count; an empty field does not restrict.

    ``texts``: one of them in the input. ``message``: in the last event's message, % for anything
    between. ``stale``: held, with no lease that runs, and not heard of for so many seconds.
    """

    pipeline_id: int | None = None
    version: str | None = None
    statuses: frozenset[Status] = field(default_factory=frozenset)
    since: datetime | None = None
    texts: tuple[str, ...] = ()
    message: str | None = None
    stale: int | None = None
