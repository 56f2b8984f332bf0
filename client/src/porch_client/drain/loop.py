"""The story of `porch drain`, told by one thread, as Celery's results can have only one reader.
Beside it, heartbeats are sent by a thread with a session of its own (`beating`).

1. Claim as many tasks as there is room for. Each claim has a request id of our own: repeating it
   after a timeout strands nothing, and releasing it gives back what an unseen answer would bring.
2. Report them RUNNING, and start their commands. A task whose report is refused is not started.
3. Wait for a command to end, claim again, and report how it ended in one message with the start of
   the next. A report is kept until it is answered.
4. The drain ends when a claim brings nothing and nothing is running.

A signal stops the claiming, gives back what was not started, and forwards SIGTERM; who is still
there after the grace period, or at a second signal, is killed. What did not end well then has
FAILED, or is given back; or nothing is stopped, and all is waited for (`Plan.on_stop`). An error
that makes claiming pointless stops it too, and lets the running commands end in their own time.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext, suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from porch_client.drain.beating import Beating, about
from porch_client.drain.command import ending, environment, fill, record, signal_name
from porch_client.drain.held import Held, Tell, key_of
from porch_client.drain.outbox import Outbox, Pause
from porch_client.drain.plan import Plan
from porch_client.drain.process import Running
from porch_client.drain.stopping import Interrupted, Stopping
from porch_client.errors import Misconfigured, NoAnswer, PorchError, Unreachable
from porch_client.model import Change, NotReported, Reported

if TYPE_CHECKING:
    from porch_client.claimed import Claimed
    from porch_client.client import Porch

_PARTING = 5.0
"""Seconds to wait for each answer once we are on our way out."""
_MOST_CLAIMED = 1_000
"""What a coordinator hands out at once."""
_NAP = 1.0
"""Seconds that the loop sleeps at most. Python runs a handler when its main thread is awake: of a
signal that comes in the instant before it falls asleep, it hears when it wakes."""
_HOST_TROUBLE = {errno.EAGAIN, errno.ENOMEM, errno.ENOSPC, errno.EMFILE, errno.ENFILE}
"""Why this host starts no command, whatever the task: no reason to fail one task after another."""


class Drain:
    """One drain. `open_porch` is called with a timeout in seconds, or None for the usual one."""

    def __init__(
        self,
        plan: Plan,
        open_porch: Callable[[float | None], Porch],
        complain: Callable[[PorchError], None],
        tell: Tell,
    ) -> None:
        self.claimed = 0
        self.failure: PorchError | None = None
        self.pipeline = plan.pipeline
        self._plan = plan
        self._open = open_porch
        self._complain = complain
        self._tell = tell
        self._sessions = ExitStack()
        self._events: SimpleQueue[Running | None] = SimpleQueue()
        self._stopping = Stopping(lambda: self._events.put(None))
        self._pause = Pause(complain)
        self._beating = Beating(open_porch, complain, plan.grace, lambda: self._events.put(None))
        self.outbox = Outbox(self._pause, complain, self._beating.forget)
        self._held = Held(self._beating, self.outbox.ended, complain, tell)
        self._dry = False
        self._give_up_at: float | None = None

    @property
    def signals(self) -> list[int]:
        """The signals that came, in order."""
        return self._stopping.signals

    def run(self) -> None:
        """Drain until the claim queue is empty or we are stopped; `failure` tells what failed."""
        held = self._held
        with self._stopping, self._sessions, self._beating:
            self._porch = self._sessions.enter_context(self._open(None))
            try:
                while held.any() or self.outbox.unsent or self._may_claim():
                    self._step()
            except BaseException:
                # A defect of ours: at least no command works on without anyone to report it.
                for _, running in held.running.values():
                    running.stop(signal.SIGTERM)
                raise

    def _step(self) -> None:
        self._beating.check()
        if self.signals:
            self._obey()
        if self._pause.over and not self._held.waiting and self._room() and self._may_claim():
            self._claim()
        self._report_and_start()
        if self._ending() and self._pause.over:
            self._give_back()
        self._wait()

    def _ending(self) -> bool:
        return bool(self.signals) or self.failure is not None

    def _may_claim(self) -> bool:
        return not self._ending() and not self._dry and self._left() > 0

    def _left(self) -> int:
        """How many may still be claimed: of a claim without an answer, all that it asked for."""
        return _MOST_CLAIMED if self._plan.most is None else self._plan.most - self.claimed

    def _room(self) -> int:
        return self._plan.jobs - len(self._held.running)

    def _fail(self, error: PorchError) -> None:
        self.failure = self.failure or error

    def _update(self, changes: Sequence[Change]) -> list[Reported | NotReported]:
        """Raises `Interrupted` at the first signal: a report may be repeated, none is lost."""
        with nullcontext() if self.signals else self._stopping.interruptible():
            return self._porch.update(changes, pipeline=self.pipeline)

    def _claim(self) -> None:
        held = self._held
        request_id = held.ask()
        try:
            with self._stopping.interruptible():
                claimed = self._porch.claim(
                    min(self._plan.batch or self._room(), self._left(), _MOST_CLAIMED),
                    pipeline=self._plan.pipeline,
                    version=self._plan.version,
                    job_id=self._plan.job_id,
                    request_id=request_id,
                )
        except Interrupted:
            return  # and `_give_back` closes this claim
        except Unreachable as error:
            if not error.perhaps_sent:
                held.request_id = None
            if held.running or self.outbox.unsent:
                # Their reports need an answer anyway: we may as well try again until then.
                self._pause.begin(error)
            else:
                self._fail(error)
                self._hurry()
            return
        except PorchError as error:
            held.request_id = None
            self._fail(error)
            return
        held.request_id = None
        self._pause.end()
        self._dry = not claimed
        self.claimed += len(claimed)
        for task in claimed:
            self.pipeline = self.pipeline or task.pipeline
            words: list[str] = []
            try:
                # For all of them before any is started: a mistake in the command costs no task.
                words = fill(self._plan.words, record(task))
            except Misconfigured as error:
                self._fail(error)
            held.take(task, words)

    def _report_and_start(self) -> None:
        ready = [] if self._ending() else list(self._held.waiting)[: self._room()]
        starting = [
            Change(task.task_input_id, "RUNNING", task.attempt, version=task.version)
            for task, _ in ready
        ]
        asked = time.monotonic()
        try:
            answers = self.outbox.send(self._update, starting)
        except PorchError as error:
            self._fail(error)
            return
        for (task, words), answer in zip(ready, answers or (), strict=False):
            self._held.waiting.popleft()
            if isinstance(answer, NotReported):
                self.outbox.ended["not started"] += 1
                self._held.drop(task)
                self._complain(about(task, answer.error))
            else:
                self._held.renewed(task, answer.lease, asked)
                self._launch(task, words)

    def _launch(self, task: Claimed, words: Sequence[str]) -> None:
        facts = record(task)
        env = environment(facts, os.environ)
        task_input = json.dumps(task.task_input, ensure_ascii=False)
        self._tell(task, f"starts  {task_input[:80]}")  # before it can say a word
        try:
            running = Running(key_of(task), words, facts, env, self._events.put)
        except (OSError, ValueError) as error:
            problem = f"cannot start {words[0]}: {error}"
            self._tell(task, problem)
            if isinstance(error, OSError) and error.errno in _HOST_TROUBLE:
                self._held.waiting.append((task, words))
                self._fail(Misconfigured("cannot_start", problem, "see what this host lacks"))
            else:
                self.outbox.add(task, "FAILED", problem)
        else:
            self._held.start(task, running)

    def _wait(self) -> None:
        """Take in what has ended; sleep only where nothing can be done until something ends."""
        idle = not self._may_claim() or not self._room() or not self._pause.over
        due = self._deadlines()
        block = idle and bool(self._held.running or due)
        timeout = max(min(due) - time.monotonic(), 0.0) if due else _NAP
        try:
            while True:
                event = self._events.get(block, min(timeout, _NAP))
                block = False
                if event is not None:
                    self._ended(event)
        except Empty:
            return

    def _deadlines(self) -> list[float]:
        held = self._held
        due: list[float | None] = []
        if self.outbox.unsent or held.to_give_back():
            due.append(self._pause.until)
            if not held.running:
                due.append(self._give_up_at)
        return [moment for moment in due if moment is not None]

    def _ended(self, running: Running) -> None:
        self._dry = False
        task = self._held.end(running)
        if task is None:
            return
        code = running.process.returncode
        message = ending(code, running.stderr, running.stopped_by)
        if code == 0:
            self.outbox.add(task, "DONE", None)
        elif running.stopped_by is not None and self._plan.on_stop == "release":
            self._held.stopped(task, message)
        else:
            self.outbox.add(task, "FAILED", message)
        if self._give_up_at is not None and self._plan.on_stop == "wait":
            # It may have taken hours, and its report has as long as one that came at once.
            self._give_up_at = time.monotonic() + self._plan.grace + _PARTING

    def _obey(self) -> None:
        """Forward the first signal, kill at the second, and leave when nobody answers any more."""
        now = time.monotonic()
        running = [one for _, one in self._held.running.values()]
        if self._give_up_at is None:
            self._give_up_at = now + self._plan.grace + _PARTING
            what = f"{len(running)} running, {len(self._held.waiting)} not started"
            name = signal_name(self.signals[0])
            self._complain(PorchError("stopping", f"{name}: {what}", "again to kill at once"))
            for one in running if self._plan.on_stop != "wait" else ():
                one.stop(signal.SIGTERM, self._plan.grace)
            self._hurry()
        hurried = len(self.signals) > 1
        for one in running:
            if hurried and one.stopped_by != "SIGKILL":
                one.stop(signal.SIGKILL)
        unanswered = self._pause.until is not None
        if unanswered and not running and (hurried or now >= self._give_up_at):
            self._fail(NoAnswer("no_answer", "left without an answer", "see what is said above"))
            self.outbox.tell_unsent()
            self._held.let_go()

    def _give_back(self) -> None:
        held = self._held
        try:
            held.give_back(self._porch, self.pipeline)
            self._pause.end()
        except Unreachable as error:
            if held.running or held.to_give_back(claims=False):
                self._pause.begin(error)
            else:
                held.let_go()
        except PorchError as error:
            self._complain(error)
            held.let_go()

    def _hurry(self) -> None:
        """A new session with little patience: the old one may be half-way through an answer."""
        try:
            session = self._open(_PARTING)
        except PorchError as error:
            self._complain(error)
            return
        with suppress(Exception):  # whatever state it is in, we are done with it
            self._sessions.pop_all().close()
        self._porch = self._sessions.enter_context(session)
