"""`porch drain` against a fake coordinator and real commands."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from porch_client.drain.command import LONGEST_VARIABLE, ending, environment, fill, last_lines
from porch_client.drain.stopping import Stopping
from porch_client.errors import (
    AccessDenied,
    BrokerAway,
    Misconfigured,
    NoWorker,
)
from porch_client.model import Change, NotReported
from tests.fake_porch import (
    AWAY,
    STALE,
    FakeClaimed,
    FakePorch,
    Program,
    drain,
    first_alone,
    shell,
)
from tests.house import wait_until


class TestWhatACommandSees:
    def test_the_task_on_stdin_and_in_the_environment(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PORCH_TOKEN", "secret")
        monkeypatch.setenv("PORCH_INPUT_OLD", "of an outer drain")
        porch = FakePorch([{"Run": "ERR1; rm -rf /", "n": 1.5, "flag": True, "more": [1]}])
        script = f'cd {tmp_path}; cat > stdin; env > env; printf %s "$1" > word'
        assert drain(porch, *shell(script), "sh", "{Run}") == 0
        record = json.loads((tmp_path / "stdin").read_text())
        assert record["task_input"]["Run"] == "ERR1; rm -rf /"
        assert record["attempt"] == 1
        env = dict(
            line.split("=", 1)
            for line in (tmp_path / "env").read_text().splitlines()
            if "=" in line
        )
        assert json.loads(env["PORCH_TASK"]) == record
        assert env["PORCH_INPUT_RUN"] == "ERR1; rm -rf /"
        assert (env["PORCH_INPUT_N"], env["PORCH_INPUT_FLAG"]) == ("1.5", "true")
        assert "PORCH_INPUT_MORE" not in env
        assert "PORCH_INPUT_OLD" not in env
        assert env["PORCH_TOKEN"] == "secret"
        assert (tmp_path / "word").read_text() == "ERR1; rm -rf /"

    def test_placeholders_are_filled_and_braces_escaped(self) -> None:
        words = ["{Run}/{attempt}", "{{Run}}", "{", "{task_input_id}", "{version}"]
        assert fill(words, task({"Run": "E1", "version": "theirs"})) == [
            "E1/1",
            "{Run}",
            "{",
            "ab12",
            "1.0",
        ]

    def test_a_value_that_looks_like_a_placeholder_is_not_one(self) -> None:
        assert fill(["{a}"], task({"a": "{b}", "b": "x"})) == ["{b}"]

    @given(st.text().filter(lambda text: not set(text) & set("{}")))
    def test_words_without_braces_stay_as_they_are(self, word: str) -> None:
        assert fill([word], task({})) == [word]

    @pytest.mark.parametrize("word", ["{run}", "{}", "{more}", "{print $1}"])
    def test_an_unknown_placeholder_is_refused_with_the_names_there_are(self, word: str) -> None:
        with pytest.raises(Misconfigured) as caught:
            fill([word], task({"Run": "E1", "more": {}}))
        assert "{Run}" in caught.value.cure

    def test_the_first_of_two_keys_with_one_name_is_kept(self) -> None:
        env = environment(task({"lib-1": "first", "LIB_1": "second"}), {})
        assert env["PORCH_INPUT_LIB_1"] == "first"

    def test_a_variable_too_long_for_the_system_is_left_out(self, tmp_path: Path) -> None:
        porch = FakePorch([{"big": "é" * 65_536}, {"big": "x" * (LONGEST_VARIABLE - 17)}])
        script = f"cd {tmp_path}; cat >> stdin; env | cut -c 1-15 >> env"
        assert drain(porch, *shell(script)) == 0
        assert {status for status, _ in porch.reports().values()} == {"DONE"}
        names = (tmp_path / "env").read_text()
        assert "PORCH_TASK" not in names
        assert names.count("PORCH_INPUT_BIG") == 1
        assert len((tmp_path / "stdin").read_text().splitlines()) == 2


def task(task_input: Mapping[str, Any]) -> dict[str, Any]:
    facts = {"pipeline": "cardinal", "version": "1.0", "task_input_id": "ab12", "attempt": 1}
    return {**facts, "task_input": task_input}


#: What each line of a drain that tells begins with: no task of the fake has other first digits.
START = "  000000000000  attempt 1  "


class TestWhatIsToldOfTheEnd:
    def test_exit_0_is_done_and_else_failed_with_the_last_words(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        porch = FakePorch([{"n": 0}, {"n": 3}])
        assert drain(porch, *shell("echo out; echo no space left >&2; exit $PORCH_INPUT_N")) == 0
        assert porch.reports() == {0: ("DONE", None), 1: ("FAILED", "exit 3: no space left")}
        seen = capfd.readouterr()
        assert seen.out == "out\nout\n"
        assert seen.err.count("no space left") == 2
        closing = "2 claimed  1 DONE  1 FAILED   why: porch failures --pipeline cardinal\n"
        assert closing in seen.err

    @pytest.mark.parametrize(
        ("terminal", "option", "told"),
        [(False, (), False), (False, ("-v",), True), (True, (), True), (True, ("--quiet",), False)],
    )
    def test_each_start_and_end_is_told_on_a_terminal_or_where_that_is_wanted(
        self,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
        *,
        terminal: bool,
        option: tuple[str, ...],
        told: bool,
    ) -> None:
        monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
        porch = FakePorch([{"tool": "true"}, {"tool": "false"}, {"tool": "/no/such"}])
        assert drain(porch, *option, "--", "{tool}") == 0
        *lines, closing = capfd.readouterr().err.splitlines()
        assert closing.startswith("  3 claimed")
        said = [re.sub(r"  \d\.\d s$", "", line.removeprefix(START)) for line in lines]
        assert said == (
            [
                *('starts  {"tool": "true"}', "exit 0", 'starts  {"tool": "false"}', "exit 1"),
                'starts  {"tool": "/no/such"}',
                "cannot start /no/such: [Errno 2] No such file or directory: '/no/such'",
            ]
            if told
            else []
        )

    def test_a_signal_is_named(self) -> None:
        porch = FakePorch([{}])
        drain(porch, *shell("kill -KILL $$"))
        assert porch.reports()[0] == ("FAILED", "signal SIGKILL")

    def test_messages_are_bounded_and_can_be_kept(self) -> None:
        noise = b"".join(b"line %d \xff\0\n" % n for n in range(1000))
        assert last_lines(noise).splitlines()[0] == "line 980 \ufffd\ufffd"
        assert len(last_lines(b"x" * 10_000)) == 4000
        assert ending(-9, b"", None) == "signal SIGKILL"

    def test_what_we_stopped_says_so_once_and_how_it_ended_if_otherwise(self) -> None:
        stopped = "stopped by signal SIGTERM of porch drain"
        assert ending(-15, b"", "SIGTERM") == stopped
        assert ending(-15, b"half done", "SIGTERM") == f"{stopped}: half done"
        assert ending(3, b"", "SIGTERM") == f"{stopped}, exit 3"
        assert ending(-9, b"", "SIGTERM") == f"{stopped}, signal SIGKILL"

    def test_a_command_that_leaves_something_behind_is_over_when_it_ends(self) -> None:
        porch = FakePorch([{}])
        began = time.monotonic()
        drain(porch, *shell("sleep 20 & exit 0"))
        assert porch.reports()[0] == ("DONE", None)
        assert time.monotonic() - began < 10

    def test_a_command_that_does_not_exist_is_refused_before_anything_is_claimed(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        porch = FakePorch([{}])
        assert drain(porch, "--", "./no-such-command") == 2
        assert "porch: no_command: " in capfd.readouterr().err
        assert porch.calls == []

    def test_one_that_cannot_be_started_for_a_task_fails_that_task(self) -> None:
        porch = FakePorch([{"tool": "/no/such"}, {"tool": "true"}])
        assert drain(porch, "--", "{tool}") == 0
        assert porch.reports()[0][0] == "FAILED"
        assert str(porch.reports()[0][1]).startswith("cannot start /no/such")
        assert porch.reports()[1] == ("DONE", None)


class TestTheLoop:
    def test_it_claims_until_nothing_is_left(self) -> None:
        porch = FakePorch([{} for _ in range(10)])
        assert drain(porch, "-j", "3", "--", "true") == 0
        assert set(porch.reports().values()) == {("DONE", None)}
        assert len(porch.reports()) == 10
        assert all(n <= 3 for n, _ in porch.named("claim"))

    @pytest.mark.parametrize(("options", "asked"), [((), [1] * 5), (("-n", "3"), [3, 2])])
    def test_no_more_are_claimed_in_all_than_were_to_be(
        self, options: tuple[str, ...], asked: list[int], capfd: pytest.CaptureFixture[str]
    ) -> None:
        porch = FakePorch([{} for _ in range(9)])
        assert drain(porch, *options, "--max", "5", "-j", "1", "--", "true") == 0
        assert [n for n, _ in porch.named("claim")] == asked
        assert len(porch.reports()) == 5
        closing = "5 claimed  5 DONE  0 FAILED   --max reached: there may be more"
        assert closing in capfd.readouterr().err

    def test_a_claim_without_an_answer_counts_once_it_has_one(self, tmp_path: Path) -> None:
        porch = FakePorch([{"n": n} for n in range(4)])
        porch.claim = first_alone(porch)  # type: ignore[method-assign]
        note, troubles = porch.note, iter([None, AWAY, None])

        def flaky(verb: str, what: Any) -> None:
            note(verb, what)
            if verb == "claim" and (trouble := next(troubles, None)) is not None:
                raise trouble

        porch.note = flaky  # type: ignore[method-assign]
        script = (
            f"[ $PORCH_INPUT_N = 1 ] && : > {tmp_path}/1; until [ -e {tmp_path}/1 ]; do :; done"
        )
        assert drain(porch, "-j", "2", "--max", "2", *shell(script)) == 0
        assert len(porch.reports()) == 2
        assert len({request_id for _, request_id in porch.named("claim")}) == 2

    def test_no_more_than_j_commands_run_at_once(self, tmp_path: Path) -> None:
        porch = FakePorch([{} for _ in range(8)])
        script = f"mkdir {tmp_path}/$$; ls {tmp_path} | wc -l >> {tmp_path}.n; rmdir {tmp_path}/$$"
        drain(porch, "-j", "2", "-n", "8", *shell(script))
        counts = [int(n) for n in Path(f"{tmp_path}.n").read_text().split()]
        assert len(counts) == 8
        assert max(counts) <= 2

    def test_each_claim_has_its_own_request_id_and_a_batch_is_asked_for_at_once(self) -> None:
        porch = FakePorch([{} for _ in range(5)])
        drain(porch, "-n", "4", "--", "true")
        claims = porch.named("claim")
        assert [n for n, _ in claims] == [4, 4, 4]
        assert len({request_id for _, request_id in claims}) == 3

    def test_an_empty_queue_is_told(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert drain(FakePorch([]), "--", "true") == 0
        assert "0 claimed: the claim queue is empty" in capfd.readouterr().err

    def test_a_mistaken_placeholder_costs_no_task(self, capfd: pytest.CaptureFixture[str]) -> None:
        porch = FakePorch([{"Run": "E1"}, {"Run": "E2"}])
        assert drain(porch, "-n", "2", "--", "true", "{run}") == 2
        assert porch.named("release") == [[None, [0, 1]]]
        assert porch.named("update") == []
        assert "porch: unknown_placeholder: {run} is not in its input" in capfd.readouterr().err

    def test_a_task_that_is_not_ours_any_more_is_not_started(self, tmp_path: Path) -> None:
        porch = FakePorch([{"n": 0}, {"n": 1}])
        porch.refuse = lambda change: STALE if int(change.task, 16) == 0 else None
        assert drain(porch, "-n", "2", *shell(f"touch {tmp_path}/$PORCH_INPUT_N")) == 0
        assert os.listdir(tmp_path) == ["1"]

    def test_a_refused_report_is_told_and_the_drain_goes_on(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        porch = FakePorch([{}, {}])
        porch.refuse = lambda c: STALE if (int(c.task, 16), c.status) == (0, "DONE") else None
        assert drain(porch, "--", "true") == 0
        said = capfd.readouterr().err
        assert "porch: stale_attempt: 000000000000 ended DONE" in said
        assert "2 claimed  1 DONE  0 FAILED  1 refused" in said

    def test_a_report_is_kept_until_it_is_answered(self, capfd: pytest.CaptureFixture[str]) -> None:
        porch = FakePorch([{}, {}])
        calls = iter([None, AWAY, AWAY, None])
        note = porch.note

        def flaky(verb: str, what: Any) -> None:
            note(verb, what)
            if verb == "update" and (trouble := next(calls, None)) is not None:
                raise trouble

        porch.note = flaky  # type: ignore[method-assign]
        assert drain(porch, "--", "true") == 0
        reports = [changes for changes in porch.named("update") if changes[0][0] == 0]
        assert [changes[0][1] for changes in reports] == ["RUNNING", "DONE", "DONE", "DONE"]
        assert capfd.readouterr().err.count("porch drain tries again until somebody answers") == 1
        assert porch.reports() == {0: ("DONE", None), 1: ("DONE", None)}

    def test_a_claim_nobody_answers_is_given_back(self, capfd: pytest.CaptureFixture[str]) -> None:
        porch = FakePorch([{}])
        porch.troubles["claim"] = [NoWorker("no_worker", "no worker took it", "start one")]
        assert drain(porch, "--", "true") == 3
        ((_, request_id),) = porch.named("claim")
        assert porch.named("release") == [[request_id, []]]
        assert "porch: no_worker: no worker took it; start one" in capfd.readouterr().err

    def test_a_broker_that_is_away_ends_it_with_3_and_the_command_to_give_back(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        porch = FakePorch([{}])
        porch.troubles = {"claim": [AWAY], "release": [AWAY]}
        assert drain(porch, "--", "true") == 3
        assert "porch release --claim" in capfd.readouterr().err

    def test_a_claim_that_never_left_us_is_not_given_back(
        self, capfd: pytest.CaptureFixture[str]
    ) -> None:
        porch = FakePorch([{}])
        unsent = BrokerAway("broker_away", "nobody is there", "nothing was sent")
        unsent.perhaps_sent = False
        porch.troubles = {"claim": [unsent]}
        assert drain(porch, "--", "true") == 3
        assert porch.named("release") == []
        assert "porch release" not in capfd.readouterr().err

    def test_no_more_is_claimed_at_once_than_a_coordinator_hands_out(self) -> None:
        porch = FakePorch([])
        assert drain(porch, "-j", "1500", "--", "true") == 0
        assert porch.named("claim")[0][0] == 1_000

    def test_a_claim_is_repeated_under_its_name_while_commands_run(self, tmp_path: Path) -> None:
        porch = FakePorch([{"n": 0}, {"n": 1}])
        answers = iter([None, AWAY, None])
        note = porch.note

        def flaky(verb: str, what: Any) -> None:
            note(verb, what)
            if verb == "claim" and (trouble := next(answers, None)) is not None:
                raise trouble

        porch.note = flaky  # type: ignore[method-assign]
        porch.claim = first_alone(porch)  # type: ignore[method-assign]
        # The first waits for the second, so a claim without an answer must not end the drain.
        script = (
            f"[ $PORCH_INPUT_N = 1 ] && : > {tmp_path}/1; until [ -e {tmp_path}/1 ]; do :; done"
        )
        assert drain(porch, "-j", "2", *shell(script)) == 0
        claims = porch.named("claim")
        assert claims[1][1] == claims[2][1] != claims[0][1]
        assert porch.reports() == {0: ("DONE", None), 1: ("DONE", None)}

    def test_a_task_that_comes_back_in_a_later_attempt_is_not_mistaken_for_its_former_self(
        self, tmp_path: Path
    ) -> None:
        porch = FakePorch([{}])
        claim = porch.claim

        def again(*arguments: Any, **options: Any) -> list[FakeClaimed]:
            if len(porch.named("claim")) == 1:
                porch.pending = [replace(FakePorch.task(0, {}), attempt=2)]
            return claim(*arguments, **options)

        porch.claim = again  # type: ignore[method-assign]
        # The first attempt ends after the second has begun, and before it is over.
        script = (
            f"if [ $1 = 1 ]; then until [ -e {tmp_path}/2 ]; do :; done; exit 1; fi;"
            f": > {tmp_path}/2; until [ -e {tmp_path}/1 ]; do :; done"
        )
        porch.refuse = lambda change: noted(change, tmp_path)
        assert drain(porch, "-j", "2", *shell(script), "sh", "{attempt}") == 0
        ends = [c[1:3] for changes in porch.named("update") for c in changes if c[1] != "RUNNING"]
        assert ends == [["FAILED", 1], ["DONE", 2]]

    def test_a_claim_that_is_refused_ends_it_with_1(self) -> None:
        porch = FakePorch([])
        porch.troubles["claim"] = [AccessDenied("revoked_token", "it was revoked", "ask")]
        assert drain(porch, "--", "true") == 1
        assert porch.named("release") == []


STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2)


def noted(change: Change, folder: Path) -> None:
    """Makes a file when the end of the first attempt is reported."""
    if (change.status, change.attempt) == ("FAILED", 1):
        (folder / "1").touch()


class TestSignals:
    @pytest.mark.parametrize("number", STOPPING)
    def test_a_signal_gives_back_what_waits_and_stops_what_runs(
        self, program: Callable[..., Program], tmp_path: Path, number: signal.Signals
    ) -> None:
        up = tmp_path / "up"
        script = f": > {up}; exec sleep 60"
        porch = program([{}, {}, {}], "-n", "3", "--grace", "20", *shell(script))
        porch.wait_for(up.exists)
        porch.process.send_signal(number)
        code, said = porch.end()
        assert code == 128 + number
        assert porch.calls("release") == [[None, [1, 2]]]
        message = "stopped by signal SIGTERM of porch drain"
        assert porch.calls("update")[-1] == [[0, "FAILED", 1, message]]
        assert "3 claimed  0 DONE  1 FAILED  2 released" in said

    def test_a_signal_that_wakes_nobody_is_obeyed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Stopping, "_note", lambda self, number, _: self.signals.append(number))
        up, porch = tmp_path / "up", FakePorch([{}])

        def stop() -> None:
            wait_until(up.exists)
            os.kill(os.getpid(), signal.SIGTERM)

        with ThreadPoolExecutor() as pool:
            stopped = pool.submit(stop)
            assert drain(porch, *shell(f": > {up}; exec sleep 60")) == 143
            stopped.result()
        assert porch.reports()[0][0] == "FAILED"

    def test_a_command_may_finish_in_its_grace(
        self, program: Callable[..., Program], tmp_path: Path
    ) -> None:
        up = tmp_path / "up"
        script = f"trap 'exit 0' TERM; : > {up}; while :; do sleep 0.05; done"
        porch = program([{}], "--grace", "20", *shell(script))
        porch.wait_for(up.exists)
        porch.process.terminate()
        assert porch.end()[0] == 143
        assert porch.calls("update")[-1] == [[0, "DONE", 1, None]]

    @pytest.mark.parametrize(("grace", "signals"), [("0.2", 1), ("60", 2)])
    def test_who_does_not_stop_is_killed_after_the_grace_or_at_a_second_signal(
        self, program: Callable[..., Program], tmp_path: Path, grace: str, signals: int
    ) -> None:
        up, term = tmp_path / "up", tmp_path / "term"
        script = f"trap ': > {term}' TERM; : > {up}; while :; do sleep 0.05; done"
        porch = program([{}], "--grace", grace, *shell(script))
        porch.wait_for(up.exists)
        porch.process.terminate()
        if signals == 2:
            porch.wait_for(term.exists)
            porch.process.terminate()
        assert porch.end()[0] == 143
        ((task, status, _, message),) = porch.calls("update")[-1]
        assert (task, status) == (0, "FAILED")
        assert message.startswith("stopped by signal SIGKILL of porch drain")
        assert message.count("SIGKILL") == 1

    def test_what_was_stopped_is_given_back_where_that_is_wanted_and_what_ended_well_is_done(
        self, program: Callable[..., Program], tmp_path: Path
    ) -> None:
        script = (
            f": > {tmp_path}/up$N; [ $N = 1 ] && exit 3; [ $N = 2 ] || trap 'exit 0' TERM;"
            "sleep 60 & wait"
        ).replace("$N", "$PORCH_INPUT_N")
        inputs = [{"n": n} for n in range(1, 5)]
        options = ("-n", "4", "-j", "3", "--on-stop", "release", "--grace", "20")
        porch = program(inputs, *options, *shell(script))
        porch.wait_for(lambda: all((tmp_path / f"up{n}").exists() for n in range(1, 5)))
        porch.process.terminate()
        code, said = porch.end()
        assert code == 143
        assert porch.calls("release") == [[None, [1]]]
        ends = {c[0]: c[1:] for call in porch.calls("update") for c in call if c[1] != "RUNNING"}
        assert ends == {0: ["FAILED", 1, "exit 3"], 2: ["DONE", 1, None], 3: ["DONE", 1, None]}
        assert "4 claimed  2 DONE  1 FAILED  1 released" in said

    def test_what_is_given_back_is_killed_first_with_all_that_it_has_started(
        self, program: Callable[..., Program], tmp_path: Path
    ) -> None:
        # The shell is gone at once, and what it has started does not listen.
        deaf = f"trap '' TERM; echo $$ > {tmp_path}/deaf; while :; do sleep 0.05; done"
        script = f'sh -c "$1" & until [ -s {tmp_path}/deaf ]; do :; done; : > {tmp_path}/up; wait'
        options = ("--on-stop", "release", "--grace", "0.3")
        porch = program([{}], *options, *shell(script), "sh", deaf)
        porch.wait_for((tmp_path / "up").exists)
        deaf_one = int((tmp_path / "deaf").read_text())
        began = time.monotonic()
        porch.process.terminate()
        porch.wait_for(lambda: porch.calls("release"))
        assert time.monotonic() - began >= 0.3
        assert not alive(deaf_one)
        assert porch.end()[0] == 143

    def test_a_release_without_an_answer_is_asked_for_again_under_its_name(self) -> None:
        porch = FakePorch([{}])
        porch.troubles["release"] = [AWAY]
        assert drain(porch, "--on-stop", "release", *shell("kill $PPID; sleep 60")) == 143
        assert porch.named("release") == [[None, [0]]] * 2
        ((task, message, name),) = porch.given_back
        assert (task, name is not None) == (0, True)
        assert message == "stopped by signal SIGTERM of porch drain"

    def test_a_release_that_is_refused_is_told(self, capfd: pytest.CaptureFixture[str]) -> None:
        porch = FakePorch([{}])
        porch.release = lambda *_, **__: [NotReported(0, STALE)]  # type: ignore[method-assign]
        assert drain(porch, "--on-stop", "release", *shell("kill $PPID; sleep 60")) == 143
        said = capfd.readouterr().err
        assert "stale_attempt: 000000000000 was stopped, and its release refused" in said
        assert "1 claimed  0 DONE  0 FAILED  1 refused" in said

    def test_what_runs_is_waited_for_where_that_is_wanted(
        self, program: Callable[..., Program], tmp_path: Path
    ) -> None:
        up, go = tmp_path / "up", tmp_path / "go"
        script = f": > {up}; until [ -e {go} ]; do sleep 0.02; done"
        porch = program([{}, {}], "-n", "2", "--on-stop", "wait", "--grace", "0", *shell(script))
        porch.wait_for(up.exists)
        porch.process.terminate()
        porch.wait_for(lambda: porch.calls("release"))
        go.touch()
        code, said = porch.end()
        assert code == 143
        assert porch.calls("release") == [[None, [1]]]
        assert porch.calls("update")[-1] == [[0, "DONE", 1, None]]
        assert "2 claimed  1 DONE  0 FAILED  1 released" in said

    def test_a_claim_under_way_is_ended_and_given_back(
        self, program: Callable[..., Program]
    ) -> None:
        porch = program("hang", "--", "true")
        porch.wait_for(lambda: porch.calls("claim"))
        porch.process.terminate()
        assert porch.end()[0] == 143
        ((_, request_id),) = porch.calls("claim")
        assert porch.calls("release") == [[request_id, []]]

    def test_results_nobody_takes_are_told_on_leaving(
        self, program: Callable[..., Program], tmp_path: Path
    ) -> None:
        porch = program("away", "--", "true")
        porch.wait_for(lambda: len(porch.calls("update")) >= 2)
        porch.process.terminate()
        porch.wait_for(lambda: "porch: stopping: SIGTERM" in porch.said())
        porch.process.terminate()
        code, said = porch.end()
        assert code == 3
        assert f"porch update {0:064x} --status DONE --attempt 1" in said


def alive(process: int) -> bool:
    """Whether there is such a process, which is not dead and merely unnoticed."""
    try:
        return " Z " not in Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
