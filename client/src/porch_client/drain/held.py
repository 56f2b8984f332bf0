"""The tasks a drain holds: claimed and not started, running, or in a claim nobody has answered."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from porch_client.drain.beating import Beating
from porch_client.drain.process import Key, Running
from porch_client.errors import PorchError
from porch_client.request_ids import new_request_id

if TYPE_CHECKING:
    from porch_client.claimed import Claimed
    from porch_client.client import Porch


class Held:
    """What must be worked on or given back. `beating` hears of all that comes and goes; `fates`
    counts what is not a result."""

    def __init__(
        self, beating: Beating, fates: Counter[str], complain: Callable[[PorchError], None]
    ) -> None:
        self.request_id: str | None = None
        self.waiting: deque[tuple[Claimed, Sequence[str]]] = deque()
        self.running: dict[Key, tuple[Claimed, Running]] = {}
        self._asked_at = 0.0
        self._beating = beating
        self._fates = fates
        self._complain = complain

    def any(self) -> bool:
        """Whether anything is held, or may be by a claim without an answer."""
        return bool(self.running or self.waiting or self.request_id)

    def ask(self) -> str:
        """The name of the claim to send: the one that has no answer yet, or a new one."""
        if self.request_id is None:
            self.request_id = new_request_id()
            self._asked_at = time.monotonic()
        return self.request_id

    def take(self, task: Claimed, words: Sequence[str]) -> None:
        """A claimed task, and the command for it."""
        self.waiting.append((task, words))
        sent = task.task
        lease = sent.lease_until and _seconds_between(sent.updated_at, sent.lease_until)
        self._beating.watch(key_of(task), task, lease or None, self._asked_at)

    def start(self, task: Claimed, running: Running) -> None:
        """Its command runs."""
        self.running[running.key] = (task, running)
        self._beating.started(running.key, running)

    def renewed(self, task: Claimed, lease: float | None, since: float) -> None:
        """The report of RUNNING that was sent at `since` has been taken."""
        self._beating.renewed(key_of(task), lease, since)

    def end(self, running: Running) -> Claimed | None:
        """The task of a command that is over; None if it is not ours any more. Until its report is
        answered it is kept alive."""
        task, _ = self.running.pop(running.key)
        if self._beating.ended(running.key):
            return task
        self._beating.forget(running.key)
        self._fates["lost"] += 1
        return None

    def drop(self, task: Claimed) -> None:
        """A task that is not started, as it is not ours any more."""
        self._beating.forget(key_of(task))

    def give_back(self, porch: Porch, pipeline: str | None) -> None:
        """Release what is not running. Raises `PorchError`; what was not released is kept."""
        if self.request_id is not None:
            porch.release(claim=self.request_id, pipeline=pipeline)
            self.request_id = None
        if self.waiting:
            tasks = [(task.task_input_id, task.attempt, task.version) for task, _ in self.waiting]
            porch.release(tasks, pipeline=pipeline, message="not started by porch drain")
            self._fates["released"] += len(tasks)
            self._clear()

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
        self._clear()

    def _clear(self) -> None:
        for task, _ in self.waiting:
            self.drop(task)
        self.waiting.clear()


def key_of(task: Claimed) -> Key:
    """What tells this claim of a task from others."""
    return (task.version, task.task_input_id, task.attempt)


def _seconds_between(begin: str, end: str) -> float:
    """Between two times of the coordinator: the lease is as long as its clock says, not ours."""
    return (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()
