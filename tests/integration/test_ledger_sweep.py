"""What happens by itself: leases that run out, retries, and reports that come too late."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import Engine, create_engine, text

from coordinator.errors import BadRequest, IllegalChange, StaleAttempt
from coordinator.model import Event, Swept, Task
from coordinator.requests import Name, Policy, Report, Reported, Search
from coordinator.service import Coordinator
from coordinator.status import Status
from tests.factories import admin, caller, definitions, let_time_pass, pipeline, submit

S = Status
LEASE = 3_600


def leased(porch: Coordinator, n: int = 1, **policy: int) -> tuple[str, str, list[Task]]:
    """A pipeline with a lease, a token for it, and tasks that are claimed."""
    name, secret = pipeline(porch)
    porch.set_policy(caller(admin(porch)), name, Policy(lease=LEASE, **policy))
    submit(porch, secret, definitions(n))
    return name, secret, porch.claim(caller(secret), n)


def sweep(porch: Coordinator, **bounds: int) -> Swept:
    return porch.sweep(uuid4(), **bounds)


def say(
    porch: Coordinator, secret: str, task: Task, status: Status, **more: bool | str
) -> Reported | object:
    name = Name(task.task_input_id, attempt=task.attempt)
    return porch.update(caller(secret), [Report(name, status, **more)])[0]  # type: ignore[arg-type]


def events(porch: Coordinator, secret: str, task: Task) -> list[Event]:
    return porch.show(caller(secret), Name(task.task_input_id))[1]


def now(porch: Coordinator, secret: str, task: Task) -> Task:
    return porch.show(caller(secret), Name(task.task_input_id))[0]


class TestALease:
    def test_that_runs_is_left_alone(self, porch: Coordinator) -> None:
        _, secret, (task,) = leased(porch)
        let_time_pass(porch, LEASE - 60)
        assert sweep(porch) == Swept(0, 0, 0)
        assert now(porch, secret, task).status is S.CLAIMED

    @pytest.mark.parametrize("running", [False, True])
    def test_that_has_run_out_makes_the_task_pending_again(
        self, porch: Coordinator, running: bool
    ) -> None:
        _, secret, (task,) = leased(porch)
        if running:
            say(porch, secret, task, S.RUNNING)
        let_time_pass(porch, LEASE + 1)
        assert sweep(porch) == Swept(1, 0, 0)
        found = now(porch, secret, task)
        assert (found.status, found.attempt, found.lease_until) == (S.PENDING, 1, None)
        (again,) = porch.claim(caller(secret), 1)
        assert (again.key, again.attempt) == (task.key, 2)

    def test_that_has_run_out_leaves_an_event_that_says_so(self, porch: Coordinator) -> None:
        _, secret, (task,) = leased(porch)
        let_time_pass(porch, LEASE + 1)
        sweep(porch)
        last = events(porch, secret, task)[-1]
        assert (last.from_status, last.to_status, last.attempt) == (S.CLAIMED, S.PENDING, 1)
        assert last.token is None
        assert last.message is not None
        assert last.message.startswith("lease ran out at 20")

    def test_that_has_run_out_in_the_last_attempt_makes_the_task_failed(
        self, porch: Coordinator
    ) -> None:
        _, secret, (task,) = leased(porch, max_attempts=2)
        let_time_pass(porch, LEASE + 1)
        assert sweep(porch) == Swept(1, 0, 0)
        porch.claim(caller(secret), 1)
        let_time_pass(porch, LEASE + 1)
        assert sweep(porch) == Swept(0, 1, 0)
        last = events(porch, secret, task)[-1]
        assert last.to_status is S.FAILED
        assert (last.message or "").endswith("in the last of 2 attempts")

    @pytest.mark.parametrize("beat", ["heartbeat", "running", "running again"])
    def test_runs_from_the_last_sign_of_life(self, porch: Coordinator, beat: str) -> None:
        _, secret, (task,) = leased(porch)
        if beat == "running again":
            say(porch, secret, task, S.RUNNING)
        let_time_pass(porch, LEASE - 60)
        if beat == "heartbeat":
            porch.heartbeat(caller(secret), [Name(task.task_input_id, attempt=1)])
        else:
            say(porch, secret, task, S.RUNNING)
        let_time_pass(porch, LEASE - 60)
        assert sweep(porch) == Swept(0, 0, 0)

    def test_that_a_late_copy_of_an_old_report_cannot_stretch(self, porch: Coordinator) -> None:
        _, secret, (task,) = leased(porch)
        who = caller(secret)
        sent = [Report(Name(task.task_input_id, attempt=1), S.RUNNING)]
        porch.update(who, sent)
        let_time_pass(porch, LEASE + 1)
        porch.update(who, sent)
        assert sweep(porch) == Swept(1, 0, 0)

    def test_is_not_there_where_the_pipeline_has_none(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(1))
        (task,) = porch.claim(caller(secret), 1)
        let_time_pass(porch, 10 * 365 * 86_400)
        assert sweep(porch) == Swept(0, 0, 0)
        assert now(porch, secret, task).status is S.CLAIMED

    def test_ends_with_the_policy(self, porch: Coordinator) -> None:
        name, secret, (task,) = leased(porch)
        porch.set_policy(caller(admin(porch)), name, Policy(lease=None))
        let_time_pass(porch, LEASE + 1)
        assert sweep(porch) == Swept(0, 0, 0)
        assert now(porch, secret, task).lease_until is None

    def test_that_ended_work_had_is_none(self, porch: Coordinator) -> None:
        _, secret, (task,) = leased(porch)
        say(porch, secret, task, S.DONE)
        let_time_pass(porch, LEASE + 1)
        assert sweep(porch) == Swept(0, 0, 0)
        assert now(porch, secret, task).status is S.DONE


class TestASweep:
    def test_is_bounded(self, porch: Coordinator) -> None:
        leased(porch, 5)
        let_time_pass(porch, LEASE + 1)
        assert [sweep(porch, most=2).taken_back for _ in range(4)] == [2, 2, 1, 0]

    @pytest.fixture
    def other(self, database_url: str) -> Iterator[Engine]:
        engine = create_engine(database_url)
        yield engine
        engine.dispose()

    def test_passes_over_what_somebody_is_changing(self, porch: Coordinator, other: Engine) -> None:
        leased(porch, 2)
        let_time_pass(porch, LEASE + 1)
        with other.begin() as connection:
            connection.execute(text("SELECT FROM porch.task ORDER BY task_id LIMIT 1 FOR UPDATE"))
            assert sweep(porch).taken_back == 1
        assert sweep(porch).taken_back == 1

    def test_reads_what_is_due_and_not_all_tasks(self, porch: Coordinator) -> None:
        leased(porch)
        with porch.ledger.engine.begin() as connection:  # type: ignore[attr-defined]
            connection.execute(text("SET LOCAL enable_seqscan = off"))
            for column, condition in (
                ("lease", "lease_until < now()"),
                ("retry", "retry_at < now()"),
            ):
                plan = connection.execute(
                    text(
                        f"EXPLAIN SELECT task_id FROM porch.task WHERE {condition}"
                        f" ORDER BY {condition.split()[0]} LIMIT 5 FOR NO KEY UPDATE SKIP LOCKED"
                    )
                )
                lines = "\n".join(line for (line,) in plan)
                assert f"Index Scan using task_{column}" in lines


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

    def test_of_a_cancelled_task_is_refused_as_what_it_is(self, porch: Coordinator) -> None:
        _, secret, (task,) = leased(porch, max_attempts=1)
        let_time_pass(porch, LEASE + 1)
        sweep(porch)
        assert isinstance(say(porch, secret, task, S.DONE), IllegalChange)


class TestARetry:
    def failing(self, porch: Coordinator, **more: bool) -> tuple[str, Task]:
        """A token, and a task that failed in a pipeline that tries three times."""
        name, secret = pipeline(porch)
        porch.set_policy(caller(admin(porch)), name, Policy(max_attempts=3, retry=600))
        submit(porch, secret, definitions(1))
        (task,) = porch.claim(caller(secret), 1)
        say(porch, secret, task, S.FAILED, **more)
        return secret, task

    def test_comes_after_the_backoff(self, porch: Coordinator) -> None:
        secret, task = self.failing(porch)
        assert now(porch, secret, task).status is S.FAILED
        assert sweep(porch) == Swept(0, 0, 0)
        let_time_pass(porch, 600 * 1.25)
        assert sweep(porch) == Swept(0, 0, 1)
        last = events(porch, secret, task)[-1]
        assert (last.from_status, last.to_status, last.attempt) == (S.FAILED, S.PENDING, 1)
        assert last.message == "tried again: attempt 2 of 3"

    def test_waits_twice_as_long_each_time_give_or_take_a_quarter(self, porch: Coordinator) -> None:
        name, secret = pipeline(porch)
        porch.set_policy(caller(admin(porch)), name, Policy(max_attempts=100, retry=600))
        submit(porch, secret, definitions(50))
        waits: dict[int, set[float]] = {}
        for attempt in (1, 2, 3):
            for task in porch.claim(caller(secret), 50):
                say(porch, secret, task, S.FAILED)
                failed = now(porch, secret, task)
                assert failed.retry_at is not None
                wait = (failed.retry_at - failed.updated_at).total_seconds()
                waits.setdefault(attempt, set()).add(round(wait, 3))
            let_time_pass(porch, 100_000)
            sweep(porch)
        for attempt, found in waits.items():
            usual = 600 * 2 ** (attempt - 1)
            assert 0.75 * usual <= min(found) < max(found) <= 1.25 * usual
            assert len(found) > 40

    def test_ends_when_the_attempts_are_used_up(self, porch: Coordinator) -> None:
        secret, task = self.failing(porch)
        for attempt in (2, 3):
            let_time_pass(porch, 100_000)
            sweep(porch)
            (again,) = porch.claim(caller(secret), 1)
            assert again.attempt == attempt
            say(porch, secret, again, S.FAILED)
        let_time_pass(porch, 100_000)
        assert sweep(porch) == Swept(0, 0, 0)
        assert now(porch, secret, task).retry_at is None

    def test_is_not_for_a_failure_that_is_permanent(self, porch: Coordinator) -> None:
        secret, task = self.failing(porch, permanent=True)
        let_time_pass(porch, 100_000)
        assert sweep(porch) == Swept(0, 0, 0)
        assert now(porch, secret, task).status is S.FAILED

    def test_is_off_unless_set(self, porch: Coordinator) -> None:
        _, secret, (task,) = leased(porch, max_attempts=3)
        say(porch, secret, task, S.FAILED)
        let_time_pass(porch, 10 * 365 * 86_400)
        assert sweep(porch) == Swept(0, 0, 0)

    def test_ends_with_the_policy(self, porch: Coordinator) -> None:
        secret, task = self.failing(porch)
        name = now(porch, secret, task).pipeline
        porch.set_policy(caller(admin(porch)), name, Policy(retry=None))
        let_time_pass(porch, 100_000)
        assert sweep(porch) == Swept(0, 0, 0)

    def test_without_a_limit_is_refused(self, porch: Coordinator) -> None:
        name, _ = pipeline(porch)
        boss = admin(porch)
        with pytest.raises(BadRequest, match="for ever"):
            porch.set_policy(caller(boss), name, Policy(retry=60))
        porch.set_policy(caller(boss), name, Policy(retry=60, max_attempts=2))
        with pytest.raises(BadRequest, match="for ever"):
            porch.set_policy(caller(boss), name, Policy(max_attempts=None))


class TestStaleWork:
    def stale(self, porch: Coordinator, secret: str, seconds: int = 0) -> int:
        return len(porch.tasks(caller(secret), Search(stale=seconds), after=0, limit=10))

    def test_is_held_without_a_lease_and_not_heard_of(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(2))
        porch.claim(caller(secret), 1)
        assert (self.stale(porch, secret), self.stale(porch, secret, 3_600)) == (1, 0)
        let_time_pass(porch, 3_601)
        assert self.stale(porch, secret, 3_600) == 1

    def test_is_not_what_a_lease_vouches_for(self, porch: Coordinator) -> None:
        _, secret, _ = leased(porch)
        assert self.stale(porch, secret) == 0
        let_time_pass(porch, LEASE + 1)
        assert self.stale(porch, secret) == 1


class TestMessages:
    @pytest.mark.parametrize(
        ("pattern", "found"),
        [
            ("No space", 1),
            ("no SPACE left", 1),
            ("bgzip%device", 1),
            ("exit 1%2", 0),
            ("100_", 1),
            ("1000", 0),
            ("\\", 0),
            ("nothing of the kind", 0),
        ],
    )
    def test_of_the_last_change_are_searched(
        self, porch: Coordinator, pattern: str, found: int
    ) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(2))
        task, _ = porch.claim(caller(secret), 2)
        say(porch, secret, task, S.FAILED, message="exit 1: bgzip: No space left on device (100_)")
        assert sum(porch.count(caller(secret), Search(message=pattern)).values()) == found


class TestAJob:
    def test_is_shown_with_what_it_claimed(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(1))
        (task,) = porch.claim(caller(secret), 1, job_id="12345[7]")
        assert task.job_id == "12345[7]"
        assert events(porch, secret, task)[-1].job_id == "12345[7]"

    def test_may_be_told_with_a_report(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(1))
        (task,) = porch.claim(caller(secret), 1)
        say(porch, secret, task, S.RUNNING, job_id="99")
        say(porch, secret, task, S.FAILED)
        assert now(porch, secret, task).job_id == "99"

    def test_is_that_of_the_last_claim(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(1))
        (task,) = porch.claim(caller(secret), 1, job_id="1")
        porch.release(caller(secret), [Name(task.task_input_id)])
        (again,) = porch.claim(caller(secret), 1)
        assert again.job_id is None


def test_time_is_the_databases(porch: Coordinator) -> None:
    """``let_time_pass`` itself: what was a while ago is longer ago."""
    _, secret, (task,) = leased(porch)
    let_time_pass(porch, 100)
    found = now(porch, secret, task)
    assert found.lease_until is not None
    assert task.lease_until is not None
    assert task.lease_until - found.lease_until == timedelta(seconds=100)
    assert found.lease_until > datetime.now(UTC)
