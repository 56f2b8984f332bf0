"""The rules over a task's history: each can fail, and one break is told by one rule."""

from __future__ import annotations

import pytest

from coordinator.checkup import RULES, Broken, Kept, Step, broken
from coordinator.identity import Limits, identify
from coordinator.status import TRANSITIONS, Status

P, C, R, D, F, X = (status.value for status in Status)

INPUT = identify({"run": 1}, Limits())
DONE = Kept(7, 1, "1.0", "1.0", INPUT.key, INPUT.text, D, 1, leased=False, retried=False)

Told = tuple[str | None, str, int]

LIFE: list[Told] = [(None, P, 0), (P, C, 1), (C, R, 1), (R, D, 1)]
AGAIN: list[Told] = [(None, P, 0), (P, C, 1), (C, F, 1), (F, P, 1), (P, C, 2), (C, D, 2)]


def steps(*told: Told, refused: int | None = None, unexplained: int | None = None) -> list[Step]:
    """Events in order; two of them, by position, may be late reports or without a message."""
    return [
        Step(100 + n, 7, before, to, attempt, refused=n == refused, explained=n != unexplained)
        for n, (before, to, attempt) in enumerate(told)
    ]


def of(task: Kept, events: list[Step], identity: str | None = "version") -> list[Broken]:
    return list(broken(task, identity, events))


# What is well -------------------------------------------------------------------------------


def test_a_task_done_in_its_first_attempt_is_well() -> None:
    assert of(DONE, steps(*LIFE)) == []


def test_a_task_done_in_its_second_attempt_is_well() -> None:
    assert of(DONE._replace(attempt=2), steps(*AGAIN)) == []


@pytest.mark.parametrize(
    ("before", "to"), [(b, t) for b, after in TRANSITIONS.items() for t in after]
)
def test_every_change_of_the_table_may_come_next(before: Status, to: Status) -> None:
    way: dict[str, list[Told]] = {
        P: LIFE[:1],
        C: LIFE[:2],
        R: LIFE[:3],
        D: LIFE,
        F: [*LIFE[:2], (C, F, 1)],
        X: [*LIFE[:2], (C, X, 1)],
    }
    attempt = way[before][-1][2] + (to is Status.CLAIMED)
    task = DONE._replace(status=to.value, attempt=attempt)
    assert of(task, steps(*way[before], (before.value, to.value, attempt))) == []


def test_a_late_report_is_no_part_of_the_path() -> None:
    late: list[Told] = [*AGAIN[:5], (C, D, 1), AGAIN[5]]
    assert of(DONE._replace(attempt=2), steps(*late, refused=5)) == []


def test_done_work_may_run_again_for_a_reason() -> None:
    assert of(DONE._replace(status=P), steps(*LIFE, (D, P, 1))) == []


def test_once_for_the_whole_pipeline_is_the_empty_scope() -> None:
    assert of(DONE._replace(scope=""), steps(*LIFE), "pipeline") == []


def test_an_input_beyond_the_limits_of_today_is_well() -> None:
    large = identify({"x": "y" * 2**20}, Limits(max_bytes=2**21))
    assert of(DONE._replace(key=large.key, text=large.text), steps(*LIFE)) == []


# Paths --------------------------------------------------------------------------------------

PATHS = {
    "no events": (DONE, steps(), "it has no events"),
    "born claimed": (
        DONE._replace(status=C),
        steps((None, C, 1)),
        "event 100, its first, makes it CLAIMED",
    ),
    "the first event is lost": (
        DONE,
        steps(*LIFE[1:]),
        "event 100 goes from PENDING to CLAIMED, the task was not there",
    ),
    "an event is lost": (
        DONE,
        steps(*LIFE[:2], LIFE[3]),
        "event 102 goes from RUNNING to DONE, the task was CLAIMED",
    ),
    "born twice": (
        DONE._replace(status=P, attempt=0),
        steps(LIFE[0], LIFE[0]),
        "event 101 goes from nothing to PENDING, the task was PENDING",
    ),
    "finished by nobody": (
        DONE._replace(attempt=0),
        steps(LIFE[0], (P, D, 0)),
        "event 101 goes from PENDING to DONE",
    ),
    "done work is cancelled": (
        DONE._replace(status=X),
        steps(*LIFE, (D, X, 1)),
        "event 104 goes from DONE to CANCELLED",
    ),
    "a status that there is not": (
        DONE._replace(status="LOST"),
        steps(*LIFE[:2], (C, "LOST", 1)),
        "event 102 goes from CLAIMED to LOST",
    ),
    "done work runs again without a reason": (
        DONE._replace(status=P),
        steps(*LIFE, (D, P, 1), unexplained=4),
        "event 104 runs DONE work again without a reason",
    ),
}


@pytest.mark.parametrize(("task", "events", "what"), PATHS.values(), ids=PATHS)
def test_a_path_that_is_none_is_told(task: Kept, events: list[Step], what: str) -> None:
    assert of(task, events) == [Broken("paths", what)]


# Attempts -----------------------------------------------------------------------------------

ATTEMPTS = {
    "a claim counts nothing": (
        DONE._replace(attempt=0),
        steps(LIFE[0], (P, C, 0), (C, D, 0)),
        "event 101 (CLAIMED) is in attempt 0, 1 was next",
    ),
    "a claim counts two": (
        DONE._replace(attempt=2),
        steps(LIFE[0], (P, C, 2), (C, D, 2)),
        "event 101 (CLAIMED) is in attempt 2, 1 was next",
    ),
    "an attempt is claimed twice": (
        DONE,
        steps(*LIFE[:2], (C, P, 1), (P, C, 1), (C, D, 1)),
        "event 103 claims attempt 1 once more",
    ),
    "a report counts": (
        DONE._replace(attempt=2),
        steps(*LIFE[:3], (R, D, 2)),
        "event 103 (DONE) is in attempt 2, 1 was next",
    ),
    "born in an attempt": (
        DONE._replace(status=P, attempt=1),
        steps((None, P, 1)),
        "event 100 (PENDING) is in attempt 1, 0 was next",
    ),
    "a late report that was not late": (
        DONE,
        steps(*LIFE[:2], (C, R, 1), (C, D, 1), refused=2),
        "event 102 is a late report of attempt 1, in attempt 1",
    ),
    "a late report of no attempt": (
        DONE,
        steps(*LIFE[:3], (R, D, 0), LIFE[3], refused=3),
        "event 103 is a late report of attempt 0, in attempt 1",
    ),
}


@pytest.mark.parametrize(("task", "events", "what"), ATTEMPTS.values(), ids=ATTEMPTS)
def test_attempts_that_do_not_count_are_told(task: Kept, events: list[Step], what: str) -> None:
    assert of(task, events) == [Broken("attempts", what)]


# Standings ----------------------------------------------------------------------------------


@pytest.mark.parametrize("other", [{"status": F}, {"attempt": 2}], ids=str)
def test_a_task_that_is_not_what_its_events_say_is_told(other: dict[str, object]) -> None:
    task = DONE._replace(**other)  # type: ignore[arg-type]
    assert of(task, steps(*LIFE)) == [
        Broken(
            "standings",
            f"it is {task.status} in attempt {task.attempt}, its events say DONE in attempt 1",
        )
    ]


def test_a_late_report_may_come_before_the_task_is_claimed_again() -> None:
    taken_back = [(None, P, 0), (P, C, 1), (C, P, 1), (P, D, 1)]
    task = DONE._replace(status=P)
    assert of(task, steps(*taken_back, refused=3)) == []


def test_what_was_refused_does_not_count_as_what_the_task_is() -> None:
    (told,) = of(DONE, steps(*AGAIN[:5], (C, D, 1), refused=5))
    assert told.rule == "standings"


# Keys ---------------------------------------------------------------------------------------

KEYS = {
    "of another input": ({"text": '{"run":2}'}, "version", "its input has the key "),
    "of no object": ({"text": "[1]"}, "version", "its input has no key: a definition must be"),
    "of no JSON": ({"text": "{"}, "version", "its input has no key: JSONDecodeError"),
    "of a number too large": ({"text": f'{{"n":{2**60}}}'}, "version", "its input has no key: $.n"),
    "of another scope": ({"scope": ""}, "version", 'its scope is "", under identity policy'),
    "of a version": ({}, "pipeline", 'its scope is "1.0", under identity policy "pipeline"'),
    "of no pipeline": ({}, None, "it is of pipeline 1, which there is not"),
}


@pytest.mark.parametrize(("other", "identity", "what"), KEYS.values(), ids=KEYS)
def test_a_key_that_does_not_fit_is_told(
    other: dict[str, str], identity: str | None, what: str
) -> None:
    (told,) = of(DONE._replace(**other), steps(*LIFE), identity)  # type: ignore[arg-type]
    assert told.rule == "keys"
    assert told.what.startswith(what)


def test_an_input_that_is_written_in_another_way_has_the_same_key() -> None:
    assert of(DONE._replace(text='{ "run" : 1.0 }'), steps(*LIFE)) == []


# Holders ------------------------------------------------------------------------------------


def test_a_lease_on_what_nobody_holds_is_told() -> None:
    assert of(DONE._replace(leased=True), steps(*LIFE)) == [
        Broken("holders", "it has a lease and is DONE")
    ]


def test_what_did_not_fail_is_not_to_be_tried_again() -> None:
    assert of(DONE._replace(retried=True), steps(*LIFE)) == [
        Broken("holders", "it is due to be tried again and is DONE")
    ]


def test_work_held_in_no_attempt_is_told() -> None:
    task = DONE._replace(status=C, attempt=0)
    assert Broken("holders", "it is CLAIMED in attempt 0") in of(task, steps(*LIFE[:2]))


# Tombstones ---------------------------------------------------------------------------------

PRUNED = DONE._replace(text=None, pruned=True, gone=3)


def test_what_was_pruned_begins_with_the_event_that_is_left() -> None:
    assert of(PRUNED, steps((R, D, 1))) == []
    assert of(PRUNED._replace(attempt=5), steps((C, D, 5))) == []


def test_what_was_given_back_goes_on_from_there() -> None:
    restored = PRUNED._replace(text=INPUT.text, pruned=False, status=C, attempt=2)
    assert of(restored, steps((R, F, 1), (F, P, 1), (P, C, 2))) == []
    assert [b.rule for b in of(restored, steps((R, F, 1), (F, P, 1), (P, C, 3)))] == [
        "attempts",
        "standings",
    ]


def test_a_history_that_was_lost_is_none_that_was_pruned() -> None:
    assert {b.rule for b in of(DONE, steps((R, D, 1)))} == {"paths", "attempts"}
    assert {b.rule for b in of(PRUNED, steps())} == {"tombstones", "paths"}


@pytest.mark.parametrize(
    ("task", "what"),
    [
        (PRUNED._replace(gone=None), "nothing says of how many events"),
        (PRUNED._replace(text=INPUT.text), "it has been pruned, and has an input"),
        (DONE._replace(text=None), "it has not been pruned, and has no input"),
        (PRUNED._replace(status=R), "it has been pruned, and is RUNNING"),
    ],
)
def test_a_tombstone_that_is_none_is_told(task: Kept, what: str) -> None:
    assert any(b.rule == "tombstones" and what in b.what for b in of(task, steps((R, D, 1))))


def test_every_rule_has_been_seen_to_fail() -> None:
    failing = [
        *of(PRUNED, steps()),
        *of(DONE._replace(leased=True, text="[]"), steps()),
        *of(DONE._replace(attempt=3), steps(*LIFE[:3], (R, D, 2))),
    ]
    assert {told.rule for told in failing} == set(RULES)
