"""What callers ask for: the words of a request, before anything has been looked up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from coordinator.model import IdentityPolicy
from coordinator.status import Status


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, with which request. A request sent again has the same ``request_id``.

    ``traceparent``: names its span, where that is traced.
    """

    secret: str | None = field(repr=False)
    request_id: UUID
    host: str | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """Definitions to register: of the token's pipeline, and its only version, where left out.

    ``own``: a pipeline that is not the token's is Forbidden, whether there is one or not.
    """

    caller: Caller
    definitions: Sequence[object]
    pipeline: str | None = None
    version: str | None = None
    priority: int = 0
    own: bool = False


@dataclass(frozen=True, slots=True)
class Claiming:
    """A wish for up to ``n`` tasks. ``job_id``: what the caller's scheduler calls its job.

    ``own``: as in Submission.
    """

    caller: Caller
    n: int
    pipeline: str | None = None
    version: str | None = None
    job_id: str | None = None
    own: bool = False


@dataclass(frozen=True, slots=True)
class Name:
    """A task as a person names it: a task_input_id or a prefix of one, and a version if needed.

    ``attempt``: the attempt that the caller holds, where that matters.
    """

    task: str
    version: str | None = None
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What a holder says of its task."""

    name: Name
    status: Status
    message: str | None = None
    job_id: str | None = None
    permanent: bool = False


@dataclass(frozen=True, slots=True)
class Updating:
    """Reports of one request: of tasks of the token's pipeline, where left out."""

    caller: Caller
    reports: Sequence[Report]
    pipeline: str | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """The status and attempt that somebody saw before deciding what to do."""

    status: Status
    attempt: int


@dataclass(frozen=True, slots=True)
class Decision:
    """A task to re-run, cancel or give back, if it is still as its author saw it."""

    name: Name
    seen: Seen


@dataclass(frozen=True, slots=True)
class Rotation:
    """Which token is to be replaced by one with that digest.

    ``overlap``: the seconds for which the old one is still good. ``lifetime``: those of the new
    one; None: as many as the old one was meant to have.
    """

    token_id: int
    digest: bytes
    overlap: int
    lifetime: int | None = None


@dataclass(frozen=True, slots=True)
class Reported:
    """What became of a report; ``changed`` is False where it already held.

    ``lease``: the seconds within which the next sign of life must come. The policy may have changed
    since the claim, and a holder that does not know would be late.
    """

    key: bytes
    version: str
    status: Status
    attempt: int
    changed: bool
    lease: int | None = None


@dataclass(frozen=True, slots=True)
class Search:
    """Which tasks to list or count, in the caller's words."""

    pipeline: str | None = None
    version: str | None = None
    statuses: frozenset[Status] = frozenset()
    since: datetime | None = None
    text: str | None = None
    message: str | None = None
    stale: int | None = None


class Unchanged:
    """Says of a policy: leave it as it is."""


UNCHANGED = Unchanged()


@dataclass(frozen=True, slots=True)
class Policy:
    """Policies to set; each is left as it is unless given, and so is each status of ``keep``."""

    identity: IdentityPolicy | Unchanged = UNCHANGED
    lease: int | Unchanged | None = UNCHANGED
    max_attempts: int | Unchanged | None = UNCHANGED
    retry: int | Unchanged | None = UNCHANGED
    keep: Mapping[Status, int | None] | Unchanged = UNCHANGED

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Policy:
        """From a mapping that has just the policies to set."""
        return cls(**given)

    def given(self) -> dict[str, Any]:
        """The policies to set, and no others."""
        all_of_them = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: to for name, to in all_of_them.items() if not isinstance(to, Unchanged)}
