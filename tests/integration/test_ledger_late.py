"""Reports that come too late: refused, and noted."""

from __future__ import annotations

import pytest

from coordinator.errors import IllegalChange, StaleAttempt
from coordinator.model import Task
from coordinator.requests import Name, Report, Reported
from coordinator.service import Coordinator
from coordinator.status import Status
from tests.factories import caller, let_time_pass
from tests.leased import LEASE, events, leased, now, say, sweep

S = Status


class TestALateReport:
    @pytest.fixture
    def overtaken(self, porch: Coordinator) -> tuple[str, Task]:
        """A token, and a task as its first holder has it, which a second one holds by now."""
        _, secret, (task,) = leased(porch)
        let_time_pass(porch, LEASE + 1)
        sweep(porch)
        porch.claim(caller(secret), 1)
        return secret, task

    @pytest.mark.parametrize("status", [S.RUNNING, S.DONE, S.FAILED])
    def test_changes_nothing_and_is_noted(
        self, porch: Coordinator, overtaken: tuple[str, Task], status: Status
    ) -> None:
        secret, task = overtaken
        before = now(porch, secret, task)
        assert isinstance(say(porch, secret, task, status, message="done at last"), StaleAttempt)
        assert now(porch, secret, task) == before
        last = events(porch, secret, task)[-1]
        assert last.refused
        assert (last.to_status, last.attempt, last.message) == (status, 1, "done at last")
        assert last.from_status is S.CLAIMED

    def test_may_be_a_heartbeat(self, porch: Coordinator, overtaken: tuple[str, Task]) -> None:
        secret, task = overtaken
        (answer,) = porch.heartbeat(caller(secret), [Name(task.task_input_id, attempt=1)])
        assert isinstance(answer, StaleAttempt)
        last = events(porch, secret, task)[-1]
        assert (last.refused, last.attempt, last.message) == (True, 1, "heartbeat")

    def test_may_be_a_release(self, porch: Coordinator, overtaken: tuple[str, Task]) -> None:
        secret, task = overtaken
        (answer,) = porch.release(caller(secret), [Name(task.task_input_id, attempt=1)])
        assert isinstance(answer, StaleAttempt)
        assert now(porch, secret, task).status is S.CLAIMED
        assert events(porch, secret, task)[-1].refused

    def test_is_late_also_before_somebody_else_has_the_task(self, porch: Coordinator) -> None:
        _, secret, (task,) = leased(porch)
        let_time_pass(porch, LEASE + 1)
        sweep(porch)
        assert isinstance(say(porch, secret, task, S.DONE), StaleAttempt)
        assert now(porch, secret, task).status is S.PENDING
        assert events(porch, secret, task)[-1].refused

    def test_is_noted_once_an_hour(self, porch: Coordinator, overtaken: tuple[str, Task]) -> None:
        secret, task = overtaken

        def noted() -> int:
            return sum(event.refused for event in events(porch, secret, task))

        for _ in range(5):
            say(porch, secret, task, S.RUNNING)
            porch.heartbeat(caller(secret), [Name(task.task_input_id, attempt=1)])
        assert noted() == 1
        let_time_pass(porch, 3_700)
        say(porch, secret, task, S.RUNNING)
        assert noted() == 2

    def test_delivered_twice_is_noted_once(
        self, porch: Coordinator, overtaken: tuple[str, Task]
    ) -> None:
        secret, task = overtaken
        who, sent = caller(secret), [Report(Name(task.task_input_id, attempt=1), S.DONE)]
        porch.update(who, sent)
        let_time_pass(porch, 3_700)
        assert isinstance(porch.update(who, sent)[0], StaleAttempt)
        assert sum(event.refused for event in events(porch, secret, task)) == 1

    def test_does_not_stand_in_for_the_same_report_of_the_holder(
        self, porch: Coordinator, overtaken: tuple[str, Task]
    ) -> None:
        secret, task = overtaken
        names = [Name(task.task_input_id, attempt=n) for n in (1, 2)]
        late, good = porch.update(caller(secret), [Report(name, S.DONE) for name in names])
        assert isinstance(late, StaleAttempt)
        assert isinstance(good, Reported)
        assert now(porch, secret, task).status is S.DONE

    @pytest.mark.parametrize("status", [S.DONE, S.FAILED])
    def test_may_be_of_the_last_attempt(self, porch: Coordinator, status: Status) -> None:
        _, secret, (task,) = leased(porch, max_attempts=1)
        let_time_pass(porch, LEASE + 1)
        sweep(porch)
        assert isinstance(say(porch, secret, task, status, message="at last"), StaleAttempt)
        assert now(porch, secret, task).status is S.FAILED
        last = events(porch, secret, task)[-1]
        assert (last.refused, last.to_status, last.message) == (True, status, "at last")

    def test_is_none_where_the_holder_itself_has_said_how_it_ended(
        self, porch: Coordinator
    ) -> None:
        _, secret, (task,) = leased(porch)
        say(porch, secret, task, S.FAILED)
        assert isinstance(say(porch, secret, task, S.DONE), IllegalChange)
        assert not events(porch, secret, task)[-1].refused
