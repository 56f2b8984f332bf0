"""The tasks a drain holds: claimed and not started, running, stopped and not yet given back, or in
a claim nobody has answered."""

from __future__ import annotations

import shlex
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from porch_client.drain.beating import Beating
from porch_client.drain.command import how_it_ended
from porch_client.drain.process import Key, Running
from porch_client.errors import PorchError
from porch_client.model import NotReported
from porch_client.request_ids import new_request_id

if TYPE_CHECKING:
    from porch_client.claimed import Claimed
    from porch_client.client import Porch


#: Called with a task, and what has just become of its command.
Tell = Callable[["Claimed", str], None]


@dataclass(frozen=True)
class Stopped:
    """A task whose command was stopped, to be given back; `message` is how it ended. Repeated under
    its name, a release that was carried out is not refused as another's attempt has begun."""

    task: Claimed
    message: str
    request_id: str = field(default_factory=new_request_id)


class Held:
    """What must be worked on or given back. `beating` hears of all that comes and goes; `fates`
    counts what is not a result; `tell` is called at the end of each command."""

    def __init__(
        self,
        beating: Beating,
        fates: Counter[str],
        complain: Callable[[PorchError], None],
        tell: Tell,
    ) -> None:
        self.request_id: str | None = None
        self.waiting: deque[tuple[Claimed, Sequence[str]]] = deque()
        self.running: dict[Key, tuple[Claimed, Running]] = {}
        self._stopped: deque[Stopped] = deque()
        self._asked_at = 0.0
        self._beating = beating
        self._fates = fates
        self._complain = complain
        self._tell = tell

    def any(self) -> bool:
        """Whether anything is held, or may be by a claim without an answer."""
        return bool(self.running or self.to_give_back())

    def to_give_back(self, *, claims: bool = True) -> bool:
        """Whether anything is to be released, were we to end now; `claims` without an answer too.
        What was stopped is, in any case."""
        return bool(self._stopped or self.waiting or (claims and self.request_id))

    def ask(self) -> str:
        """The name of the claim to send: the one that has no answer yet, or a new one."""
        if self.request_id is None:
            self.request_id = new_request_id()
            self._asked_at = time.monotonic()
        return self.request_id

    def take(self, task: Claimed, words: Sequence[str]) -> None:
        """A claimed task, and the command for it."""
        self.waiting.append((task, words))
        self._beating.watch(key_of(task), task, task.task.lease, self._asked_at)

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
        how = how_it_ended(running.process.returncode, running.stopped_by)
        self._tell(task, f"{how}  {time.monotonic() - running.began:.1f} s")
        if self._beating.ended(running.key):
            return task
        self._beating.forget(running.key)
        self._fates["lost"] += 1
        return None

    def stopped(self, task: Claimed, message: str) -> None:
        """Its command did not end by itself: the task is for somebody else, and kept alive until
        that is answered."""
        self._stopped.append(Stopped(task, message))

    def drop(self, task: Claimed) -> None:
        """A task that is not started, as it is not ours any more."""
        self._beating.forget(key_of(task))

    def give_back(self, porch: Porch, pipeline: str | None) -> None:
        """Release what is not running. Raises `PorchError`; what was not released is kept."""
        if self.request_id is not None:
            porch.release(claim=self.request_id, pipeline=pipeline)
            self.request_id = None
        if self.waiting:
            tasks = [_named(task) for task, _ in self.waiting]
            porch.release(tasks, pipeline=pipeline, message="not started by porch drain")
            self._fates["released"] += len(tasks)
            self._clear()
        while self._stopped:
            self._release(porch, self._stopped[0], pipeline)
            self.drop(self._stopped.popleft().task)

    def _release(self, porch: Porch, one: Stopped, pipeline: str | None) -> None:
        """Each by itself, as each has a message of its own. Raises `PorchError`."""
        (answer,) = porch.release(
            [_named(one.task)], pipeline=pipeline, message=one.message, request_id=one.request_id
        )
        if isinstance(answer, NotReported):
            self._fates["refused"] += 1
            what = f"{one.task.task_input_id[:12]} was stopped, and its release refused"
            error = answer.error
            self._complain(type(error)(error.code, f"{what}: {error.message}", error.cure))
        else:
            self._fates["released"] += 1

    def let_go(self) -> None:
        """Leave what could not be released, and say by which commands it can be."""
        if self.request_id is not None:
            how = f"porch release --claim {self.request_id}"
            self._complain(PorchError("not_released", "a claim may still hold tasks", how))
            self.request_id = None
        for task in [*(one.task for one in self._stopped), *(task for task, _ in self.waiting)]:
            how = f"porch release {task.task_input_id} --attempt {task.attempt}"
            how += f" --version {shlex.quote(task.version)}"
            what = f"{task.task_input_id[:12]} is still claimed"
            self._complain(PorchError("not_released", what, how))
        while self._stopped:
            self.drop(self._stopped.popleft().task)
        self._clear()

    def _clear(self) -> None:
        for task, _ in self.waiting:
            self.drop(task)
        self.waiting.clear()


def key_of(task: Claimed) -> Key:
    """What tells this claim of a task from others."""
    return (task.version, task.task_input_id, task.attempt)


def _named(task: Claimed) -> tuple[str, int, str]:
    """As heartbeat and release name it."""
    return (task.task_input_id, task.attempt, task.version)
