"""Who is told what the verbs do, to count it: one for all doors, handed in by the wiring."""

from __future__ import annotations

from collections.abc import Collection
from threading import Lock
from uuid import UUID

from coordinator.errors import PorchError
from coordinator.model import Swept
from coordinator.operations import tell
from coordinator.status import Status

#: Requests whose refusal is remembered, so that it counts once.
_LATELY = 1_000


class Observer:
    """Takes no notice of anything but of what was counted already; see ``config.metrics``.

    Its methods are called in the midst of requests: they take microseconds, and raise nothing.
    """

    def __init__(self) -> None:
        self._lately: dict[UUID, None] = {}
        self._lock = Lock()

    def took(self, verb: str, seconds: float, requests: int) -> None:
        """A verb has answered so many requests, in one go, after so many seconds."""

    def submitted(self, pipeline: str, new: int, known: int) -> None:
        """So many definitions were registered, and so many were there before."""

    def claimed(self, pipeline: str, wanted: int, tasks: int) -> None:
        """A claim of up to ``wanted`` tasks was handed ``tasks``."""

    def reported(self, pipeline: str, status: Status, since_claim: float | None) -> None:
        """A task became RUNNING, DONE or FAILED; after how many seconds, if the ledger tells."""

    def swept(self, swept: Swept) -> None:
        """Time has made so many changes due, and they were made."""

    def refused(self, code: str, n: int) -> None:
        """``n`` requests, or parts of them, were refused with this code."""

    def refuse(self, refusals: Collection[PorchError], request_id: UUID | None = None) -> None:
        """A verb refuses. A request that is tried again, as by the lane, is refused once."""
        if not refusals:
            return
        first_time = self._is_new(request_id)
        for refusal in refusals:
            if first_time:
                self.refused(refusal.code, 1)
            refusal.counted = True

    def turn_away(self, refusal: PorchError) -> None:
        """A door refuses: told of the operation, and counted unless a verb has refused it."""
        tell(outcome=refusal.code)
        if not refusal.counted:
            self.refused(refusal.code, 1)
            refusal.counted = True

    def _is_new(self, request_id: UUID | None) -> bool:
        if request_id is None:
            return True
        with self._lock:
            if request_id in self._lately:
                return False
            self._lately[request_id] = None
            if len(self._lately) > _LATELY:
                del self._lately[next(iter(self._lately))]
        return True
