"""What a caller is told about a change of status that was tried."""

from __future__ import annotations

import pytest

from coordinator.errors import (
    ForceNeeded,
    IllegalChange,
    PorchError,
    ReasonNeeded,
    StaleAttempt,
    StatusChanged,
)
from coordinator.model import Change, Outcome
from coordinator.requests import Reported, Seen
from coordinator.status import HELD, Status
from coordinator.verdicts import (
    MESSAGE_LENGTH,
    check_decision,
    clean_message,
    on_decision,
    on_heartbeat,
    on_report,
)
from tests.factories import a_task

S = Status
TASK = a_task()


def report(to: Status, attempt: int | None, outcome: Outcome) -> Reported | PorchError:
    return on_report(TASK, Change(TASK.task_id, to, HELD, attempt), outcome)


class TestReports:
    def test_a_change_that_happened_is_told(self) -> None:
        answer = report(S.DONE, 1, Outcome(S.DONE, 1, changed=True))
        assert answer == Reported(TASK.key, TASK.version, S.DONE, 1, changed=True)

    def test_a_report_that_already_holds_succeeds_and_changes_nothing(self) -> None:
        answer = report(S.DONE, 1, Outcome(S.DONE, 1, changed=False))
        assert answer == Reported(TASK.key, TASK.version, S.DONE, 1, changed=False)

    def test_a_report_without_an_attempt_holds_for_the_current_one(self) -> None:
        assert isinstance(report(S.DONE, None, Outcome(S.DONE, 3, changed=False)), Reported)

    def test_a_report_delivered_again_succeeds_whatever_came_after_it(self) -> None:
        answer = report(S.DONE, 1, Outcome(S.RUNNING, 2, changed=False, repeated=True))
        assert isinstance(answer, Reported)

    def test_a_report_of_an_earlier_attempt_is_stale(self) -> None:
        answer = report(S.DONE, 1, Outcome(S.RUNNING, 2, changed=False))
        assert isinstance(answer, StaleAttempt)
        assert "attempt 2 (RUNNING)" in answer.message

    def test_a_report_of_an_earlier_attempt_is_stale_even_if_the_status_is_the_same(self) -> None:
        assert isinstance(report(S.DONE, 1, Outcome(S.DONE, 2, changed=False)), StaleAttempt)

    def test_a_report_of_an_attempt_to_come_is_refused(self) -> None:
        answer = report(S.DONE, 2, Outcome(S.CLAIMED, 1, changed=False))
        assert isinstance(answer, IllegalChange)
        assert "no attempt 2 yet" in answer.message

    def test_a_refused_change_says_what_is_allowed(self) -> None:
        answer = report(S.FAILED, None, Outcome(S.PENDING, 1, changed=False))
        assert isinstance(answer, IllegalChange)
        assert "CLAIMED (claim), CANCELLED (cancel)" in answer.cure

    def test_a_report_of_an_attempt_that_was_taken_back_is_stale(self) -> None:
        answer = report(S.DONE, 1, Outcome(S.PENDING, 1, changed=False, over=True))
        assert isinstance(answer, StaleAttempt)
        assert "PENDING again after attempt 1" in answer.message


class TestDecisions:
    def test_a_decision_on_what_is_no_longer_so_is_refused(self) -> None:
        change = Change(TASK.task_id, S.PENDING, frozenset({S.FAILED}), 1)
        outcome = Outcome(S.RUNNING, 2, changed=False)
        answer = on_decision(TASK, change, outcome)
        assert isinstance(answer, StatusChanged)
        assert "RUNNING in attempt 2 now, not FAILED in attempt 1" in answer.message

    def test_it_happens_only_from_the_status_that_was_seen(self) -> None:
        assert check_decision(TASK, Seen(S.FAILED, 1), "rerun", None, force=False) == {S.FAILED}

    @pytest.mark.parametrize("status", [S.PENDING, S.CLAIMED, S.RUNNING])
    def test_unfinished_work_cannot_be_run_again(self, status: Status) -> None:
        with pytest.raises(IllegalChange, match="cannot rerun"):
            check_decision(TASK, Seen(status, 1), "rerun", "why", force=True)

    @pytest.mark.parametrize("status", [S.DONE, S.FAILED, S.CANCELLED])
    def test_finished_work_cannot_be_cancelled(self, status: Status) -> None:
        with pytest.raises(IllegalChange, match="cannot cancel"):
            check_decision(TASK, Seen(status, 1), "cancel", "why", force=True)

    @pytest.mark.parametrize(
        ("reason", "missing"),
        [("why", "--force"), (None, "--force --reason"), (" ", "--force --reason")],
    )
    def test_done_work_is_run_again_only_with_force(self, reason: str | None, missing: str) -> None:
        with pytest.raises(ForceNeeded) as refused:
            check_decision(TASK, Seen(S.DONE, 1), "rerun", reason, force=False)
        assert refused.value.cure == f"to run it again, add {missing}"

    @pytest.mark.parametrize("reason", [None, "", "  "])
    def test_done_work_is_run_again_only_with_a_reason(self, reason: str | None) -> None:
        with pytest.raises(ReasonNeeded):
            check_decision(TASK, Seen(S.DONE, 1), "rerun", reason, force=True)

    def test_done_work_is_run_again_with_force_and_a_reason(self) -> None:
        assert check_decision(TASK, Seen(S.DONE, 1), "rerun", "new reference", force=True)


class TestHeartbeats:
    def test_a_holder_is_told_that_it_still_holds(self) -> None:
        answer = on_heartbeat(TASK, 1, Outcome(S.RUNNING, 1, changed=True))
        assert isinstance(answer, Reported)

    def test_a_late_holder_is_told_to_stop(self) -> None:
        assert isinstance(on_heartbeat(TASK, 1, Outcome(S.RUNNING, 2, changed=False)), StaleAttempt)

    def test_a_holder_from_whom_it_was_taken_back_is_told_to_stop(self) -> None:
        outcome = Outcome(S.PENDING, 1, changed=False, over=True)
        assert isinstance(on_heartbeat(TASK, 1, outcome), StaleAttempt)

    def test_a_heartbeat_of_an_attempt_to_come_is_refused(self) -> None:
        answer = on_heartbeat(TASK, 2, Outcome(S.RUNNING, 1, changed=True))
        assert isinstance(answer, IllegalChange)

    def test_the_heartbeat_of_a_task_that_nobody_holds_is_refused(self) -> None:
        answer = on_heartbeat(TASK, 1, Outcome(S.CANCELLED, 1, changed=False))
        assert isinstance(answer, IllegalChange)
        assert "nobody holds it" in answer.message


class TestMessages:
    @pytest.mark.parametrize("message", [None, ""])
    def test_no_message_is_none(self, message: str | None) -> None:
        assert clean_message(message) is None

    def test_what_postgresql_cannot_hold_is_replaced(self) -> None:
        assert clean_message("a\0b\udc80c") == "a\ufffdb?c"

    def test_the_end_of_a_long_message_is_kept(self) -> None:
        text = clean_message("x" * 100 + "y" * MESSAGE_LENGTH)
        assert text == "[100 characters left out] " + "y" * MESSAGE_LENGTH
