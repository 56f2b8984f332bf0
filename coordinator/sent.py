"""What callers send, as data: the shapes that doors check before a verb sees them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from coordinator.requests import Decision, Name, Report, Seen
from coordinator.status import Status


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise PydanticCustomError("nul", "PostgreSQL cannot hold the character U+0000")
    return text


SentText = Annotated[str, Field(max_length=10_000), AfterValidator(_no_nul)]
# In an address, of which a server reads no more than 64 KiB.
SentInAddress = Annotated[str, Field(max_length=1_000), AfterValidator(_no_nul)]
SentJobId = Annotated[str, Field(max_length=200), AfterValidator(_no_nul)]
# As wide as the columns that they are compared with.
SentAttempt = Annotated[int, Field(ge=0, le=2**31 - 1)]
SentRowId = Annotated[int, Field(ge=0, le=2**63 - 1)]
SentSeconds = Annotated[int, Field(ge=0, le=2**31 - 1)]


class Sent(BaseModel):
    """Unknown fields are refused: they would be silently left undone."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SentName(Sent):
    """A task: its task_input_id or a prefix of one; the attempt that the caller holds."""

    task: SentText
    version: SentText | None = None
    attempt: SentAttempt | None = None

    def name(self) -> Name:
        """The name for the coordinator."""
        return Name(self.task, self.version, self.attempt)


class SentReport(SentName):
    """One report. ``permanent``: trying it again is of no use."""

    status: Status
    message: str | None = None
    job_id: SentJobId | None = None
    permanent: bool = False

    def report(self) -> Report:
        """The report for the coordinator."""
        return Report(self.name(), self.status, self.message, self.job_id, self.permanent)


class SentDecision(Sent):
    """A task to re-run or cancel, and the status and attempt that the caller saw."""

    task: SentText
    version: SentText | None = None
    status: Status
    attempt: SentAttempt

    def decision(self) -> Decision:
        """The decision for the coordinator."""
        return Decision(Name(self.task, self.version), Seen(self.status, self.attempt))
