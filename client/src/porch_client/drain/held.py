"""The tasks a drain holds: claimed and not started, running, or in a claim nobody has answered."""

from __future__ import annotations

import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from porch_client.drain.process import Running
from porch_client.errors import PorchError, Refused
from porch_client.model import NotReported

if TYPE_CHECKING:
    from porch_client.client import Claimed, Porch

Key = tuple[str, str]
_SHORTEST_BEAT = 0.2


class Held:
    """What must be worked on, kept alive, or given back. `fates` counts what is not a result."""

    def __init__(self, fates: Counter[str], complain: Callable[[PorchError], None]) -> None:
        self.request_id: str | None = None
        self.waiting: deque[tuple[Claimed, Sequence[str]]] = deque()
        self.running: dict[Key, tuple[Claimed, Running]] = {}
        self.beat_at: float | None = None
        self._beat_every = 0.0
        self._lost: set[Key] = set()
        self._fates = fates
        self._complain = complain

    def any(self) -> bool:
        """Whether anything is held, or may be by a claim without an answer."""
        return bool(self.running or self.waiting or self.request_id)

    def take(self, task: Claimed, words: Sequence[str]) -> None:
        """A claimed task, and the command for it."""
        self.waiting.append((task, words))
        if task.task.lease_until is not None:
            lease = _seconds_between(task.task.updated_at, task.task.lease_until)
            self._beat_every = max(lease / 3, _SHORTEST_BEAT)
            self.beat_at = time.monotonic() + self._beat_every

    def end(self, running: Running) -> Claimed | None:
        """The task of a command that is over; None if it is not ours any more."""
        task, _ = self.running.pop(running.key)
        if running.key not in self._lost:
            return task
        self._lost.discard(running.key)
        self._fates["lost"] += 1
        return None

    def beat(self, porch: Porch, pipeline: str | None, grace: float) -> None:
        """Renew the leases when it is time, and stop the command of a task that was taken from us.

        Somebody else may have that task now, and two commands must not work on it. One that waits
        is left to its report of RUNNING, which tells the same.
        """
        held = [task for task, _ in (*self.running.values(), *self.waiting)]
        if self.beat_at is None or not held or time.monotonic() < self.beat_at:
            return
        self.beat_at = time.monotonic() + self._beat_every
        try:
            results = porch.heartbeat(
                [(task.task_input_id, task.attempt, task.version) for task in held],
                pipeline=pipeline,
            )
        except PorchError:
            return  # the next claim or report meets the same, and tells it
        for task, result in zip(held, results, strict=False):
            key = (task.version, task.task_input_id)
            if not isinstance(result, NotReported) or not isinstance(result.error, Refused):
                continue
            if key in self.running and key not in self._lost:
                self._lost.add(key)
                self._complain(about(task, result.error))
                self.running[key][1].stop(signal.SIGTERM, grace)

    def give_back(self, porch: Porch, pipeline: str | None) -> None:
        """Release what is not running. Raises `PorchError`; what was not released is kept."""
        if self.request_id is not None:
            porch.release(claim=self.request_id, pipeline=pipeline)
            self.request_id = None
        if self.waiting:
            tasks = [(task.task_input_id, task.attempt, task.version) for task, _ in self.waiting]
            porch.release(tasks, pipeline=pipeline, message="not started by porch drain")
            self._fates["released"] += len(tasks)
            self.waiting.clear()

    def let_go(self) -> None:
        """Leave what could not be released, and say by which commands it can be."""
        if self.request_id is not None:
            how = f"porch release --claim {self.request_id}"
            self._complain(PorchError("not_released", "a claim may still hold tasks", how))
            self.request_id = None
        for task, _ in self.waiting:
            how = f"porch release {task.task_input_id} --attempt {task.attempt}"
            how += f" --version {task.version}"
            what = f"{task.task_input_id[:12]} is still claimed"
            self._complain(PorchError("not_released", what, how))
        self.waiting.clear()


def about(task: Claimed, error: PorchError) -> PorchError:
    """The same error, with the task in its message."""
    name = task.task_input_id[:12]
    message = error.message if name in error.message else f"{name}: {error.message}"
    return type(error)(error.code, message, error.cure)


def _seconds_between(begin: str, end: str) -> float:
    """Between two times of the coordinator: the lease is as long as its clock says, not ours."""
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()
