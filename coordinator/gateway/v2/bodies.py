"""The bodies of requests. ``pipeline`` may be left out: a token is for one pipeline."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from coordinator.arrivals import MOST_CLAIMED
from coordinator.model import IdentityPolicy
from coordinator.requests import Policy
from coordinator.sent import (
    Sent,
    SentDecision,
    SentJobId,
    SentName,
    SentReport,
    SentSeconds,
    SentText,
)
from coordinator.status import Status


class ClaimBody(Sent):
    """How many tasks to hand out. The same ``request_id`` is handed the same tasks again."""

    pipeline: SentText | None = None
    version: SentText | None = None
    n: Annotated[int, Field(ge=1, le=MOST_CLAIMED)] = 1
    job_id: SentJobId | None = None
    request_id: UUID | None = None


class UpdateBody(Sent):
    """Reports of RUNNING, DONE or FAILED."""

    pipeline: SentText | None = None
    changes: list[SentReport]


class HeartbeatBody(Sent):
    """Tasks whose holder is alive."""

    pipeline: SentText | None = None
    tasks: list[SentName]


class ReleaseBody(Sent):
    """Tasks to give back; or (``claim``: its request_id) what of a claim is not started."""

    pipeline: SentText | None = None
    tasks: list[SentName] = Field(default_factory=list)
    claim: UUID | None = None
    message: str | None = None


class CancelBody(Sent):
    """Tasks to cancel, each with the status and attempt that were seen."""

    pipeline: SentText | None = None
    tasks: list[SentDecision]
    reason: str | None = None


class RerunBody(CancelBody):
    """Tasks to run again; ``force`` and a reason for what is DONE."""

    force: bool = False


class PipelineBody(Sent):
    """A pipeline with its first version."""

    name: SentText
    uri: SentText
    version: SentText


class VersionBody(Sent):
    """A version to add."""

    version: SentText


class PolicyBody(Sent):
    """Policies to set: what is left out stays as it is; null means none.

    ``keep``: for how many seconds inputs and histories of DONE, FAILED and CANCELLED tasks are
    kept; null for ever.
    """

    identity: IdentityPolicy = "version"
    lease: int | None = None
    max_attempts: int | None = None
    retry: int | None = None
    keep: dict[Status, int | None] = Field(default_factory=dict)

    def policy(self) -> Policy:
        """The policies that were given."""
        return Policy.of({word: getattr(self, word) for word in sorted(self.model_fields_set)})


class TokenBody(Sent):
    """A token to issue; one without a pipeline is an admin token."""

    pipeline: SentText | None = None
    description: SentText
    expires: Annotated[SentSeconds | None, Field(description="Seconds; null for ever")] = None


class RotationBody(Sent):
    """How long the old token is good yet, and how long the new one; in seconds.

    ``expires`` null: for as long as the old one was meant to be.
    """

    overlap: SentSeconds = 7 * 86_400
    expires: SentSeconds | None = None
