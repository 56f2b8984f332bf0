"""Heartbeats, from a thread that waits for nothing else.

The loop may wait a minute for the answer to a claim, and a lease may be of seconds. So a thread
with a session of its own renews the leases of all that is in hand: what waits to be started, what
runs, and what is over and not yet reported. Where nobody answers it tries again and again, and
stops no command for it: as long as the task is ours, its work is worth finishing, and once it is
somebody else's, the coordinator refuses our report.

A heartbeat that is refused says that the task was taken from us, unless its own command has
reported how it ended. Somebody else may have it now, and two commands must not work on it: ours is
stopped.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from porch_client.drain.outbox import Pause
from porch_client.drain.process import Key, Running
from porch_client.errors import PorchError, Refused, StaleAttempt
from porch_client.model import NotReported, Reported

if TYPE_CHECKING:
    from porch_client.claimed import Claimed
    from porch_client.client import Porch

_SHORTEST_BEAT = 0.2
_SHORTEST_TRY, _LONGEST_TRY = 1.0, 5.0
"""Seconds that one heartbeat may wait for its answer: as many as lie between two, within these."""


@dataclass
class Watched:
    """A task in hand. Its lease is good for `lease` seconds from our moment `since`, or longer."""

    task: Claimed
    lease: float | None
    since: float
    running: Running | None = None
    refusal: Refused | None = None
    told: bool = False
    settled: bool = False

    @property
    def every(self) -> float:
        """Seconds between heartbeats: two of them may be lost."""
        return max((self.lease or 0.0) / 3, _SHORTEST_BEAT)

    @property
    def due(self) -> float:
        """The moment of the next heartbeat."""
        return self.since + self.every


class Beating:
    """The heartbeats of one drain. `open_porch` is called with a timeout in seconds; `wake` when
    `check` has something to raise. A context manager: on leaving it the thread ends."""

    def __init__(
        self,
        open_porch: Callable[[float | None], Porch],
        complain: Callable[[PorchError], None],
        grace: float,
        wake: Callable[[], None],
    ) -> None:
        self._open = open_porch
        self._complain = complain
        self._grace = grace
        self._wake = wake
        self._watched: dict[Key, Watched] = {}
        self._changed = threading.Condition()
        self._over = False
        self._thread: threading.Thread | None = None
        self._defect: BaseException | None = None

    def __enter__(self) -> Beating:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._changed:
            self._over = True
            self._changed.notify()
        if self._thread is not None:
            # It may wait for an answer, but not longer than this; then it dies with the process.
            self._thread.join(2 * _LONGEST_TRY)
        if kind is None:
            self.check()

    def check(self) -> None:
        """Raise what has ended the thread, if something has: a defect of ours."""
        if self._defect is not None:
            raise self._defect

    # What the loop tells --------------------------------------------------------------------

    def watch(self, key: Key, task: Claimed, lease: float | None, since: float) -> None:
        """A task is in hand. The lease of its claim is counted from when we asked for it: its
        answer may have been long under way."""
        with self._changed:
            self._watched[key] = Watched(task, lease, since)
        self.renewed(key, lease, since)

    def renewed(self, key: Key, lease: float | None, since: float) -> None:
        """A report of RUNNING was taken, which was sent at `since`. A lease starts the thread."""
        with self._changed:
            watched = self._watched[key]
            watched.lease, watched.since = lease, since
            self._changed.notify()
        if lease is not None and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="heartbeats", daemon=True)
            self._thread.start()

    def started(self, key: Key, running: Running) -> None:
        """The command of a task runs."""
        with self._changed:
            watched = self._watched[key]
            watched.running = running
        self._stop_if_taken(watched)

    def ended(self, key: Key) -> bool:
        """A command is over; whether its task is still ours to report."""
        with self._changed:
            watched = self._watched[key]
            watched.running = None
            return watched.refusal is None

    def forget(self, key: Key) -> None:
        """A task is not in hand any more: reported, given back, or never started."""
        with self._changed:
            self._watched.pop(key, None)

    # The thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._beat_until_over()
        except BaseException as defect:  # noqa: BLE001 (`check` raises it where it is seen)
            self._defect = defect
            self._wake()

    def _beat_until_over(self) -> None:
        pause = Pause(self._tell_trouble)
        porch: Porch | None = None
        patience = 0.0
        with ExitStack() as session:
            while batch := self._wait_until_due(pause):
                every = min(one.every for one in batch if one.lease is not None)
                try:
                    if porch is None or patience != _patience(every):
                        session.close()
                        patience = _patience(every)
                        porch = session.enter_context(self._open(patience))
                    self._beat(porch, batch)
                except PorchError as error:
                    # Whatever state it is in: the next try opens another.
                    session.close()
                    porch = None
                    pause.begin(error, longest=every)
                else:
                    pause.end()

    def _wait_until_due(self, pause: Pause) -> Sequence[Watched]:
        """All that is in hand, when it is time for some of it; nothing when the drain is over."""
        with self._changed:
            while not self._over:
                watched = self._watched.values()
                batch = [one for one in watched if one.refusal is None and not one.settled]
                due = min((one.due for one in batch if one.lease is not None), default=None)
                if due is None:
                    self._changed.wait()
                    continue
                left = max(due, pause.until or due) - time.monotonic()
                if left <= 0:
                    return batch
                self._changed.wait(left)
        return ()

    def _beat(self, porch: Porch, batch: Sequence[Watched]) -> None:
        asked = time.monotonic()
        answers = porch.heartbeat(
            [(one.task.task_input_id, one.task.attempt, one.task.version) for one in batch],
            pipeline=batch[0].task.pipeline,
        )
        for one, answer in zip(batch, answers, strict=True):
            error = answer.error if isinstance(answer, NotReported) else None
            refused = isinstance(error, Refused) and not isinstance(error, StaleAttempt)
            settled = refused and _has_reported(porch, one.task)
            with self._changed:
                one.since = max(one.since, asked)
                one.settled = settled
                if isinstance(answer, Reported):
                    one.lease = answer.lease
                elif isinstance(answer.error, Refused) and not settled:
                    one.refusal = answer.error
            self._stop_if_taken(one)

    def _stop_if_taken(self, watched: Watched) -> None:
        """Stop the command of a task that was taken from us. What is not running needs no word:
        its report, of RUNNING or of its end, is refused as well."""
        with self._changed:
            running, refusal = watched.running, watched.refusal
            if running is None or refusal is None or watched.told:
                return
            watched.told = True
        if running.stopped_by is None:
            running.stop(signal.SIGTERM, self._grace)
        self._complain(about(watched.task, refusal))

    def _tell_trouble(self, error: PorchError) -> None:
        self._complain(type(error)(error.code, f"heartbeats: {error.message}", error.cure))


def _has_reported(porch: Porch, task: Claimed) -> bool:
    """Whether the command itself has said how its task ended: then it may go on in peace."""
    now, _ = porch.show(task.task_input_id, version=task.version, pipeline=task.pipeline)
    return now.attempt == task.attempt and now.status in ("DONE", "FAILED")


def about(task: Claimed, error: PorchError) -> PorchError:
    """The same error, with the task in its message."""
    name = task.task_input_id[:12]
    message = error.message if name in error.message else f"{name}: {error.message}"
    return type(error)(error.code, message, error.cure)


def _patience(every: float) -> float:
    return min(max(every, _SHORTEST_TRY), _LONGEST_TRY)
