"""`porch rerun` and `porch cancel`: what was seen is what is changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from porch_client.errors import Conflict, NotFound
from porch_client.model import Decision, NotReported, Reported
from tests.fake_session import ID, TASK, FakeSession, lines


class TestDecisions:
    KNOWN = ("--status", "FAILED", "--attempt", "2")

    @pytest.mark.parametrize("verb", ["rerun", "cancel"])
    def test_what_was_seen_is_what_is_changed(
        self, verb: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        changed = Reported(ID, "1.0", "PENDING", 2, True)
        session = FakeSession(show=(TASK, []), **{verb: [changed]})
        assert session.porch(verb, "015a", "--reason", "disk full") == 0
        _, (decisions,), _ = session.calls[1]
        assert decisions == [Decision(ID, "FAILED", 2, "1.0")]
        assert capsys.readouterr().err == "  015abd7f0000  FAILED  attempt 2\n"

    def test_a_status_and_attempt_given_are_not_looked_up(self) -> None:
        session = FakeSession(rerun=[Reported(ID, "1.0", "PENDING", 2, True)])
        session.porch("rerun", "015a", *self.KNOWN)
        assert [verb for verb, _, _ in session.calls] == ["rerun"]

    def test_one_refused_re_run_does_not_keep_the_others_back(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        conflict = Conflict("status_changed", "it is RUNNING now", "look again")
        results = [NotReported(0, conflict), Reported(ID, "1.0", "PENDING", 2, True)]
        session = FakeSession(rerun=results)
        assert session.porch("rerun", "bad", "015a", *self.KNOWN) == 1
        seen = capsys.readouterr()
        assert "porch: status_changed: bad: it is RUNNING now; look again" in seen.err
        assert lines(seen.out)[1]["task_input_id"] == ID

    def test_one_that_cannot_be_looked_up_does_not_keep_the_others_back(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def show(task: str, **_: Any) -> Any:
            if task == "bad":
                raise NotFound("unknown_task", 'no task "bad"', "look")
            return TASK, []

        session = FakeSession(show=show, rerun=[Reported(ID, "1.0", "PENDING", 2, True)])
        assert session.porch("rerun", "bad", "015a") == 1
        assert [line.get("task_input_id") for line in lines(capsys.readouterr().out)] == [None, ID]

    def matching(self, n: int) -> FakeSession:
        tasks = [replace(TASK, task_input_id=f"{i:064x}") for i in range(n)]

        def rerun(decisions: Sequence[Decision], **_: Any) -> list[Reported]:
            return [Reported(d.task, "1.0", "PENDING", d.attempt, True) for d in decisions]

        return FakeSession(list=tasks, rerun=rerun)

    def test_all_that_match_are_changed_as_they_were_seen(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        session = self.matching(1_200)
        argv = ("rerun", "--status", "FAILED", "--message-like", "No space", "--yes")
        assert session.porch(*argv) == 0
        (_, _, where), *batches = session.calls
        assert (where["status"], where["message"]) == (("FAILED",), "No space")
        changed = [decision for _, (decisions,), _ in batches for decision in decisions]
        assert [decision.task for decision in changed] == [f"{i:064x}" for i in range(1_200)]
        assert {(d.status, d.attempt, d.version) for d in changed} == {("FAILED", 2, "1.0")}
        seen = capsys.readouterr()
        assert len(lines(seen.out)) == 1_200
        assert "... and 1,195 more" in seen.err
        assert seen.err.endswith("  1,200 tasks FAILED -> PENDING: 1,200 done\n")

    def test_nothing_is_changed_where_nobody_can_be_asked(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        session = self.matching(3)
        assert session.porch("rerun", "--status", "FAILED") == 2
        assert [verb for verb, _, _ in session.calls] == ["list"]
        assert "3 tasks FAILED -> PENDING: nobody is there to be asked" in capsys.readouterr().err

    def test_nothing_that_matches_is_no_error(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.matching(0).porch("rerun", "--status", "FAILED") == 0
        assert capsys.readouterr().err == "  nothing matches\n"

    @pytest.mark.parametrize(
        "argv",
        [
            ("rerun",),
            ("rerun", "--yes"),
            ("rerun", "--message-like", "x"),
            ("rerun", "--status", "FAILED", "--attempt", "2"),
            ("cancel", ID, "--text", "x"),
        ],
    )
    def test_neither_names_nor_a_filter_is_bad_usage(self, argv: tuple[str, ...]) -> None:
        session = FakeSession()
        assert session.porch(*argv) == 2
        assert session.calls == []
