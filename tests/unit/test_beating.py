"""Heartbeats of `porch drain`: nothing that it does or waits for keeps them from being sent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from porch_client.cli import run
from porch_client.drain.beating import Beating
from porch_client.errors import AccessDenied, PorchError
from porch_client.model import NotReported, Reported
from tests.fake_porch import AWAY, STALE, FakePorch, Program, drain, first_alone, shell
from tests.house import wait_until

LEASE = 0.6
Answers = list[Reported | NotReported]


def leased(*inputs: dict[str, Any]) -> FakePorch:
    """A coordinator whose pipeline has a lease."""
    porch = FakePorch(inputs)
    porch.claim_lease = porch.lease = LEASE
    return porch


def beats(porch: FakePorch) -> int:
    return len(porch.named("heartbeat"))


def until(path: Path) -> list[str]:
    """A command that ends well when the file is there, and badly when it is not in time."""
    return shell(f"for n in $(seq 500); do [ -e {path} ] && exit; sleep 0.02; done; exit 1")


def after(porch: FakePorch, number: int, path: Path) -> None:
    """Makes the file at so many heartbeats."""
    heartbeat = porch.heartbeat

    def counted(*arguments: Any, **options: Any) -> Answers:
        answers = heartbeat(*arguments, **options)
        if beats(porch) >= number:
            path.touch()
        return answers

    porch.heartbeat = counted  # type: ignore[method-assign]


def lose_when(porch: FakePorch, task: int, condition: Callable[[], bool]) -> None:
    """Somebody takes a task away once something is so."""
    heartbeat = porch.heartbeat

    def watching(*arguments: Any, **options: Any) -> Answers:
        if condition():
            porch.lost.add(f"{task:064x}")
        return heartbeat(*arguments, **options)

    porch.heartbeat = watching  # type: ignore[method-assign]


def second_claim(porch: FakePorch, wait: Callable[[], object]) -> None:
    """The first claim gets one task; the second waits for something, and gets none."""
    claim = first_alone(porch)

    def waiting(*arguments: Any, **options: Any) -> Any:
        if not porch.named("claim"):
            return claim(*arguments, **options)
        porch.note("claim", "waiting")
        wait_until(wait, what="what the claim waits for")
        return []

    porch.claim = waiting  # type: ignore[method-assign]


class TestBeats:
    def test_are_sent_for_what_runs_and_for_what_waits(self, tmp_path: Path) -> None:
        porch = leased({"n": 0}, {"n": 1})
        after(porch, 3, tmp_path / "go")
        assert drain(porch, "-n", "2", *until(tmp_path / "go")) == 0
        assert porch.named("heartbeat")[:2] == [[0, 1], [0, 1]]
        assert porch.reports() == {0: ("DONE", None), 1: ("DONE", None)}

    def test_are_sent_while_a_claim_has_no_answer(self, tmp_path: Path) -> None:
        porch = leased({})
        second_claim(porch, lambda: beats(porch) >= 3)
        after(porch, 3, tmp_path / "go")
        assert drain(porch, "-j", "2", *until(tmp_path / "go")) == 0
        assert porch.reports() == {0: ("DONE", None)}

    def test_are_sent_until_the_result_is_reported(self) -> None:
        porch = leased({})
        update, seen = porch.update, []

        def deaf(changes: list[Any], **options: Any) -> Answers:
            answers = update(changes, **options)
            if changes[0].status == "DONE":
                seen.append(beats(porch))
                if beats(porch) < seen[0] + 3 and len(seen) < 6:
                    raise AWAY
            return answers

        porch.update = deaf  # type: ignore[method-assign, assignment]
        assert drain(porch, "--", "true") == 0
        assert beats(porch) >= seen[0] + 3

    def test_are_sent_by_the_lease_that_the_last_answer_told(self, tmp_path: Path) -> None:
        porch = leased({})
        porch.claim_lease = None
        after(porch, 2, tmp_path / "go")
        assert drain(porch, *until(tmp_path / "go")) == 0
        assert porch.reports() == {0: ("DONE", None)}

    def test_leave_a_command_in_peace_that_has_reported_by_itself(self, tmp_path: Path) -> None:
        porch = leased({}, {})
        porch.ended.add(f"{0:064x}")
        after(porch, 4, tmp_path / "go")
        assert drain(porch, "-j", "2", *until(tmp_path / "go")) == 0
        assert porch.reports() == {0: ("DONE", None), 1: ("DONE", None)}
        assert porch.named("show") == [0]
        assert porch.named("heartbeat")[1:3] == [[1], [1]]

    def test_end_where_the_lease_is_lifted(self, tmp_path: Path) -> None:
        porch = leased({})
        lift = porch.heartbeat

        def heartbeat(*arguments: Any, **options: Any) -> Answers:
            porch.lease = None
            return lift(*arguments, **options)

        porch.heartbeat = heartbeat  # type: ignore[method-assign]
        assert drain(porch, *shell(f"sleep {3 * LEASE}")) == 0
        assert beats(porch) == 1

    def test_are_not_sent_without_a_lease(self) -> None:
        porch, opened = FakePorch([{}]), []

        def connect(timeout: float | None) -> FakePorch:
            opened.append(timeout)
            return porch

        assert run(["drain", "--", "sleep", "0.5"], connect=connect) == 0  # type: ignore[arg-type]
        assert (beats(porch), opened) == (0, [None])

    def test_go_on_in_the_grace_after_sigterm(
        self, program: Callable[..., Program], tmp_path: Path
    ) -> None:
        up, go = tmp_path / "up", tmp_path / "go"
        script = f"trap : TERM; : > {up}; until [ -e {go} ]; do sleep 0.02; done"
        porch = program("leased", "--grace", "20", *shell(script))
        porch.wait_for(up.exists)
        porch.process.terminate()
        porch.wait_for(lambda: "porch: stopping: SIGTERM" in porch.said())
        before = len(porch.calls("heartbeat"))
        porch.wait_for(lambda: len(porch.calls("heartbeat")) >= before + 3)
        go.touch()
        assert porch.end()[0] == 143
        assert porch.calls("update")[-1] == [[0, "DONE", 1, None]]


class TestNoAnswer:
    @pytest.mark.parametrize("error", [AWAY, AccessDenied("revoked_token", "it was revoked", "")])
    def test_stops_no_command_and_is_told_once(
        self, error: PorchError, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        porch = leased({})
        porch.troubles["heartbeat"] = [error] * 3
        after(porch, 5, tmp_path / "go")
        assert drain(porch, *until(tmp_path / "go")) == 0
        assert porch.reports() == {0: ("DONE", None)}
        said = capfd.readouterr().err
        assert said.count(f"porch: {error.code}: heartbeats: {error.message}") == 1

    def test_is_awaited_for_no_longer_than_the_next_beat_or_some_seconds(
        self, tmp_path: Path
    ) -> None:
        porch, opened = leased({}), []
        after(porch, 1, tmp_path / "go")

        def connect(timeout: float | None) -> FakePorch:
            opened.append(timeout)
            return porch

        run(["drain", *until(tmp_path / "go")], connect=connect)  # type: ignore[arg-type]
        assert opened == [None, 1.0]


class TestATaskTakenFromUs:
    def test_has_its_command_stopped_and_its_end_not_reported(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        porch = leased({})
        porch.lost.add(f"{0:064x}")
        assert drain(porch, "--", "sleep", "60") == 0
        assert porch.reports() == {0: ("RUNNING", None)}
        said = capfd.readouterr().err
        assert "porch: stale_attempt: 000000000000: somebody holds attempt 2; leave it" in said
        assert "1 claimed  0 DONE  0 FAILED  1 lost" in said

    def test_has_it_stopped_and_killed_while_the_loop_waits_for_an_answer(
        self, tmp_path: Path
    ) -> None:
        porch, pid, term = leased({}), tmp_path / "pid", tmp_path / "term"
        script = f"trap ': > {term}' TERM; echo $$ > {pid}; while :; do sleep 0.02; done"
        # Taken away when the command has seen to its signals.
        lose_when(porch, 0, pid.exists)
        second_claim(porch, lambda: term.exists() and not psutil.pid_exists(int(pid.read_text())))
        assert drain(porch, "-j", "2", "--grace", "0.2", *shell(script)) == 0
        assert porch.reports() == {0: ("RUNNING", None)}

    def test_is_not_started_where_it_waits_and_not_told_twice(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        porch = leased({"n": 0}, {"n": 1})
        porch.lost.add(f"{1:064x}")
        porch.refuse = lambda change: STALE if change.task in porch.lost else None
        after(porch, 3, tmp_path / "go")
        assert drain(porch, "-n", "2", *until(tmp_path / "go")) == 0
        assert porch.named("heartbeat")[:3] == [[0, 1], [0], [0]]
        said = capfd.readouterr().err
        assert said.count("porch: stale_attempt: ") == 1
        assert "2 claimed  1 DONE  0 FAILED  1 not started" in said


class TestTheThread:
    def test_ends_with_the_drain(self, tmp_path: Path) -> None:
        porch = leased({})
        after(porch, 1, tmp_path / "go")
        drain(porch, *until(tmp_path / "go"))
        assert "heartbeats" not in [thread.name for thread in threading.enumerate()]

    def test_does_not_keep_a_defect_to_itself(self, capfd: pytest.CaptureFixture[str]) -> None:
        porch = leased({})

        def heartbeat(*_: Any, **__: Any) -> Answers:
            raise ZeroDivisionError("ours")

        porch.heartbeat = heartbeat  # type: ignore[method-assign]
        assert drain(porch, "--", "sleep", "60") == 70
        assert "porch: internal_error: ZeroDivisionError: ours" in capfd.readouterr().err

    def test_beats_at_once_where_the_answer_to_a_claim_was_late(self) -> None:
        porch = leased({})
        porch.lease = 3600.0
        (task,) = porch.claim()
        with Beating(lambda _: porch, print, 0.0, lambda: None) as beating:  # type: ignore[arg-type, return-value]
            beating.watch(("1.0", task.task_input_id, 1), task, 3600.0, time.monotonic() - 1300)  # type: ignore[arg-type]
            wait_until(lambda: beats(porch) == 1)
