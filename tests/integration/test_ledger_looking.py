"""What operators look for: stale work, messages, jobs."""

from __future__ import annotations

import pytest

from coordinator.requests import Name, Search
from coordinator.service import Coordinator
from coordinator.status import Status
from tests.factories import caller, definitions, let_time_pass, pipeline, submit
from tests.leased import LEASE, events, leased, now, say

S = Status


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
