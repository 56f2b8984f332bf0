"""Claiming: each task to one caller, in order."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest
from sqlalchemy import text

from coordinator.errors import BadRequest, Forbidden, UnknownVersion
from coordinator.model import Task
from coordinator.requests import Caller, Name, Policy, Report, Seen
from coordinator.service import Coordinator
from coordinator.status import Status
from tests.factories import admin, caller, definition, definitions, finish, pipeline, rerun, submit


def runs(tasks: list[Task]) -> list[int]:
    return [task.task_input["run"] for task in tasks]


def test_a_claim_hands_out_the_oldest_first(porch: Coordinator) -> None:
    _, secret = pipeline(porch)
    given = definitions(6)
    submit(porch, secret, given[:3])
    submit(porch, secret, given[3:])
    assert runs(porch.claim(caller(secret), 4)) == [d["run"] for d in given[:4]]


def test_a_claim_hands_out_the_highest_priority_first(porch: Coordinator) -> None:
    _, secret = pipeline(porch)
    for run, priority in ((1, -5), (2, 0), (3, 100), (4, 0)):
        submit(porch, secret, [{"run": run}], priority=priority)
    assert runs(porch.claim(caller(secret), 4)) == [3, 2, 4, 1]


def test_what_is_claimed_is_not_handed_out_again(porch: Coordinator) -> None:
    _, secret = pipeline(porch)
    submit(porch, secret, definitions(3))
    first, second = porch.claim(caller(secret), 2), porch.claim(caller(secret), 2)
    assert len(first) == 2
    assert len(second) == 1
    assert not {task.key for task in first} & {task.key for task in second}


def test_a_claim_of_an_empty_queue_gets_nothing(porch: Coordinator) -> None:
    _, secret = pipeline(porch)
    assert porch.claim(caller(secret), 5) == []


def test_a_claim_counts_an_attempt_and_has_an_event(porch: Coordinator) -> None:
    _, secret = pipeline(porch)
    submit(porch, secret, definitions(1))
    (task,) = porch.claim(caller(secret), 1)
    assert (task.status, task.attempt) == (Status.CLAIMED, 1)
    _, events = porch.show(caller(secret), Name(task.task_input_id))
    last = events[-1]
    assert (last.from_status, last.to_status, last.attempt) == ("PENDING", "CLAIMED", 1)


def test_each_later_claim_counts_one_attempt_more(porch: Coordinator) -> None:
    _, secret = pipeline(porch)
    submit(porch, secret, definitions(1))
    for attempt in (1, 2, 3):
        (task,) = porch.claim(caller(secret), 1)
        assert task.attempt == attempt
        porch.release(caller(secret), [Name(task.task_input_id, attempt=attempt)])


def test_a_claim_may_be_of_one_version(porch: Coordinator) -> None:
    _, secret = pipeline(porch, "1.0", "2.0")
    given = definition()
    submit(porch, secret, [given], version="1.0")
    submit(porch, secret, [given], version="2.0")
    assert [t.version for t in porch.claim(caller(secret), 9, version="2.0")] == ["2.0"]
    assert [t.version for t in porch.claim(caller(secret), 9)] == ["1.0"]


def test_a_claim_of_an_unknown_version_is_refused(porch: Coordinator) -> None:
    _, secret = pipeline(porch)
    with pytest.raises(UnknownVersion):
        porch.claim(caller(secret), 1, version="9")


def test_a_claim_reads_only_its_pipeline(porch: Coordinator) -> None:
    _, first = pipeline(porch)
    _, second = pipeline(porch)
    submit(porch, first, definitions(2))
    assert porch.claim(caller(second), 2) == []


def test_no_one_claims_with_the_token_of_another_pipeline(porch: Coordinator) -> None:
    name, _ = pipeline(porch)
    _, other = pipeline(porch)
    with pytest.raises(Forbidden):
        porch.claim(caller(other), 1, pipeline=name)


@pytest.mark.parametrize("n", [-1, 0, 1_001])
def test_an_amount_that_is_none_is_refused(porch: Coordinator, n: int) -> None:
    _, secret = pipeline(porch)
    with pytest.raises(BadRequest, match="1 to 1,000"):
        porch.claim(caller(secret), n)


def test_a_lease_runs_from_the_claim(porch: Coordinator) -> None:
    name, secret = pipeline(porch)
    porch.set_policy(caller(admin(porch)), name, Policy(lease=3_600))
    submit(porch, secret, definitions(1))
    (task,) = porch.claim(caller(secret), 1)
    assert task.lease_until is not None
    assert 3_590 < (task.lease_until - datetime.now(UTC)).total_seconds() <= 3_600


def test_a_claim_runs_out_only_where_a_lease_is_set(porch: Coordinator) -> None:
    _, secret = pipeline(porch)
    submit(porch, secret, definitions(1))
    (task,) = porch.claim(caller(secret), 1)
    assert task.lease_until is None


class TestTheSameClaimAgain:
    def test_gets_the_same_tasks_and_no_more(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(5))
        who = caller(secret)
        first, again = porch.claim(who, 2), porch.claim(who, 2)
        assert [(t.key, t.attempt, t.status, t.task_input) for t in again] == [
            (t.key, t.attempt, t.status, t.task_input) for t in first
        ]
        assert len(porch.claim(caller(secret), 5)) == 3

    def test_gets_nothing_if_it_got_nothing_then(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        who = caller(secret)
        assert porch.claim(who, 2) == []
        submit(porch, secret, definitions(2))
        assert porch.claim(who, 2) == []

    def test_gets_them_in_the_attempt_that_it_held(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(1))
        who = caller(secret)
        (first,) = porch.claim(who, 1)
        porch.release(caller(secret), [Name(first.task_input_id)])
        porch.claim(caller(secret), 1)
        (again,) = porch.claim(who, 1)
        assert (again.status, again.attempt) == (Status.CLAIMED, 1)

    def test_is_another_claim_in_another_pipeline(self, porch: Coordinator) -> None:
        request_id = uuid4()
        for _ in range(2):
            _, secret = pipeline(porch)
            submit(porch, secret, definitions(1))
            assert len(porch.claim(Caller(secret, request_id), 1)) == 1


class TestGivingBackAClaim:
    def test_gives_back_what_was_not_started(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(3))
        who = caller(secret)
        started, *_ = porch.claim(who, 3)
        porch.update(caller(secret), [Report(Name(started.task_input_id), Status.RUNNING)])
        assert porch.release_claim(caller(secret), who.request_id) == 2
        assert len(porch.claim(caller(secret), 9)) == 2

    def test_that_is_still_under_way_means_it_is_handed_nothing(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(1))
        who = caller(secret)
        assert porch.release_claim(caller(secret), who.request_id) == 0
        assert porch.claim(who, 1) == []

    def test_leaves_later_attempts_alone(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(1))
        who = caller(secret)
        (task,) = porch.claim(who, 1)
        porch.release(caller(secret), [Name(task.task_input_id)])
        porch.claim(caller(secret), 1)
        assert porch.release_claim(caller(secret), who.request_id) == 0

    def test_twice_with_one_message_tells_the_same(self, porch: Coordinator) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, definitions(2))
        who, back = caller(secret), caller(secret)
        porch.claim(who, 2)
        assert porch.release_claim(back, who.request_id) == 2
        porch.claim(caller(secret), 2)
        assert porch.release_claim(back, who.request_id) == 2
        assert porch.claim(caller(secret), 2) == []


def test_a_task_that_is_run_again_is_handed_out_again(porch: Coordinator) -> None:
    _, secret = pipeline(porch)
    submit(porch, secret, definitions(1))
    key = finish(porch, secret, Status.FAILED)
    rerun(porch, caller(secret), Name(key), Seen(Status.FAILED, 1))
    (task,) = porch.claim(caller(secret), 1)
    assert (task.task_input_id, task.attempt) == (key, 2)


def test_a_claim_reads_the_claim_queue_and_not_all_tasks(porch: Coordinator) -> None:
    name, secret = pipeline(porch)
    submit(porch, secret, definitions(1))
    target = porch.ledger.pipeline(name)
    assert target is not None
    with porch.ledger.engine.begin() as connection:  # type: ignore[attr-defined]
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        plan = connection.execute(
            text(
                "EXPLAIN SELECT task_id FROM porch.task WHERE pipeline_id = :p AND status ="
                " 'PENDING' ORDER BY priority DESC, task_id LIMIT 5 FOR NO KEY UPDATE SKIP LOCKED"
            ),
            {"p": target.pipeline_id},
        )
        lines = "\n".join(line for (line,) in plan)
    assert "Index Scan using task_claim_queue" in lines
    assert "Sort" not in lines
