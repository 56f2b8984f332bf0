"""The life of a task, as the table in the design draws it."""

from __future__ import annotations

import pytest

from coordinator.status import HELD, REPORTABLE, TRANSITIONS, Status, sources, verbs_from

P, C, R, D, F, X = (
    Status.PENDING,
    Status.CLAIMED,
    Status.RUNNING,
    Status.DONE,
    Status.FAILED,
    Status.CANCELLED,
)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (P, {C, X}),
        (C, {R, D, F, X, P}),
        (R, {R, D, F, X, P}),
        (D, {P}),
        (F, {P}),
        (X, {P}),
    ],
)
def test_the_table_is_the_one_that_the_design_draws(before: Status, after: set[Status]) -> None:
    assert set(TRANSITIONS[before]) == after


def test_only_a_claim_makes_a_task_claimed() -> None:
    assert sources("claim", C) == {P}
    assert [before for before in Status if C in TRANSITIONS[before]] == [P]


def test_finished_work_comes_back_only_by_a_rerun() -> None:
    assert sources("rerun", P) == {D, F, X}


def test_whoever_holds_a_task_may_report_on_it_and_give_it_back() -> None:
    for to in REPORTABLE - {R}:
        assert sources("update", to) == HELD
    assert sources("release", P) == HELD


def test_a_report_of_running_starts_work_only_once() -> None:
    assert sources("update", R) == {C}


def test_done_work_cannot_be_cancelled() -> None:
    assert sources("cancel", X) == {P, C, R}


def test_every_status_can_be_left_and_all_can_be_reached() -> None:
    reached, todo = {P}, [P]
    while todo:
        fresh = set(TRANSITIONS[todo.pop()]) - reached
        reached |= fresh
        todo.extend(fresh)
    assert reached == set(Status)
    assert all(TRANSITIONS[status] for status in Status)


def test_what_is_allowed_is_told_in_words() -> None:
    assert verbs_from(P) == "CLAIMED (claim), CANCELLED (cancel)"
