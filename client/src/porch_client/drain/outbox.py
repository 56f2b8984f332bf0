"""Reports on their way: each is kept until it is answered, however long that takes."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from porch_client.drain.process import Key
from porch_client.drain.stopping import Interrupted
from porch_client.errors import PorchError, Unreachable
from porch_client.model import Change, NotReported, Reported

if TYPE_CHECKING:
    from porch_client.claimed import Claimed

Answers = list[Reported | NotReported]
Update = Callable[[Sequence[Change]], Answers]
_AT_ONCE = 500
_LONGEST_PAUSE = 30.0


class Pause:
    """Waits that double from half a second to half a minute while nobody answers."""

    def __init__(self, complain: Callable[[PorchError], None]) -> None:
        self.until: float | None = None
        self._length = 0.5
        self._complain = complain

    @property
    def over(self) -> bool:
        """Whether it is time to try (again)."""
        return self.until is None or time.monotonic() >= self.until

    def begin(self, error: PorchError, longest: float = _LONGEST_PAUSE) -> None:
        """No answer: tell it once, then wait longer each time, `longest` seconds in the end."""
        if self.until is None:
            cure = f"{error.cure}; porch drain tries again until somebody answers"
            self._complain(type(error)(error.code, error.message, cure))
        self.until = time.monotonic() + min(self._length, longest)
        self._length = min(2 * self._length, longest)

    def end(self) -> None:
        """There was an answer."""
        self.until, self._length = None, 0.5


class Outbox:
    """Results of commands. `ended` counts what the coordinator has written down, by status;
    `settled` is called for each task whose result is kept no longer."""

    def __init__(
        self,
        pause: Pause,
        complain: Callable[[PorchError], None],
        settled: Callable[[Key], None],
    ) -> None:
        self.unsent: list[Change] = []
        self.ended: Counter[str] = Counter()
        self._pause = pause
        self._complain = complain
        self._settled = settled

    def add(self, task: Claimed, status: str, message: str | None) -> None:
        """The result of a task, to be sent."""
        self.unsent.append(Change(task.task_input_id, status, task.attempt, message, task.version))

    def send(self, update: Update, also: Sequence[Change] = ()) -> Answers | None:
        """Send what there is, and `also` with it: one message instead of two. Returns the answers
        to `also`; None if there was no answer. Raises `PorchError` where all of it is refused: the
        results are not kept then, but told."""
        batch = self.unsent[:_AT_ONCE]
        if not self._pause.over or not (batch or also):
            return None
        try:
            answers = update([*batch, *also])
        except Interrupted:
            return None
        except Unreachable as error:
            self._pause.begin(error)
            return None
        except PorchError:
            self.ended["refused"] += len(self.unsent)
            self.tell_unsent()
            raise
        self._pause.end()
        for change, answer in zip(batch, answers, strict=False):
            self._settled((change.version, change.task, change.attempt))
            if isinstance(answer, NotReported):
                self._refused(change, answer.error)
            else:
                self.ended[change.status] += 1
        del self.unsent[: len(batch)]
        return answers[len(batch) :]

    def tell_unsent(self) -> None:
        """Give up on what is left, and say how to report it by hand: no result is lost silently."""
        for change in self.unsent:
            command = f"porch update {change.task} --status {change.status}"
            command += f" --attempt {change.attempt}"
            if change.version is not None:
                command += f" --version {shlex.quote(change.version)}"
            self._complain(
                PorchError("not_reported", f"{change.task[:12]} ended {change.status}", command)
            )
            self._settled((change.version, change.task, change.attempt))
        self.unsent.clear()

    def _refused(self, change: Change, error: PorchError) -> None:
        self.ended["refused"] += 1
        what = f"{change.task[:12]} ended {change.status}, and this was refused"
        self._complain(type(error)(error.code, f"{what}: {error.message}", error.cure))
