"""A wrapper and batch script in one, as a process of its own: ``python -m tests.faults.wrapper``.

It does all that a good one does, and what bad ones do: submits what others submit too, asks twice,
walks away from claimed work, reports long after it has lost it. It writes all of it down. Its
choices are drawn from its seed.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

from porch_client import channel
from porch_client.channel import Channel
from porch_client.client import Porch
from porch_client.errors import Refused, Unreachable
from porch_client.model import Change, Decision, NotRegistered, NotReported, Registered, Reported
from tests.faults.journal import Journal

#: Seconds: an answer may take so long; a request is sent again after so many, far sooner than by
#: default, so that many arrive twice.
TIMEOUT = 5.0
RESEND_AFTER = 1.5
#: Definitions that all wrappers draw from: so many more every second.
PER_SECOND = 25
PATIENT = 5


@dataclass(frozen=True, slots=True)
class Settings:
    """What a wrapper is started with, as JSON in its one argument."""

    name: str
    seed: str
    folder: str
    began: float
    broker: str
    token: str
    lease: float


Holding = tuple[str, int]  # a task and the attempt in which we hold, or held, it


class Wrapper:
    """One process that submits, claims, works and reports until it is told to drain, then stop."""

    def __init__(self, settings: Settings) -> None:
        self.rng = Random(settings.seed)
        self.folder = Path(settings.folder)
        self.settings = settings
        self.journal = Journal(self.folder, settings.name)
        self.porch = Porch(settings.broker, settings.token, timeout=TIMEOUT)
        self.lost: list[tuple[float, Holding]] = []
        self.finished: list[tuple[str, str, int]] = []
        self.withdrawn: list[Holding] = []

    def live(self) -> None:
        """Until there is a file ``stop``; from when there is a file ``drain``, only finish."""
        steps: dict[Callable[[], object], int] = {
            self.submit: 30,
            self.work: 60,
            self.report_late: 10,
            self.rerun: 4,
            self.cancel: 2,
        }
        while not (self.folder / "drain").exists():
            (step,) = self.rng.choices(list(steps), list(steps.values()))
            step()
        self.journal.draining()
        while not (self.folder / "stop").exists():
            held = self.claim(20)
            self.report([(*holding, "DONE") for holding in self.start(held)])
            if not held:
                time.sleep(0.3)

    # What it does -----------------------------------------------------------------------------

    def submit(self) -> None:
        """A shuffled batch of definitions, most of which somebody else submits too."""
        known = 50 + int(PER_SECOND * (time.time() - self.settings.began))
        numbers = self.rng.sample(range(known), self.rng.randint(1, 50))
        batch = [self._definition(number) for number in numbers]
        # An op of submit cannot be repeated under the same request_id: equal definitions are it.
        self._ask("submit", batch, lambda _: [_registered(a) for a in self.porch.submit(batch)])

    def claim(self, n: int) -> list[Holding]:
        """Claim, sometimes with copies of the message under way, sometimes asking again after."""

        def call(op: str) -> list[Any]:
            if self.rng.random() < 0.1:
                self._send_copies("claim", "porch.claim", {"n": n}, op)
            return [[c.task_input_id, c.attempt] for c in self.porch.claim(n, request_id=op)]

        again = self.rng.random() < 0.1
        return [(task, attempt) for task, attempt in self._ask("claim", [n], call, again) or ()]

    def start(self, held: Sequence[Holding]) -> list[Holding]:
        """Begin the work of each: from here on it must not happen again in this attempt."""
        for task, attempt in held:
            self.journal.started(task, attempt)
        return list(held)

    def work(self) -> None:
        """Claim some tasks and treat them one by one, or all alike."""
        held = self.claim(self.rng.randint(1, 6))
        if self.rng.random() < 0.4:
            self.start(held)
            self.report([(*holding, "RUNNING") for holding in held])
            self.report([(*holding, "DONE") for holding in held])
            return
        ways: dict[Callable[[Holding], object], int] = {
            self._quick: 40,
            self._long: 10,
            self._failing: 20,
            self._give_back: 10,
            self._walk_away: 10,
            self._repetitive: 10,
        }
        for holding in held:
            self.start([holding])
            (way,) = self.rng.choices(list(ways), list(ways.values()))
            way(holding)

    def report(self, reports: Sequence[tuple[str, int, str]], *, permanent: bool = False) -> None:
        """RUNNING, DONE or FAILED of several, in one request."""
        if not reports:
            return

        def call(op: str) -> list[Any]:
            changes = [
                Change(task, status, attempt, message=op, permanent=permanent)
                for task, attempt, status in reports
            ]
            return [_reported(answer) for answer in self.porch.update(changes, request_id=op)]

        answers = self._ask("update", reports, call, self.rng.random() < 0.05)
        for (task, attempt, status), answer in zip(reports, answers or (), strict=False):
            if "error" not in answer and (status == "DONE" or permanent):
                self.finished.append((task, status, attempt))

    def report_late(self) -> None:
        """Of what we have long lost, as if we still held it."""
        due = [holding for at, holding in self.lost if at < time.monotonic()]
        self.lost = [(at, holding) for at, holding in self.lost if at >= time.monotonic()]
        for task, attempt in due:
            status = self.rng.choice(["DONE", "RUNNING", "FAILED"])
            self.report([(task, attempt, status)], permanent=True)
            self._heartbeat((task, attempt))

    def rerun(self) -> None:
        """Something finished, once more, if nobody else has had the idea."""
        if not self.finished:
            return
        task, status, attempt = self.finished.pop(self.rng.randrange(len(self.finished)))

        def call(op: str) -> list[Any]:
            seen = [Decision(task, status, attempt)]
            return [
                _reported(a) for a in self.porch.rerun(seen, reason=op, force=True, request_id=op)
            ]

        (answer,) = self._ask("rerun", [[task, attempt, "PENDING"]], call) or [{"error": ""}]
        if "error" not in answer:
            self.withdrawn.append((task, attempt))

    def cancel(self) -> None:
        """Something that was re-run, unless it is claimed already."""
        if not self.withdrawn:
            return
        task, attempt = self.withdrawn.pop()

        def call(op: str) -> list[Any]:
            seen = [Decision(task, "PENDING", attempt)]
            return [
                _reported(answer) for answer in self.porch.cancel(seen, reason=op, request_id=op)
            ]

        self._ask("cancel", [[task, attempt, "CANCELLED"]], call)

    # How it treats a task ---------------------------------------------------------------------

    def _quick(self, holding: Holding) -> None:
        self.report([(*holding, "DONE")])

    def _long(self, holding: Holding) -> None:
        self.report([(*holding, "RUNNING")])
        until = time.monotonic() + self.rng.uniform(0.5, 1.5) * self.settings.lease
        while time.monotonic() < until:
            time.sleep(self.settings.lease / 4)
            self._heartbeat(holding)
        self.report([(*holding, "DONE")])

    def _failing(self, holding: Holding) -> None:
        # The backoff doubles: a later attempt would wait for longer than the run takes.
        self.report([(*holding, "FAILED")], permanent=holding[1] > 2 or self.rng.random() < 0.3)

    def _give_back(self, holding: Holding) -> None:
        task, attempt = holding

        def call(op: str) -> list[Any]:
            return [
                _reported(a)
                for a in self.porch.release([(task, attempt, None)], message=op, request_id=op)
            ]

        self._ask("release", [[task, attempt, "PENDING"]], call)

    def _walk_away(self, holding: Holding) -> None:
        self.lost.append((time.monotonic() + self.rng.uniform(0, 4) * self.settings.lease, holding))

    def _repetitive(self, holding: Holding) -> None:
        for status in ("RUNNING", "RUNNING", "DONE", "DONE"):
            self.report([(*holding, status)])

    def _heartbeat(self, holding: Holding) -> None:
        task, attempt = holding

        def call(op: str) -> list[Any]:
            return [_reported(answer) for answer in self.porch.heartbeat([(task, attempt, None)])]

        self._ask("heartbeat", [[task, attempt, "RUNNING"]], call)

    # How it asks ------------------------------------------------------------------------------

    def _ask(
        self,
        verb: str,
        items: Sequence[Any],
        call: Callable[[str], list[Any]],
        again: bool = False,
    ) -> list[Any] | None:
        """Ask until there is an answer, for a while; ``again``: and then once more."""
        op = str(UUID(int=self.rng.getrandbits(128), version=4))
        self.journal.asked(op, verb, items)
        heard = None
        for _ in range(PATIENT):
            try:
                heard = call(op)
            except Unreachable as away:
                self.journal.unknown(op, away.code)
                continue
            except Refused as refusal:
                self.journal.refused(op, refusal.code)
                break
            self.journal.answered(op, heard)
            if not again:
                break
            again = False
        return heard

    def _send_copies(self, verb: str, queue: str, body: dict[str, Any], op: str) -> None:
        """Two messages with one request_id, for workers to carry out at the same time."""
        settings = self.settings
        with closing(Channel(settings.broker, None, settings.token, TIMEOUT)) as copies:
            pending = copies.prepare(verb, queue, body, request_id=op)
            copies.send(pending)
            copies.send(pending)

    def _definition(self, number: int) -> dict[str, Any]:
        """The same definition, written in one of several ways."""
        fields = [("run", float(number) if self.rng.random() < 0.2 else number), ("lane", "1")]
        self.rng.shuffle(fields)
        return dict(fields)


def _registered(answer: Registered | NotRegistered) -> dict[str, Any]:
    if isinstance(answer, NotRegistered):
        return {"error": answer.error.code}
    return {"task": answer.task_input_id, "changed": answer.created}


def _reported(answer: Reported | NotReported) -> dict[str, Any]:
    if isinstance(answer, NotReported):
        return {"error": answer.error.code}
    return {"task": answer.task_input_id, "changed": answer.changed}


def main() -> None:
    """Live as the argument says."""
    channel.RESEND_AFTER = RESEND_AFTER
    wrapper = Wrapper(Settings(**json.loads(sys.argv[1])))
    with closing(wrapper.porch):
        wrapper.live()


if __name__ == "__main__":
    main()
