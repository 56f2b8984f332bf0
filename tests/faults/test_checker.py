"""The checker can fail: each kind of broken history is found, and told for what it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from coordinator.identity import Limits, identify
from tests.faults import journal
from tests.faults.checker import check
from tests.faults.history import Event, History, Row
from tests.faults.journal import Journal, Operation, Record, Start
from tests.faults.run import died_by_themselves

LEASE = 2.0
INPUT = {"run": 1}
KEY = identify(INPUT, Limits()).key.hex()
ME, OTHER = "wrapper-0", "wrapper-1"
LIFE = f"{ME}.1"
OK = {"task": KEY, "changed": True}


@dataclass
class Told:
    """A run to be broken: one definition submitted, claimed, run and DONE, without any fault."""

    operations: dict[str, Operation] = field(default_factory=dict)
    starts: list[Start] = field(default_factory=lambda: [Start(LIFE, KEY, 1)])
    rows: list[Row] = field(default_factory=lambda: [Row(KEY, "DONE", 1)])
    events: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ask("s", "submit", [INPUT], [OK])
        self.ask("c", "claim", [1], [[KEY, 1]], at=1.0)
        self.ask("r", "update", [[KEY, 1, "RUNNING"]], [OK], at=2.0)
        self.ask("d", "update", [[KEY, 1, "DONE"]], [OK], at=3.0)
        self.happen(None, "PENDING", 0, "s", message=None)
        self.happen("PENDING", "CLAIMED", 1, "c", message=None)
        self.happen("CLAIMED", "RUNNING", 1, "r")
        self.happen("RUNNING", "DONE", 1, "d")

    def ask(
        self, op: str, verb: str, items: list[Any], *answers: list[Any], at: float = 0.0
    ) -> Operation:
        self.operations[op] = Operation(op, LIFE, verb, at, items, list(answers))
        return self.operations[op]

    def happen(self, before: str | None, to: str, attempt: int, op: str, **fields: Any) -> None:
        at = float(len(self.events))
        event = Event(KEY, at, before, to, attempt, ME, op, op)
        self.events.append(replace(event, **fields))

    def run_out(self, attempt: int = 1, at: float = 9.0) -> None:
        """The lease runs out, of what was CLAIMED in event 1."""
        del self.events[2:]
        self.happen("CLAIMED", "PENDING", attempt, "x", by=None, message="lease ran out", at=at)

    def found(self) -> list[str]:
        record = Record(list(self.operations.values()), self.starts)
        return check(record, History(self.rows, self.events), LEASE)[0]


def test_nothing_is_found_where_nothing_is_wrong() -> None:
    assert Told().found() == []


def test_what_was_looked_at_is_counted() -> None:
    told = Told()
    record = Record(list(told.operations.values()), told.starts)
    _, verified = check(record, History(told.rows, told.events), LEASE)
    assert verified["accepted definitions"] == verified["DONE attempts"] == 1
    assert (verified["reports acknowledged"], verified["events"]) == (2, 4)


# Each breaks the run in one way ---------------------------------------------------------------


def a_lost_definition(told: Told) -> None:
    told.ask("s2", "submit", [{"run": 2}], [{"task": "ab" * 32, "changed": True}])


def a_definition_registered_twice(told: Told) -> None:
    told.rows.append(Row(KEY, "DONE", 1))


def a_definition_called_new_twice(told: Told) -> None:
    told.ask("s2", "submit", [INPUT], [OK])


def a_task_nobody_submitted(told: Told) -> None:
    told.rows.append(Row("cd" * 32, "CANCELLED", 0))


def a_double_start(told: Told) -> None:
    told.starts.append(Start(f"{OTHER}.1", KEY, 1))


def a_start_without_a_claim(told: Told) -> None:
    told.starts.append(Start(LIFE, KEY, 2))


def a_start_of_what_another_claimed(told: Told) -> None:
    told.starts[:] = [Start(f"{OTHER}.1", KEY, 1)]


def a_claim_that_answers_otherwise_when_asked_again(told: Told) -> None:
    told.operations["c"].answers.append([])


def a_claim_that_strands_a_task(told: Told) -> None:
    told.operations["c"].answers[:] = [[]]


def a_claim_nobody_made(told: Told) -> None:
    del told.operations["c"]


def a_result_without_a_run(told: Told) -> None:
    told.starts.clear()


def an_acknowledged_report_that_is_not_there(told: Told) -> None:
    del told.events[2]
    told.events[2] = replace(told.events[2], before="CLAIMED")


def a_report_refused_and_carried_out(told: Told) -> None:
    told.operations["d"].answers[:] = [[{"error": "stale_attempt"}]]


def a_report_carried_out_twice(told: Told) -> None:
    told.happen("DONE", "PENDING", 1, "x", message="rerun")
    told.happen("PENDING", "CLAIMED", 2, "c")
    told.happen("CLAIMED", "DONE", 2, "d")


def a_refusal_that_nothing_explains(told: Told) -> None:
    told.ask("d2", "update", [[KEY, 1, "DONE"]], [{"error": "internal_error"}])


def a_request_refused_that_nothing_explains(told: Told) -> None:
    told.ask("c2", "claim", [1]).refusals.append("forbidden")


def a_stale_report_that_was_accepted(told: Told) -> None:
    told.run_out()
    told.happen("PENDING", "CLAIMED", 2, "c2", by=OTHER, at=10.0)
    told.happen("CLAIMED", "DONE", 1, "d", at=11.0)


def a_report_of_somebody_who_does_not_hold_it(told: Told) -> None:
    told.events[3] = replace(told.events[3], by=OTHER)


def a_report_noted_as_refused_and_acknowledged(told: Told) -> None:
    told.happen("DONE", "DONE", 1, "d", refused=True)


def a_task_taken_back_from_the_living(told: Told) -> None:
    told.run_out(at=2.5)
    del told.operations["r"], told.operations["d"]
    told.rows[0] = Row(KEY, "PENDING", 1)


def a_stuck_task(told: Told) -> None:
    told.rows[0] = Row(KEY, "RUNNING", 1)
    del told.events[3:], told.operations["d"]


def a_task_that_waits_for_its_backoff(told: Told) -> None:
    told.rows[0] = replace(told.rows[0], waits=True)


def a_task_that_is_not_as_its_events_say(told: Told) -> None:
    told.rows[0] = Row(KEY, "FAILED", 1)


def an_event_out_of_nowhere(told: Told) -> None:
    told.happen("RUNNING", "FAILED", 1, "x")


Break = Callable[[Told], None]
BROKEN: Sequence[tuple[Break, str]] = [
    (a_lost_definition, "was accepted, and is there 0 times"),
    (a_definition_registered_twice, "was accepted, and is there 2 times"),
    (a_definition_called_new_twice, "was called new 2 times"),
    (a_task_nobody_submitted, "was never submitted"),
    (a_double_start, "was begun 2 times"),
    (a_start_without_a_claim, "has the claims []"),
    (a_start_of_what_another_claimed, "has the claims [Event("),
    (a_claim_that_answers_otherwise_when_asked_again, "was handed [], the history has"),
    (a_claim_that_strands_a_task, "was handed [], the history has"),
    (a_claim_nobody_made, "was made by nobody"),
    (a_result_without_a_run, "which nobody has begun"),
    (an_acknowledged_report_that_is_not_there, "never was RUNNING in 1"),
    (a_report_refused_and_carried_out, "was refused, and has"),
    (a_report_carried_out_twice, "update d of"),
    (a_refusal_that_nothing_explains, "was refused: internal_error"),
    (a_request_refused_that_nothing_explains, "was refused: forbidden"),
    (a_stale_report_that_was_accepted, "was accepted, while"),
    (a_report_of_somebody_who_does_not_hold_it, "was accepted, while"),
    (a_report_noted_as_refused_and_acknowledged, "is noted as refused, and was"),
    (a_task_taken_back_from_the_living, "took back what was alive"),
    (a_stuck_task, "is not finished"),
    (a_task_that_waits_for_its_backoff, "is not finished"),
    (a_task_that_is_not_as_its_events_say, "has events that end with DONE"),
    (an_event_out_of_nowhere, "follows DONE in attempt 1"),
]


@pytest.mark.parametrize(
    ("broken", "says"), BROKEN, ids=lambda value: getattr(value, "__name__", "")
)
def test_it_finds(broken: Break, says: str) -> None:
    told = Told()
    broken(told)
    assert [violation for violation in told.found() if says in violation]


# What may look wrong and is not ---------------------------------------------------------------


def test_a_lost_answer_heard_at_the_second_time_is_no_violation() -> None:
    told = Told()
    told.operations["d"].silences.append("no_answer")
    told.operations["d"].answers[:] = [[{"task": KEY, "changed": False}]]
    assert told.found() == []


def test_a_report_of_which_nothing_was_heard_may_have_happened_or_not() -> None:
    for happened in (True, False):
        told = Told()
        told.operations["r"].answers.clear()
        if not happened:
            del told.events[2]
            told.events[2] = replace(told.events[2], before="CLAIMED")
        assert told.found() == []


def test_a_late_report_that_was_noted_changes_nothing() -> None:
    told = Told()
    told.ask("l", "update", [[KEY, 1, "DONE"]], [{"error": "stale_attempt"}])
    told.happen("DONE", "DONE", 1, "l", refused=True)
    assert told.found() == []


# The journal, and the logs --------------------------------------------------------------------


def test_a_journal_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = Journal(tmp_path, LIFE)
    written.asked("c", "claim", [2])
    written.unknown("c", "broker_away")
    written.answered("c", [[KEY, 1]])
    written.asked("s", "submit", [INPUT])
    written.refused("s", "forbidden")
    written.started(KEY, 1)
    written.draining()
    record = journal.read(tmp_path)
    claim, submit = record.operations
    assert (claim.silences, claim.answers) == (["broker_away"], [[[KEY, 1]]])
    assert (submit.items, submit.refusals) == ([INPUT], ["forbidden"])
    assert record.starts == [Start(LIFE, KEY, 1)]
    assert record.draining == {LIFE}


def test_a_line_torn_by_a_kill_is_left_out(tmp_path: Path) -> None:
    Journal(tmp_path, LIFE).started(KEY, 1)
    with (tmp_path / f"{LIFE}.jsonl").open("a") as file:
        file.write('{"at":1,"what":"sta')
    assert journal.read(tmp_path).starts == [Start(LIFE, KEY, 1)]


def test_a_worker_that_dies_by_itself_is_told_from_one_that_was_killed() -> None:
    said = """\
porch-server: worker.claim died with signal 9; starting it again in 1 s
porch-server: beat died with exit status 1; starting it again in 1 s
porch-server: valkey died with exit status 0; starting it again in 1 s
porch-server: worker.submit died with exit status 0; starting it again in 2 s
"""
    lines = said.splitlines()
    assert died_by_themselves(said) == [lines[1], lines[3]]
    assert died_by_themselves(said, excused=1) == [lines[1]]
