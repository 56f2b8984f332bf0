"""Reporting, giving back, running again and cancelling: each change once, and only as allowed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from coordinator.errors import (
    BadRequest,
    ForceNeeded,
    IllegalChange,
    PorchError,
    StaleAttempt,
    StatusChanged,
    UnknownTask,
)
from coordinator.model import Event, Task
from coordinator.requests import Decision, Name, Policy, Report, Reported, Search, Seen
from coordinator.service import Coordinator
from coordinator.status import Status
from tests.factories import (
    admin,
    caller,
    cancel,
    definition,
    definitions,
    finish,
    pipeline,
    rerun,
    submit,
)

S = Status


def claimed(porch: Coordinator, secret: str) -> Task:
    """A task of our own, claimed."""
    submit(porch, secret, definitions(1))
    (task,) = porch.claim(caller(secret), 1)
    return task


def report(
    porch: Coordinator, secret: str, task: Task, status: Status, message: str | None = None
) -> Reported | PorchError:
    name = Name(task.task_input_id, attempt=task.attempt)
    return porch.update(caller(secret), [Report(name, status, message)])[0]


def events(porch: Coordinator, secret: str, task: Task) -> list[Event]:
    return porch.show(caller(secret), Name(task.task_input_id))[1]


def path(porch: Coordinator, secret: str, task: Task) -> list[str]:
    return [e.to_status.value for e in events(porch, secret, task) if not e.refused]


def refused(porch: Coordinator, secret: str, task: Task) -> list[tuple[str, int, str | None]]:
    """What was reported too late: status, attempt, message."""
    found = events(porch, secret, task)
    return [(e.to_status.value, e.attempt, e.message) for e in found if e.refused]


class TestReports:
    def test_a_task_goes_from_claimed_to_done(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        task = claimed(porch, secret)
        report(porch, secret, task, S.RUNNING)
        report(porch, secret, task, S.DONE)
        assert path(porch, secret, task) == ["PENDING", "CLAIMED", "RUNNING", "DONE"]

    def test_running_need_not_be_reported(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        task = claimed(porch, secret)
        answer = report(porch, secret, task, S.FAILED)
        assert isinstance(answer, Reported)
        assert (answer.status, answer.attempt, answer.changed) == (S.FAILED, 1, True)

    def test_the_message_is_kept_with_the_event(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        task = claimed(porch, secret)
        report(porch, secret, task, S.FAILED, "exit 1: disk\0 full \udc80")
        assert events(porch, secret, task)[-1].message == "exit 1: disk\ufffd full ?"

    def test_a_report_that_already_holds_adds_no_event(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        task = claimed(porch, secret)
        report(porch, secret, task, S.DONE)
        answer = report(porch, secret, task, S.DONE)
        assert isinstance(answer, Reported)
        assert not answer.changed
        assert path(porch, secret, task) == ["PENDING", "CLAIMED", "DONE"]

    def test_several_reports_of_one_task_are_made_in_order(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        task = claimed(porch, secret)
        name = Name(task.task_input_id, attempt=1)
        sent = [Report(name, S.RUNNING), Report(name, S.DONE), Report(name, S.FAILED)]
        *good, bad = porch.update(caller(secret), sent)
        assert all(isinstance(answer, Reported) for answer in good)
        assert isinstance(bad, IllegalChange)
        assert path(porch, secret, task) == ["PENDING", "CLAIMED", "RUNNING", "DONE"]

    def test_a_stale_report_in_the_same_message_is_refused(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        task = claimed(porch, secret)
        porch.release(caller(secret), [Name(task.task_input_id)])
        porch.claim(caller(secret), 1)
        sent = [Report(Name(task.task_input_id, attempt=n), S.DONE) for n in (2, 1)]
        good, late = porch.update(caller(secret), sent)
        assert isinstance(good, Reported)
        assert isinstance(late, StaleAttempt)

    def test_one_bad_report_does_not_keep_the_others_out(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        task = claimed(porch, secret)
        sent = [
            Report(Name("ffff" * 16), S.DONE),
            Report(Name("not a key"), S.DONE),
            Report(Name(task.task_input_id), S.CANCELLED),
            Report(Name(task.task_input_id), S.DONE),
        ]
        unknown, unreadable, unreportable, good = porch.update(caller(secret), sent)
        assert isinstance(unknown, UnknownTask)
        assert isinstance(unreadable, UnknownTask)
        assert isinstance(unreportable, BadRequest)
        assert isinstance(good, Reported)

    def test_a_report_of_an_earlier_attempt_changes_nothing(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        late = claimed(porch, secret)
        porch.release(caller(secret), [Name(late.task_input_id)])
        porch.claim(caller(secret), 1)
        before = path(porch, secret, late)
        assert isinstance(report(porch, secret, late, S.DONE), StaleAttempt)
        assert path(porch, secret, late) == before

    def test_a_report_on_a_pending_task_is_refused(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        (key,) = submit(porch, secret, definitions(1))
        (answer,) = porch.update(caller(secret), [Report(Name(key), S.DONE)])
        assert isinstance(answer, IllegalChange)

    def test_a_prefix_names_a_task(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        task = claimed(porch, secret)
        (answer,) = porch.update(caller(secret), [Report(Name(task.task_input_id[:12]), S.DONE)])
        assert isinstance(answer, Reported)

    def test_a_task_of_another_pipeline_is_unknown(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        _, other = pipeline(porch)
        task = claimed(porch, secret)
        assert isinstance(report(porch, other, task, S.DONE), UnknownTask)

    def test_of_one_input_in_many_versions_the_named_one_is_meant(self, porch: Coordinator) -> None:
        versions = [f"1.{n}" for n in range(30)]
        _, secret = pipeline(porch, *versions)
        given = definition()
        for version in versions:
            submit(porch, secret, [given], version=version)
        tasks = porch.claim(caller(secret), 30)
        sent = [Report(Name(t.task_input_id, t.version, t.attempt), S.DONE) for t in tasks]
        answers = porch.update(caller(secret), sent)
        assert [getattr(answer, "version", answer) for answer in answers] == versions


class TestTheSameMessageAgain:
    def test_changes_nothing_and_is_answered_the_same_way(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        task = claimed(porch, secret)
        who, sent = caller(secret), [Report(Name(task.task_input_id, attempt=1), S.RUNNING)]
        porch.update(who, sent)
        report(porch, secret, task, S.DONE)
        before = path(porch, secret, task)
        (again,) = porch.update(who, sent)
        assert isinstance(again, Reported)
        assert path(porch, secret, task) == before

    def test_of_a_release_does_not_take_the_task_from_its_next_holder(
        self, porch: Coordinator
    ) -> None:
        _, secret = pipeline(porch)
        task = claimed(porch, secret)
        who = caller(secret)
        porch.release(who, [Name(task.task_input_id)])
        porch.claim(caller(secret), 1)
        porch.release(who, [Name(task.task_input_id)])
        assert porch.show(caller(secret), Name(task.task_input_id))[0].status is S.CLAIMED

    def test_of_a_rerun_does_not_run_it_a_third_time(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(1))
        key = finish(porch, secret, S.FAILED)
        who = caller(secret)
        rerun(porch, who, Name(key), Seen(S.FAILED, 1))
        finish(porch, secret, S.FAILED)
        assert not rerun(porch, who, Name(key), Seen(S.FAILED, 1)).changed
        assert porch.show(caller(secret), Name(key))[0].status is S.FAILED


class TestDecisions:
    @pytest.mark.parametrize("status", [S.FAILED, S.CANCELLED])
    def test_finished_work_runs_again(self, porch: Coordinator, status: Status) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(1))
        key = finish(porch, secret, status)
        again = rerun(porch, caller(secret), Name(key), Seen(status, 1), reason="new disk")
        assert (again.status, again.changed) == (S.PENDING, True)

    def test_done_work_runs_again_only_if_said_twice(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(1))
        key = finish(porch, secret, S.DONE)
        with pytest.raises(ForceNeeded):
            rerun(porch, caller(secret), Name(key), Seen(S.DONE, 1))
        again = rerun(porch, caller(secret), Name(key), Seen(S.DONE, 1), reason="x", force=True)
        assert again.status is S.PENDING

    def test_the_reason_is_kept(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        (key,) = submit(porch, secret, definitions(1))
        cancel(porch, caller(secret), Name(key), Seen(S.PENDING, 0), reason="wrong sample")
        _, found = porch.show(caller(secret), Name(key))
        assert found[-1].message == "wrong sample"

    def test_a_decision_on_another_status_than_seen_is_refused(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        task = claimed(porch, secret)
        with pytest.raises(StatusChanged):
            cancel(porch, caller(secret), Name(task.task_input_id), Seen(S.PENDING, 0))

    def test_a_decision_on_another_attempt_than_seen_is_refused(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(1))
        key = finish(porch, secret, S.FAILED)
        rerun(porch, caller(secret), Name(key), Seen(S.FAILED, 1))
        finish(porch, secret, S.FAILED)
        with pytest.raises(StatusChanged):
            rerun(porch, caller(secret), Name(key), Seen(S.FAILED, 1))

    def test_cancelled_work_is_not_handed_out(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        (key,) = submit(porch, secret, definitions(1))
        cancel(porch, caller(secret), Name(key), Seen(S.PENDING, 0))
        assert porch.claim(caller(secret), 1) == []

    def test_the_holder_of_cancelled_work_can_report_no_more(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        task = claimed(porch, secret)
        cancel(porch, caller(secret), Name(task.task_input_id), Seen(S.CLAIMED, 1))
        assert isinstance(report(porch, secret, task, S.DONE), IllegalChange)

    def test_of_a_release_leaves_what_was_started_since(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        task = claimed(porch, secret)
        report(porch, secret, task, S.RUNNING)
        decision = Decision(Name(task.task_input_id), Seen(S.CLAIMED, 1))
        (answer,) = porch.release_seen(caller(secret), [decision])
        assert isinstance(answer, StatusChanged)
        assert path(porch, secret, task) == ["PENDING", "CLAIMED", "RUNNING"]

    def test_of_a_release_leaves_a_later_holder_and_no_trace(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        task = claimed(porch, secret)
        decision = Decision(Name(task.task_input_id), Seen(S.CLAIMED, 1))
        (first,) = porch.release_seen(caller(secret), [decision], reason="node is gone")
        assert isinstance(first, Reported)
        assert first.changed
        assert events(porch, secret, task)[-1].message == "node is gone"
        porch.claim(caller(secret), 1)
        (second,) = porch.release_seen(caller(secret), [decision])
        assert isinstance(second, StatusChanged)
        assert refused(porch, secret, task) == []

    @pytest.mark.parametrize("status", [S.PENDING, S.DONE, S.FAILED])
    def test_of_a_release_is_for_what_somebody_holds(
        self, porch: Coordinator, status: Status
    ) -> None:
        _, secret = pipeline(porch)
        (key,) = submit(porch, secret, definitions(1))
        decision = Decision(Name(key), Seen(status, 0))
        (answer,) = porch.release_seen(caller(secret), [decision])
        assert isinstance(answer, IllegalChange)


class TestHeartbeats:
    @pytest.fixture
    def leased(self, porch: Coordinator) -> tuple[str, Task]:
        name, secret = pipeline(porch)
        porch.set_policy(caller(admin(porch)), name, Policy(lease=60))
        task = claimed(porch, secret)
        porch.set_policy(caller(admin(porch)), name, Policy(lease=3_600))
        return secret, task

    def test_a_heartbeat_extends_the_lease_and_adds_no_event(
        self, porch: Coordinator, leased: tuple[str, Task]
    ) -> None:
        secret, task = leased
        before = path(porch, secret, task)
        porch.heartbeat(caller(secret), [Name(task.task_input_id, attempt=1)])
        now, _ = porch.show(caller(secret), Name(task.task_input_id))
        assert now.lease_until is not None
        assert now.lease_until - datetime.now(UTC) > timedelta(minutes=55)
        assert path(porch, secret, task) == before

    def test_signs_of_life_are_told_the_lease_that_holds_now(
        self, porch: Coordinator, leased: tuple[str, Task]
    ) -> None:
        secret, task = leased
        (beat,) = porch.heartbeat(caller(secret), [Name(task.task_input_id, attempt=1)])
        running = report(porch, secret, task, S.RUNNING)
        assert isinstance(beat, Reported)
        assert isinstance(running, Reported)
        assert (beat.lease, running.lease) == (3_600, 3_600)

    def test_an_end_is_told_of_no_lease(self, porch: Coordinator, leased: tuple[str, Task]) -> None:
        secret, task = leased
        done = report(porch, secret, task, S.DONE)
        assert isinstance(done, Reported)
        assert done.lease is None

    def test_a_late_heartbeat_extends_nothing(
        self, porch: Coordinator, leased: tuple[str, Task]
    ) -> None:
        secret, task = leased
        porch.release(caller(secret), [Name(task.task_input_id)])
        porch.claim(caller(secret), 1)
        before, _ = porch.show(caller(secret), Name(task.task_input_id))
        (answer,) = porch.heartbeat(caller(secret), [Name(task.task_input_id, attempt=1)])
        assert isinstance(answer, StaleAttempt)
        assert porch.show(caller(secret), Name(task.task_input_id))[0] == before

    def test_a_late_heartbeat_beside_a_good_one_does_no_harm(
        self, porch: Coordinator, leased: tuple[str, Task]
    ) -> None:
        secret, task = leased
        porch.release(caller(secret), [Name(task.task_input_id)])
        porch.claim(caller(secret), 1)
        names = [Name(task.task_input_id, attempt=n) for n in (2, 1)]
        good, late = porch.heartbeat(caller(secret), names)
        assert isinstance(good, Reported)
        assert isinstance(late, StaleAttempt)

    def test_the_heartbeat_of_finished_work_is_refused(
        self, porch: Coordinator, leased: tuple[str, Task]
    ) -> None:
        secret, task = leased
        report(porch, secret, task, S.DONE)
        (answer,) = porch.heartbeat(caller(secret), [Name(task.task_input_id, attempt=1)])
        assert isinstance(answer, IllegalChange)

    def test_finished_work_has_no_lease(self, porch: Coordinator, leased: tuple[str, Task]) -> None:
        secret, task = leased
        report(porch, secret, task, S.DONE)
        assert porch.show(caller(secret), Name(task.task_input_id))[0].lease_until is None


class TestLooking:
    def test_pages_have_every_task_once_in_order(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        given = definitions(7)
        submit(porch, secret, given)
        seen: list[Task] = []
        while page := porch.tasks(
            caller(secret), Search(), after=seen[-1].task_id if seen else 0, limit=3
        ):
            seen.extend(page)
        assert [task.task_input for task in seen] == given

    def test_a_search_narrows(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, [{"run": "ERR1_%"}, {"run": "ERR12"}])
        finish(porch, secret, S.DONE)
        done = Search(statuses=frozenset({S.DONE}))
        (task,) = porch.tasks(caller(secret), done, after=0, limit=9)
        assert task.task_input == {"run": "ERR1_%"}
        for words in ("err1_%", '{ "run": "err1_%" }'):
            assert porch.count(caller(secret), Search(text=words)) == {"DONE": 1}
        assert porch.count(caller(secret), Search(since=datetime.now(UTC) + timedelta(1))) == {}

    def test_a_time_without_a_zone_is_refused(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        with pytest.raises(BadRequest, match="time zone"):
            porch.count(caller(secret), Search(since=datetime(2026, 1, 1)))
