"""What happens by itself: leases that run out, and retries."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import Engine, create_engine, text

from coordinator.errors import BadRequest
from coordinator.model import Swept, Task
from coordinator.requests import Name, Policy, Report, Reported
from coordinator.service import Coordinator
from coordinator.status import Status
from tests.factories import admin, caller, definitions, let_time_pass, pipeline, submit
from tests.leased import LEASE, events, leased, now, say, sweep

S = Status


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
    def test_goes_on_until_nothing_is_due(self, porch: Coordinator) -> None:
        leased(porch, 5)
        let_time_pass(porch, LEASE + 1)
        assert sweep(porch, most=2) == Swept(5, 0, 0)

    def test_is_done_in_rounds_that_are_bounded(self, porch: Coordinator) -> None:
        leased(porch, 5)
        let_time_pass(porch, LEASE + 1)
        rounds = [porch.ledger.sweep(uuid4(), 2) for _ in range(3)]
        assert [(one.taken_back, one.more) for one in rounds] == [(2, True), (2, True), (1, False)]

    def test_takes_back_one_task_again_and_again(self, porch: Coordinator) -> None:
        _, secret, (task,) = leased(porch)
        for attempt in (2, 3):
            let_time_pass(porch, LEASE + 1)
            assert sweep(porch) == Swept(1, 0, 0)
            (again,) = porch.claim(caller(secret), 1)
            assert (again.key, again.attempt) == (task.key, attempt)

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

    def test_goes_by_the_limit_of_now(self, porch: Coordinator) -> None:
        secret, task = self.failing(porch)
        name = now(porch, secret, task).pipeline
        porch.set_policy(caller(admin(porch)), name, Policy(max_attempts=1))
        let_time_pass(porch, 100_000)
        assert sweep(porch) == Swept(0, 0, 0)
        found = now(porch, secret, task)
        assert (found.status, found.retry_at) == (S.FAILED, None)

    def test_is_called_off_by_a_failure_that_is_permanent_after_all(
        self, porch: Coordinator
    ) -> None:
        secret, task = self.failing(porch)
        answer = say(porch, secret, task, S.FAILED, permanent=True)
        assert isinstance(answer, Reported)
        assert not answer.changed
        assert now(porch, secret, task).retry_at is None

    def test_without_a_limit_is_refused(self, porch: Coordinator) -> None:
        name, _ = pipeline(porch)
        boss = admin(porch)
        with pytest.raises(BadRequest, match="for ever"):
            porch.set_policy(caller(boss), name, Policy(retry=60))
        porch.set_policy(caller(boss), name, Policy(retry=60, max_attempts=2))
        with pytest.raises(BadRequest, match="for ever"):
            porch.set_policy(caller(boss), name, Policy(max_attempts=None))


def test_time_is_the_databases(porch: Coordinator) -> None:
    """``let_time_pass`` itself: what was a while ago is longer ago."""
    _, secret, (task,) = leased(porch)
    let_time_pass(porch, 100)
    found = now(porch, secret, task)
    assert found.lease_until is not None
    assert task.lease_until is not None
    assert task.lease_until - found.lease_until == timedelta(seconds=100)
    assert found.lease_until > datetime.now(UTC)
