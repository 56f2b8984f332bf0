"""What is told of measurements: rates in ratios, and everything that was lost."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.report import Figures, judged
from benchmarks.rounds import Measured, flaws
from benchmarks.works import GOALS, WORKS, Goal, Work, expected, label

BULK, SINGLE, CLAIM = (work for work in WORKS if work.name in ("bulk", "single", "claim"))


def rates(contestant: str, *values: float, work: str = "bulk", case: str = "none known") -> Any:
    return [
        Measured(work, case, contestant, "1.0", number, value)
        for number, value in enumerate(values)
    ]


def test_a_ratio_compares_only_what_was_measured_in_one_round() -> None:
    # The machine was four times slower in the second round, for both.
    figures = Figures([*rates("queue", 800, 200, 840), *rates("sql", 1000, 250, 1000)])
    assert figures.ratio("bulk", "none known", "queue", "sql") == pytest.approx(0.8)


def test_a_goal_is_held_against_each_peer() -> None:
    figures = Figures([*rates("queue", 100), *rates("slow", 50), *rates("fast", 200)])
    goal = Goal("ahead", "bulk", {"known": 0}, "peers", least=1)
    assert dict(judged(goal, figures, ["slow", "fast", "absent"])) == {"slow": 2.0, "fast": 0.5}


def test_errors_of_a_single_round_count() -> None:
    measured = rates("queue", 1, 1, 1, work="single", case="64 at once")
    measured[1].errors = 3
    (goal,) = (goal for goal in GOALS if goal.field == "errors")
    assert list(judged(goal, Figures(measured), [])) == [("", 3)]


def test_every_goal_is_of_a_case_that_is_measured() -> None:
    cases = {(work.name, label(case)) for work in WORKS for case in work.cases}
    assert {(goal.work, label(goal.case)) for goal in GOALS} <= cases


@pytest.mark.parametrize(
    ("work", "case", "answer", "found"),
    [
        (BULK, {"known": 0.5}, {"done": 10, "new": 5, "kept": 10}, []),
        (BULK, {"known": 0.5}, {"done": 10, "new": 6, "kept": 10}, ["6 new of 5"]),
        (BULK, {"known": 0}, {"done": 10, "new": 10, "kept": 9}, ["9 of 10 are in the database"]),
        (SINGLE, {"callers": 2}, {"done": 9, "errors": 1}, ["9 of 10 done", "1 errors"]),
        (CLAIM, {"callers": 2, "n": 5}, {"done": 10, "doubles": 1}, ["1 doubles"]),
    ],
)
def test_whatever_was_lost_or_done_twice_is_a_flaw(
    work: Work, case: dict[str, Any], answer: dict[str, Any], found: list[str]
) -> None:
    assert flaws(work, case, answer, 10) == found


def test_of_an_odd_number_half_of_which_is_known_the_smaller_half_is_new() -> None:
    answer = {"done": 7, "new": 3, "kept": 7}
    assert flaws(BULK, {"known": 0.5}, answer, 7) == []


def test_who_is_slow_is_given_less_to_do() -> None:
    case = {"callers": 16}
    assert SINGLE.sized(case, rate=100) == 10
    assert SINGLE.sized(case, rate=1) == SINGLE.least
    assert SINGLE.sized(case, rate=1e9) == SINGLE.most


def test_no_claim_needs_more_tasks_than_can_be_made() -> None:
    for case in CLAIM.cases:
        amount = CLAIM.sized(case, rate=1e9)
        assert expected(CLAIM, case, amount) <= 40_000
