"""Status messages: each committed change, told to whoever follows a pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from coordinator.shapes import moment
from coordinator.status import Status

#: Characters of what a change has to say for itself. `porch show` has all of it.
MOST_CHARACTERS = 1_000


class StatusMessage(NamedTuple):
    """One committed change of a task: as Event, and of which task of which pipeline.

    A tuple, as a relay makes one for each change there is.
    """

    event_id: int
    at: datetime
    pipeline_id: int
    pipeline: str
    version: str
    task_input_id: str
    from_status: Status | None
    to_status: Status
    attempt: int
    token: str | None
    host: str | None
    job_id: str | None
    message: str | None

    def as_wire(self) -> dict[str, Any]:
        """The message as data: the same in answers, streams and webhooks."""
        return {
            "event_id": self.event_id,
            "at": moment(self.at),
            "pipeline": self.pipeline,
            "version": self.version,
            "task_input_id": self.task_input_id,
            "from_status": self.from_status,
            "to_status": self.to_status,
            "attempt": self.attempt,
            "token": self.token,
            "host": self.host,
            "job_id": self.job_id,
            "message": self.message,
        }


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which changes to tell; an empty field does not restrict."""

    pipeline_id: int | None = None
    task_id: int | None = None
    statuses: frozenset[Status] = frozenset()


@dataclass(frozen=True, slots=True)
class FeedPage:
    """Status messages in the order of their event_id, and where the next page begins.

    ``next``: up to this event_id everything that fits has been told; nothing will ever be added
    there. ``more``: there is more beyond it by now. ``pruned``: the newest change that has been
    pruned (0: none); who goes on from an event before that one has a gap.
    """

    messages: list[StatusMessage]
    next: int
    more: bool
    pruned: int = 0


def signal_of(pipeline_id: int | None) -> str:
    """The channel of Redis on which a pipeline (None: any) has something new; and, of a pipeline,
    the key of its stream."""
    return f"porch.feed.{'all' if pipeline_id is None else pipeline_id}"
