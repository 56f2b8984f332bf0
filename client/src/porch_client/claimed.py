"""A task in our hands, and what can be said of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from porch_client.model import Change, NotReported, Reported, Task

if TYPE_CHECKING:
    from porch_client.client import Porch

#: A task as named to heartbeat and release: (task_input_id or prefix, attempt, version).
Held = tuple[str, int | None, str | None]


@dataclass(frozen=True, slots=True)
class Claimed:
    """A task in our hands, in one attempt. Reports carry the attempt, so a late one is refused.

    Every method raises StaleAttempt where the attempt is over, another Conflict where the task was
    cancelled, and what the methods of `Porch` raise.
    """

    task: Task
    _porch: Porch = field(repr=False, compare=False)

    @property
    def pipeline(self) -> str:
        """The name of its pipeline."""
        return self.task.pipeline

    @property
    def version(self) -> str:
        """The version of the pipeline."""
        return self.task.version

    @property
    def task_input_id(self) -> str:
        """The key of its definition."""
        return self.task.task_input_id

    @property
    def task_input(self) -> dict[str, Any]:
        """What is to be done, as it was submitted."""
        return self.task.task_input or {}

    @property
    def attempt(self) -> int:
        """Which attempt this is: 1, or more after a re-run, a release or a lease that ran out."""
        return self.task.attempt

    def running(self, message: str | None = None) -> Reported:
        """Report that work has begun."""
        return self._report("RUNNING", message)

    def done(self, message: str | None = None) -> Reported:
        """Report success."""
        return self._report("DONE", message)

    def failed(self, message: str | None = None, *, permanent: bool = False) -> Reported:
        """Report failure; the message is what explains it later.

        ``permanent``: it would only fail again, so it is not tried again by itself.
        """
        return self._report("FAILED", message, permanent=permanent)

    def heartbeat(self) -> Reported:
        """Say that we are alive: extends the lease."""
        return _or_raise(self._porch.heartbeat([self._held], pipeline=self.pipeline)[0])

    def release(self, message: str | None = None) -> Reported:
        """Give it back unfinished."""
        return _or_raise(
            self._porch.release([self._held], pipeline=self.pipeline, message=message)[0]
        )

    @property
    def _held(self) -> Held:
        return (self.task_input_id, self.attempt, self.version)

    def _report(self, status: str, message: str | None, *, permanent: bool = False) -> Reported:
        change = Change(
            self.task_input_id, status, self.attempt, message, self.version, permanent=permanent
        )
        return _or_raise(self._porch.update([change], pipeline=self.pipeline)[0])


def _or_raise(answer: Reported | NotReported) -> Reported:
    if isinstance(answer, NotReported):
        raise answer.error
    return answer
