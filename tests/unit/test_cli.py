"""The `porch` command as a user or a script meets it, over a fake session."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from porch_client import render
from porch_client.errors import (
    BadInput,
    BrokerAway,
    NotFound,
    NoWorker,
    PorchError,
    Refused,
    StaleAttempt,
)
from porch_client.model import (
    Event,
    NotRegistered,
    NotReported,
    Pipeline,
    Registered,
    Reported,
    Token,
)
from tests.fake_session import ID, TASK, UUID, FakeSession, lines

PIPELINE = Pipeline(
    "cardinal", "uri", ("1.0",), "version", 7200, None, None, {"PENDING": 6200}, 90.0
)


#: What takes longer to import than a command may take to start.
HEAVY = {"celery", "kombu", "redis", "rich", "asyncio", "ssl"}


class FakeRegister:
    """Registers definitions like the coordinator: a second equal one is known."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self.known = set(known)

    def __call__(self, definitions: Iterable[Any], **_: Any) -> Iterator[Any]:
        for position, definition in enumerate(definitions):
            if isinstance(definition, PorchError):
                yield NotRegistered(position, definition)
                continue
            key = json.dumps(definition, sort_keys=True)
            if "\\u0000" in key:
                flaw = BadInput("not_representable", "$.a holds U+0000", "take it out")
                yield NotRegistered(position, flaw)
                continue
            yield Registered(position, key, "PENDING", key not in self.known)
            self.known.add(key)


class TestSubmit:
    @pytest.fixture
    def sheet(self, tmp_path: Path) -> Path:
        path = tmp_path / "runs.csv"
        path.write_text("Run,Layout\nE1,SINGLE\nE2,\nE1,SINGLE\n")
        return path

    def test_every_definition_is_a_line_and_the_closing_line_counts(
        self, sheet: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        session = FakeSession(submit=FakeRegister())
        assert session.porch("submit", "--pipeline", "cardinal", str(sheet)) == 0
        seen = capsys.readouterr()
        assert [(line["position"], line["created"]) for line in lines(seen.out)] == [
            (0, True),
            (1, True),
            (2, False),
        ]
        assert seen.err.startswith("  3 definitions  2 new  1 known (1 PENDING)   0.")
        options = {"pipeline": "cardinal", "version": None, "priority": 0}
        assert options.items() <= session.calls[0][2].items()

    def test_quiet_says_only_the_closing_line(
        self, sheet: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert FakeSession(submit=FakeRegister()).porch("submit", "--quiet", str(sheet)) == 0
        seen = capsys.readouterr()
        assert seen.out == ""
        assert len(seen.err.splitlines()) == 1

    def test_refused_ones_are_told_by_line_and_the_others_registered(
        self,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        path = tmp_path / "runs.jsonl"
        path.write_text('{"a": "1"}\n\nnot json\n{"a": "\\u0000"}\n{"a": "2"}\n')
        assert FakeSession(submit=FakeRegister()).porch("submit", str(path)) == 1
        seen = capsys.readouterr()
        told = seen.err.splitlines()
        assert told[0].startswith("porch: bad_json: line 3, column 1: Expecting value; ")
        assert told[1] == "porch: not_representable: line 4: $.a holds U+0000; take it out"
        assert told[2].startswith("  4 definitions  2 new  0 known  2 refused   ")
        assert [line.get("error", {}).get("code") for line in lines(seen.out)] == [
            None,
            "bad_json",
            "not_representable",
            None,
        ]

    def test_after_twenty_refusals_only_their_number_is_told(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "bad.jsonl"
        path.write_text("x\n" * 1025)
        assert FakeSession(submit=FakeRegister()).porch("submit", str(path)) == 1
        seen = capsys.readouterr()
        assert len(lines(seen.out)) == 1025
        assert seen.err.count("bad_json") == 20
        assert "porch: 1,005 more were refused" in seen.err

    def test_stdin_is_a_file_called_dash(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{"a": 1}\n')))
        assert FakeSession(submit=FakeRegister()).porch("submit", "-") == 0
        assert lines(capsys.readouterr().out)[0]["created"] is True

    def test_columns_are_picked_and_numbers_read(self, tmp_path: Path) -> None:
        path = tmp_path / "runs.tsv"
        path.write_text("Run\tn\tx\nE1\t7\ty\n")
        got: list[Any] = []

        def submit(definitions: Iterable[Any], **_: Any) -> Iterator[Any]:
            got.extend(definitions)
            return iter(())

        session = FakeSession(submit=submit)
        session.porch("submit", str(path), "--key", "n,Run", "--number", "n")
        assert [list(definition.items()) for definition in got] == [[("n", 7), ("Run", "E1")]]

    def test_an_unknown_column_refuses_the_file_before_anything_is_sent(
        self, sheet: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        session = FakeSession(submit=FakeRegister())
        assert session.porch("submit", str(sheet), "--key", "run") == 1
        assert session.calls == []
        seen = capsys.readouterr().err
        assert seen.startswith("porch: unknown_column: --key: ")
        assert 'did you mean "Run"?' in seen

    def test_a_rule_that_refuses_everything_is_one_line(
        self, sheet: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        error = NotFound(
            "unknown_pipeline",
            'no "cardnial"; did you mean "cardinal"?',
            "`porch pipeline list` shows them",
        )
        assert FakeSession(submit=error).porch("submit", str(sheet)) == 1
        told = (
            'porch: unknown_pipeline: no "cardnial"; did you mean "cardinal"? '
            "`porch pipeline list` shows them\n"
        )
        assert capsys.readouterr().err == told

    def test_what_was_registered_before_nobody_answered_is_counted(
        self, sheet: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def half(definitions: Iterable[Any], **_: Any) -> Iterator[Any]:
            next(iter(definitions))
            yield Registered(0, ID, "PENDING", True)
            raise NoWorker("no_worker", "no worker took it", "start one")

        assert FakeSession(submit=half).porch("submit", str(sheet)) == 3
        first, second = capsys.readouterr().err.splitlines()
        assert first.startswith("  1 definition  1 new  0 known   ")
        assert "again is safe" in first
        assert second == "porch: no_worker: no worker took it; start one"


class TestWork:
    def test_a_claim_prints_one_line_per_task(self, capsys: pytest.CaptureFixture[str]) -> None:
        class Claimed:
            task, pipeline, version, task_input_id = TASK, "cardinal", "1.0", ID
            task_input, attempt = TASK.task_input, 2

        session = FakeSession(claim=[Claimed()])
        assert session.porch("claim", "-n", "5", "--request-id", UUID) == 0
        (line,) = lines(capsys.readouterr().out)
        assert list(line) == [
            "pipeline",
            "version",
            "task_input_id",
            "task_input",
            "attempt",
            "priority",
            "lease",
            "lease_until",
        ]
        assert session.calls[0][1:] == (
            (5,),
            {"pipeline": None, "version": None, "job_id": None, "request_id": UUID},
        )

    def test_nothing_to_claim_is_no_error(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert FakeSession(claim=[]).porch("claim") == 0
        seen = capsys.readouterr()
        assert (seen.out, seen.err) == ("", "  nothing to claim\n")

    def test_a_claim_without_an_answer_tells_how_to_get_its_tasks(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        session = FakeSession(claim=NoWorker("no_worker", "no worker took it", "start one"))
        assert session.porch("claim") == 3
        request_id = session.calls[0][2]["request_id"]
        seen = capsys.readouterr().err
        assert f"--request-id {request_id}` returns the same tasks" in seen
        assert f"porch release --claim {request_id}" in seen

    def test_a_claim_that_never_left_us_needs_no_undoing(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        unsent = BrokerAway("broker_away", "nobody is there", "nothing was sent")
        unsent.perhaps_sent = False
        assert FakeSession(claim=unsent).porch("claim") == 3
        seen = capsys.readouterr().err
        assert seen == "porch: broker_away: nobody is there; nothing was sent\n"

    def test_reports_that_are_refused_are_told_by_their_task(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        stale = StaleAttempt("stale_attempt", "attempt 3 is under way", "leave it")
        answers = [Reported(ID, "1.0", "DONE", 2, True), NotReported(1, stale)]
        session = FakeSession(update=answers)
        assert session.porch("update", "015a", "77", "--status", "done", "--attempt", "2") == 1
        changes = session.calls[0][1][0]
        assert [(c.task, c.status, c.attempt) for c in changes] == [
            ("015a", "DONE", 2),
            ("77", "DONE", 2),
        ]
        seen = capsys.readouterr()
        assert "porch: stale_attempt: 77: attempt 3 is under way; leave it" in seen.err
        assert lines(seen.out)[1]["error"]["code"] == "stale_attempt"

    def test_a_heartbeat_names_task_attempt_and_version(self) -> None:
        session = FakeSession(heartbeat=[Reported(ID, "1.0", "RUNNING", 2, False)])
        assert session.porch("heartbeat", "015a", "--attempt", "2", "--version", "1.0") == 0
        assert session.calls[0][1] == ([("015a", 2, "1.0")],)

    def test_a_whole_claim_is_given_back_by_its_request_id(self) -> None:
        session = FakeSession(release=[])
        assert session.porch("release", "--claim", UUID) == 0
        assert session.calls[0][2]["claim"] == UUID

    def test_a_release_of_nothing_is_bad_usage(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert FakeSession().porch("release") == 2
        assert "porch: bad_usage: give the ids of tasks, or --claim" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("task", "attempt"), [(ID, 3), (ID[:4], 3), ("77", None)], ids=["whole", "prefix", "other"]
    )
    def test_below_a_drain_the_attempt_is_that_of_the_task_in_hand(
        self, task: str, attempt: int | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PORCH_TASK", json.dumps({"task_input_id": ID, "attempt": 3}))
        session = FakeSession(update=[], heartbeat=[], release=[])
        session.porch("update", task, "--status", "DONE")
        session.porch("heartbeat", task)
        session.porch("release", task)
        (changes,), (beats,), (released,) = [args for _, args, _ in session.calls]
        assert changes[0].attempt == beats[0][1] == released[0][1] == attempt

    @pytest.mark.parametrize("text", ["", "nonsense", "[]", "{}", '{"task_input_id": 7}'])
    def test_a_variable_that_is_none_of_ours_names_no_attempt(
        self, text: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PORCH_TASK", text)
        session = FakeSession(heartbeat=[])
        assert session.porch("heartbeat", ID) == 0
        assert session.calls[0][1] == ([(ID, None, None)],)

    def test_a_failure_may_be_permanent_and_nothing_else(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        session = FakeSession(update=[])
        assert session.porch("update", "015a", "--status", "FAILED", "--permanent") == 0
        assert session.calls[0][1][0][0].permanent
        assert session.porch("update", "015a", "--status", "DONE", "--permanent") == 2
        assert "--permanent is said of a failure" in capsys.readouterr().err


class TestLook:
    EVENTS = (
        Event("2026-11-24T16:04:11+00:00", None, "PENDING", 0, "cron host", None, None),
        Event("2026-11-24T16:04:12+00:00", "PENDING", "CLAIMED", 1, "farm", "node-12", None),
        Event("2026-11-24T16:04:12+00:00", "CLAIMED", "RUNNING", 1, "farm", "node-12", None),
        Event(
            "2026-11-25T00:00:15+00:00", "RUNNING", "FAILED", 1, "farm", "n7", "exit 1:\x1b[2J\nx"
        ),
    )

    def test_show_tells_the_history(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert FakeSession(show=(TASK, list(self.EVENTS))).porch("show", "015abd7f") == 0
        assert capsys.readouterr().out.splitlines() == [
            '  cardinal 1.0  {"Run": "ERR4182369", "LibraryLayout": "SINGLE"}   FAILED  attempt 2',
            f"  {ID}",
            "  2026-11-24 UTC",
            '  16:04:11  -> PENDING                     token "cron host"',
            '  16:04:12  PENDING -> CLAIMED  attempt 1  token "farm"  host node-12',
            "  16:04:12  CLAIMED -> RUNNING",
            "  2026-11-25 UTC",
            "  00:00:15  RUNNING -> FAILED              host n7  exit 1:\ufffd[2J",
            "            x",
        ]

    def test_show_json_is_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        FakeSession(show=(TASK, list(self.EVENTS))).porch("show", "015a", "--json")
        (line,) = lines(capsys.readouterr().out)
        assert line["task"]["attempt"] == 2
        assert len(line["events"]) == 4

    def test_json_does_not_drive_a_terminal(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hostile = "\x1b[2J\x9b2J\u202e\U000e0041 stays: é 漢"
        task = dataclasses.replace(TASK, task_input={"a": hostile})
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        assert FakeSession(list=lambda **_: iter([task])).porch("list") == 0
        (shown,) = capsys.readouterr().out.splitlines()
        assert shown.isprintable()
        assert "é 漢" in shown
        assert json.loads(shown)["task_input"] == {"a": hostile}

    def test_list_filters_and_prints_tasks(self, capsys: pytest.CaptureFixture[str]) -> None:
        session = FakeSession(list=lambda **_: iter([TASK]))
        arguments = ("--status", "FAILED", "--status", "done", "--since", "2026-11-24T00:00Z")
        assert session.porch("list", *arguments, "--limit", "3") == 0
        options = session.calls[0][2]
        assert options["status"] == ("FAILED", "DONE")
        assert options["since"] == "2026-11-24T00:00:00+00:00"
        assert lines(capsys.readouterr().out)[0]["task_input_id"] == ID

    def test_counts_are_one_object(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert FakeSession(count={"DONE": 3}).porch("list", "--count", "--since", "3d") == 0
        assert lines(capsys.readouterr().out) == [{"DONE": 3}]

    @pytest.mark.parametrize("since", ["yesterday", "3 days", "999999999w"])
    def test_a_time_that_is_none_is_bad_usage(
        self, since: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert FakeSession().porch("list", "--since", since) == 2
        assert "is no time" in capsys.readouterr().err


class TestAdmin:
    def test_a_policy_changes_only_what_is_named(self) -> None:
        session = FakeSession(set_policy=PIPELINE)
        session.porch("pipeline", "update", "cardinal", "--lease", "1h30m")
        session.porch("pipeline", "update", "cardinal", "--lease", "none", "--max-attempts", "3")
        session.porch("pipeline", "update", "cardinal", "--identity", "pipeline")
        assert [options for _, _, options in session.calls] == [
            {"lease": 5400},
            {"lease": None, "max_attempts": 3},
            {"identity": "pipeline"},
        ]

    @pytest.mark.parametrize(
        "arguments", [(), ("--lease", "soon"), ("--max-attempts", "0"), ("--identity", "x")]
    )
    def test_a_policy_that_is_none_is_bad_usage(self, arguments: tuple[str, ...]) -> None:
        assert FakeSession().porch("pipeline", "update", "cardinal", *arguments) == 2

    def test_pipelines_are_json_lines_for_programs(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert FakeSession(pipelines=[PIPELINE]).porch("pipeline", "list") == 0
        assert lines(capsys.readouterr().out)[0]["counts"] == {"PENDING": 6200}

    def test_and_a_table_for_people(self) -> None:
        head, row = render.pipelines([PIPELINE]).splitlines()
        assert head.split() == ["PIPELINE", "VERSIONS", "TASKS", "OLDEST", "PENDING", "URI"]
        assert row == "cardinal  1.0       6,200 PENDING  1m 30s          uri"

    def test_the_secret_of_a_token_is_shown_when_it_is_issued(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        token = Token(7, "cardinal", "farm", "2026-11-24T16:04:11+00:00", None)
        session = FakeSession(issue_token=(token, "porch_s3cret"))
        arguments = ("--pipeline", "cardinal", "--description", "farm")
        assert session.porch("token", "issue", *arguments) == 0
        (line,) = lines(capsys.readouterr().out)
        assert (line["token"], line["token_id"]) == ("porch_s3cret", 7)

    @pytest.mark.parametrize("rotated", [False, True])
    def test_a_token_takes_the_place_of_another_and_of_nothing_else(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], *, rotated: bool
    ) -> None:
        new = Token(7, "cardinal", "farm", "2026-11-24T16:04:11+00:00", None)
        old = dataclasses.replace(new, token_id=6)
        session = FakeSession(issue_token=(new, "7" * 32), rotate_token=(new, "7" * 32, old))
        command = ["issue", "--pipeline", "cardinal", "--description", "farm"]
        command = ["token", *(["rotate", "6"] if rotated else command), "--into"]
        path = tmp_path / "token"
        for before in ("", "6" * 32, "6" * 32 + "\n"):
            path.write_text(before)
            assert session.porch(*command, str(path)) == 0
            assert path.read_text() == "7" * 32 + "\n"
            warned = "had another token, which is good until" in capsys.readouterr().err
            assert warned == (bool(before) and not rotated)
        asked = len(session.calls)
        for before in ("Run,Lane\n", "6" * 31, "6" * 32 + "\n" + "6" * 32):
            path.write_text(before)
            assert session.porch(*command, str(path)) == 2
            assert "something else than a token" in capsys.readouterr().err
            assert path.read_text() == before
        assert session.porch(*command, os.devnull) == 2
        assert len(session.calls) == asked


class TestHowItEnds:
    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (Refused("new_rule", "no", ""), 1),
            (NoWorker("no_worker", "no worker", "start one"), 3),
            (BrokenPipeError(), 141),
            (KeyboardInterrupt(), 130),
            (ZeroDivisionError("oops"), 70),
        ],
    )
    def test_every_end_has_its_exit_code_and_no_traceback(
        self, error: BaseException, code: int, capfd: pytest.CaptureFixture[str]
    ) -> None:
        out = os.dup(1)  # a broken pipe leaves stdout closed: as for a process that ends
        try:
            assert FakeSession(pipelines=error).porch("pipeline", "list") == code
        finally:
            os.dup2(out, 1)
            os.close(out)
        assert "Traceback" not in capfd.readouterr().err

    @pytest.mark.parametrize(
        "arguments",
        [("frobnicate",), ("claim", "-n", "0"), ("submit", "/no/such/file"), ("update", "1")],
    )
    def test_bad_usage_is_2_in_one_line(
        self, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert FakeSession().porch(*arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("porch: bad_usage: ")
        assert "--help` shows how" in line

    def test_help_and_a_bare_command_show_the_commands(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert FakeSession().porch("--help") == 0
        assert "drain" in capsys.readouterr().out
        assert FakeSession().porch() == 2
        assert "drain" in capsys.readouterr().err

    def test_the_timeout_reaches_the_session(self) -> None:
        session = FakeSession(pipelines=[])
        session.porch("--timeout", "2.5", "pipeline", "list")
        assert session.timeout == 2.5

    def test_a_token_comes_from_a_file_never_from_an_option(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setenv("PORCH_TOKEN", "of another, and put back in the end")
        monkeypatch.setenv("PORCH_TOKEN_FILE", "of another")
        path = tmp_path / "token"
        path.write_text("porch_s3cret\n")
        session = FakeSession(pipelines=[])
        assert session.porch("--token-file", str(path), "pipeline", "list") == 0
        assert os.environ["PORCH_TOKEN"] == "porch_s3cret"
        assert "PORCH_TOKEN_FILE" not in os.environ
        assert session.porch("--token-file", str(tmp_path), "pipeline", "list") == 2
        assert "porch: no_token_set: " in capsys.readouterr().err

    def test_a_reader_that_goes_away_ends_it_silently(self) -> None:
        script = (
            "import sys; sys.path.insert(0, sys.argv[1])\n"
            "from test_cli import FakeSession, TASK\n"
            "from itertools import repeat\n"
            "sys.exit(FakeSession(list=lambda **_: repeat(TASK)).porch('list'))"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script, str(Path(__file__).parent)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.readline()
            process.stdout.close()
            assert process.stderr.read() == b""
        assert process.returncode == 141

    def test_the_command_starts_with_what_it_needs_and_nothing_else(self) -> None:
        script = (
            "import sys, porch_client.cli\nporch_client.cli.run(['--version'])\nprint(*sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], check=True, capture_output=True, text=True
        )
        version, modules = done.stdout.splitlines()
        imported = set(modules.split())
        assert version.startswith("porch, version ")
        assert not imported & {*HEAVY, "importlib.metadata", "difflib", "socket"}
        assert {name for name in imported if name.startswith("porch_client.")} == {
            f"porch_client.{name}" for name in ("cli", "cli.door", "errors", "printable", "version")
        }


def test_a_command_that_is_told_can_be_typed_whatever_the_pipeline_is_called() -> None:
    told = render.drained(1, {"FAILED": 1}, "o'brien $(touch x)")
    command = shlex.split(told.partition("why: ")[2])
    assert command == ["porch", "failures", "--pipeline", "o'brien $(touch x)"]
