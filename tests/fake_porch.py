"""A fake coordinator for `porch drain`, which runs real commands over it.

Run as a program, `-m tests.fake_porch LOG TASKS ARGUMENT...`, this file is `porch` over that fake,
for tests that send signals. The fake writes every call to LOG, which is what the tests wait for.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from porch_client.cli import run
from porch_client.errors import BrokerAway, Conflict, PorchError, StaleAttempt
from porch_client.model import Change, NotReported, Reported, Task
from tests.house import default_signals

_PROGRAM = (sys.executable, "-m", "tests.fake_porch")
AWAY = BrokerAway("broker_away", "nobody is there", "start the broker")
ENDED = Conflict("illegal_change", "it is DONE in attempt 1: nobody holds it", "stop")
STALE = StaleAttempt("stale_attempt", "somebody holds attempt 2", "leave it")


class FakeClaimed:
    def __init__(self, task: Task) -> None:
        self.task = task
        self.pipeline, self.version = task.pipeline, task.version
        self.task_input_id, self.task_input = task.task_input_id, task.task_input
        self.attempt = task.attempt


class FakePorch:
    """Hands out tasks, and notes every call. `troubles` are raised by the next calls of a verb.

    `claim_lease`: seconds, as a claim tells it; `lease`: as signs of life are told it.
    """

    def __init__(self, inputs: Sequence[dict[str, Any]], log: Path | None = None) -> None:
        self.pending = [self.task(i, task_input) for i, task_input in enumerate(inputs)]
        self.calls: list[tuple[str, Any]] = []
        self.troubles: dict[str, list[PorchError]] = {}
        self.refuse: Callable[[Change], PorchError | None] = lambda change: None
        self.given_back: list[tuple[int, str | None, str | None]] = []
        self.lost: set[str] = set()
        self.ended: set[str] = set()
        self.claim_lease: float | None = None
        self.lease: float | None = None
        self.hang_at_claim = False
        self.log = log

    @staticmethod
    def task(number: int, task_input: dict[str, Any]) -> Task:
        name = f"{number:064x}"
        return Task("cardinal", "1.0", name, task_input, "CLAIMED", 1, 0, T0, T0, None)

    def __enter__(self) -> FakePorch:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def note(self, verb: str, what: Any) -> None:
        self.calls.append((verb, what))
        if self.log is not None:
            with self.log.open("a") as log:
                log.write(json.dumps([verb, what]) + "\n")
        if self.troubles.get(verb):
            raise self.troubles[verb].pop(0)

    def claim(
        self,
        n: int = 1,
        *,
        pipeline: str | None = None,
        version: str | None = None,
        job_id: str | None = None,
        request_id: str | None = None,
    ) -> list[FakeClaimed]:
        self.note("claim", [n, request_id])
        while self.hang_at_claim:
            time.sleep(60)
        taken, self.pending = self.pending[:n], self.pending[n:]
        made = [FakeClaimed(task) for task in taken]
        if self.claim_lease is not None:
            until = datetime.fromisoformat(T0) + timedelta(seconds=self.claim_lease)
            for one in made:
                one.task = replace(one.task, lease_until=until.isoformat())
        return made

    def update(
        self, changes: Sequence[Change], *, pipeline: str | None = None
    ) -> list[Reported | NotReported]:
        changes = list(changes)
        self.note("update", [[int(c.task, 16), c.status, c.attempt, c.message] for c in changes])
        made: list[Reported | NotReported] = []
        for position, change in enumerate(changes):
            if (error := self.refuse(change)) is not None:
                made.append(NotReported(position, error))
            else:
                lease = self.lease if change.status == "RUNNING" else None
                made.append(Reported(change.task, "1.0", change.status, 1, True, lease))
        return made

    def heartbeat(
        self, tasks: Sequence[tuple[str, int, str]], *, pipeline: str | None = None
    ) -> list[Reported | NotReported]:
        self.note("heartbeat", [int(task, 16) for task, _, _ in tasks])
        return [
            NotReported(position, STALE if task in self.lost else ENDED)
            if task in self.lost | self.ended
            else Reported(task, "1.0", "RUNNING", 1, False, self.lease)
            for position, (task, _, _) in enumerate(tasks)
        ]

    def show(self, task: str, **_: Any) -> tuple[Task, list[Any]]:
        self.note("show", int(task, 16))
        status, attempt = ("DONE", 1) if task in self.ended else ("CLAIMED", 2)
        return replace(self.task(int(task, 16), {}), status=status, attempt=attempt), []

    def release(
        self,
        tasks: Sequence[tuple[str, int, str]] = (),
        *,
        claim: str | None = None,
        pipeline: str | None = None,
        message: str | None = None,
        request_id: str | None = None,
    ) -> list[Reported | NotReported]:
        self.note("release", [claim, [int(task, 16) for task, _, _ in tasks]])
        self.given_back += [(int(task, 16), message, request_id) for task, _, _ in tasks]
        return [Reported(task, "1.0", "PENDING", 1, True) for task, _, _ in tasks]

    def reports(self) -> dict[int, tuple[str, str | None]]:
        """The last report of each task: status and message."""
        return {
            task: (status, message)
            for verb, changes in self.calls
            if verb == "update"
            for task, status, _, message in changes
        }

    def named(self, verb: str) -> list[Any]:
        return [what for name, what in self.calls if name == verb]


T0 = "2026-11-24T16:04:11+00:00"


def drain(porch: FakePorch, *arguments: str) -> int:
    return run(["drain", *arguments], connect=lambda timeout: porch)  # type: ignore[arg-type, return-value]


def shell(script: str) -> list[str]:
    return ["--", "/bin/sh", "-c", script]


def first_alone(porch: FakePorch) -> Callable[..., list[FakeClaimed]]:
    """A claim that hands out one task at a time, however many are asked for."""
    claim = porch.claim
    return lambda n=1, **options: claim(1, **options)


class Program:
    """`porch drain` in a process of its own, with what its fake coordinator noted."""

    def __init__(self, tmp_path: Path, inputs: Sequence[Any], *arguments: str) -> None:
        self.log = tmp_path / "calls"
        self.stderr = tmp_path / "stderr"
        with self.stderr.open("w") as stderr:
            self.process = subprocess.Popen(
                [*_PROGRAM, str(self.log), json.dumps(inputs), "drain", *arguments],
                cwd=Path(__file__).parents[1],
                stderr=stderr,
                preexec_fn=default_signals,  # noqa: PLW1509 (it starts no thread, takes no lock)
            )

    def calls(self, verb: str) -> list[Any]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [what for name, what in map(json.loads, lines) if name == verb]

    def wait_for(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def said(self) -> str:
        return self.stderr.read_text()

    def end(self) -> tuple[int, str]:
        code = self.process.wait(timeout=30)
        assert "Traceback" not in self.said()
        return code, self.said()


def program_main() -> int:
    log, inputs, *arguments = sys.argv[1:]
    given = json.loads(inputs)
    porch = FakePorch([{}] if isinstance(given, str) else given, Path(log))
    porch.hang_at_claim = given == "hang"
    if given == "leased":
        porch.claim_lease = porch.lease = 0.6
    if given == "away":
        update = porch.update

        def away(changes: Sequence[Change], **options: Any) -> list[Reported | NotReported]:
            answer = update(changes, **options)
            if changes[0].status == "DONE":
                raise AWAY
            return answer

        porch.update = away  # type: ignore[method-assign]
    return run(arguments, connect=lambda timeout: porch)  # type: ignore[arg-type, return-value]


if __name__ == "__main__":
    sys.exit(program_main())
