"""What verbs do is counted, once, whichever door they are called by."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import inf
from pathlib import Path
from uuid import uuid4

import pytest

from config.metrics.counting import Counting
from config.wiring import make_coordinator
from coordinator.access import new_secret
from coordinator.errors import Forbidden, LedgerAway, PorchError
from coordinator.observed import _OF_MANY, _OF_ONE, _WORDS, Observed
from coordinator.requests import Claiming, Name, Report, Search, Submission, Updating
from coordinator.service import Coordinator
from coordinator.status import Status
from db.work import WorkLedger
from tests.factories import caller, definitions, finish, let_time_pass, pipeline, submit
from tests.leased import LEASE, leased, say
from tests.metrics.exposed import Scraped, counted

ROOT = Path(__file__).parents[2]
NOWHERE = "postgresql+psycopg2://porch@127.0.0.1:1/porch"


@pytest.fixture
def counting() -> Counting:
    return Counting()


@pytest.fixture
def porch(database_url: str, counting: Counting) -> Iterator[Coordinator]:
    coordinator = make_coordinator(database_url, counting=counting)
    assert isinstance(coordinator, Observed)
    yield coordinator
    coordinator.ledger.engine.dispose()  # type: ignore[attr-defined]


def test_definitions_are_new_or_known(porch: Coordinator, counting: Counting) -> None:
    name, secret = pipeline(porch)
    given = definitions(3)
    submit(porch, secret, given)
    submit(porch, secret, [*given, *definitions(2)])
    told = counted(counting)
    assert told.value("porch_definitions_total", pipeline=name, outcome="new") == 5
    assert told.value("porch_definitions_total", pipeline=name, outcome="known") == 3
    assert told.value("porch_requests_total", verb="submit") == 2
    assert told.value("porch_verb_seconds_count", verb="submit") == 2


def test_a_verb_has_the_name_that_logs_have_for_it(porch: Coordinator, counting: Counting) -> None:
    name, secret = pipeline(porch)
    who = caller(secret)
    submit(porch, secret, definitions(1))
    (task,) = porch.tasks(who, Search(), after=0, limit=9)
    porch.outlines(who, Search(), after=0, limit=9)
    porch.foresee(who, definitions(1))
    porch.bring(who, task.task_input, Status.RUNNING, pipeline=name)
    porch.release_claim(who, uuid4())
    porch.catalogue(who)
    porch.add_own_version(who, name, "2")
    told = counted(counting)
    counts = {"list": 2, "preview": 1, "update": 1, "release": 1, "pipelines": 1, "add_version": 1}
    for verb, times in {**counts, "issue_token": 1}.items():
        assert told.value("porch_requests_total", verb=verb) == times


def test_verbs_have_the_names_that_the_doors_have_for_them() -> None:
    verbs = {_WORDS.get(verb, verb) for verb in (*_OF_MANY, *_OF_ONE)}
    # Looked at on the way by a page, or by another verb.
    parts = {"check_admin", "own_pipeline", "recognise", "page", "counts", "throughput", "busiest"}
    doors = "".join(file.read_text() for file in (ROOT / "tasks").glob("*.py"))
    of_queue = set(re.findall(r'^@(?:door|crowd)\("(\w+)"', doors, re.MULTILINE))
    assert verbs - parts - {"run_times"} - of_queue == {"preview"}


def test_claims_are_full_or_empty_or_neither(porch: Coordinator, counting: Counting) -> None:
    name, secret = pipeline(porch)
    submit(porch, secret, definitions(3))
    for n in (2, 2, 2):
        porch.claim(caller(secret), n)
    told = counted(counting)
    for outcome in ("full", "part", "empty"):
        assert told.value("porch_claims_total", pipeline=name, outcome=outcome) == 1
    assert told.value("porch_claimed_tasks_total", pipeline=name) == 3


def test_a_crowd_is_one_call_and_many_requests(porch: Coordinator, counting: Counting) -> None:
    _, secret = pipeline(porch)
    crowd = [Submission(caller(secret), definitions(1)) for _ in range(4)]
    porch.submit_all([*crowd, Submission(caller(new_secret()), definitions(1))])
    told = counted(counting)
    assert told.value("porch_requests_total", verb="submit") == 5
    assert told.value("porch_verb_seconds_count", verb="submit") == 1
    assert told.value("porch_refusals_total", code="unknown_token") == 1


def test_reports_of_a_crowd_are_counted_each(porch: Coordinator, counting: Counting) -> None:
    name, secret = pipeline(porch)
    keys = submit(porch, secret, definitions(3))
    porch.claim(caller(secret), 3)
    asked = [
        Updating(caller(secret), [Report(Name(key, attempt=1), Status.DONE)]) for key in keys * 2
    ]
    late = Updating(caller(secret), [Report(Name(keys[0], attempt=9), Status.DONE)])
    porch.update_all([*asked, late, Updating(caller(new_secret()), ())])
    told = counted(counting)
    assert told.value("porch_requests_total", verb="update") == 8
    assert told.value("porch_verb_seconds_count", verb="update") == 1
    assert told.value("porch_reports_total", pipeline=name, status="DONE") == 3
    assert told.value("porch_refusals_total", code="illegal_change") == 1
    assert told.value("porch_refusals_total", code="unknown_token") == 1


class TestARefusal:
    def test_of_a_part_is_counted(self, porch: Coordinator, counting: Counting) -> None:
        _, secret = pipeline(porch)
        submit(porch, secret, [*definitions(2), {"bad": 2**60}, 7])
        told = counted(counting)
        assert told.value("porch_refusals_total", code="not_representable") == 1
        assert told.value("porch_refusals_total", code="not_an_object") == 1

    def test_of_all_of_it_is_counted_once_by_the_verb_and_the_door(
        self, porch: Coordinator, counting: Counting
    ) -> None:
        name, _ = pipeline(porch)
        _, other = pipeline(porch)
        with pytest.raises(Forbidden) as refused:
            porch.count(caller(other), Search(name))
        porch.observer.turn_away(refused.value)
        assert counted(counting).value("porch_refusals_total", code="forbidden") == 1

    def test_of_a_request_that_is_tried_again_is_counted_once(
        self, porch: Coordinator, counting: Counting
    ) -> None:
        asked = Claiming(caller(new_secret()), 1)
        porch.claim_all([asked])
        porch.claim_all([asked])
        porch.claim_all([Claiming(caller(new_secret()), 1)])
        assert counted(counting).value("porch_refusals_total", code="unknown_token") == 2

    def test_by_a_door_alone_is_counted(self, porch: Coordinator, counting: Counting) -> None:
        porch.observer.turn_away(PorchError("never"))
        assert counted(counting).value("porch_refusals_total", code="porch_error") == 1

    def test_as_postgresql_is_away_is_one_of_each_request(self, counting: Counting) -> None:
        porch = make_coordinator(NOWHERE, counting=counting)
        crowd = [Submission(caller(new_secret()), definitions(1)) for _ in range(3)]
        with pytest.raises(LedgerAway):
            porch.submit_all(crowd)
        told = counted(counting)
        assert told.value("porch_refusals_total", code="database_away") == 3
        assert told.value("porch_requests_total", verb="submit") == 3


class TestAReport:
    @pytest.fixture(autouse=True)
    def _every_one_is_timed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("db.work.TIMED_EVERY", 0.0)

    def test_of_a_start_and_an_end_tell_how_long_since_the_claim(
        self, porch: Coordinator, counting: Counting
    ) -> None:
        name, secret, (task,) = leased(porch)
        let_time_pass(porch, 100)
        say(porch, secret, task, Status.RUNNING)
        let_time_pass(porch, 1_000)
        # The row's own time is that of the last sign of life.
        porch.heartbeat(caller(secret), [Name(task.task_input_id, attempt=1)])
        say(porch, secret, task, Status.DONE)
        told = counted(counting)
        started = told.value("porch_claim_to_start_seconds_sum", pipeline=name)
        ran = told.value("porch_run_seconds_sum", pipeline=name, status="DONE")
        assert started == pytest.approx(100, abs=20)
        assert ran == pytest.approx(1_100, abs=20)
        assert told.value("porch_run_seconds_count", pipeline=name, status="FAILED") == 0
        for status in ("RUNNING", "DONE"):
            assert told.value("porch_reports_total", pipeline=name, status=status) == 1

    def test_of_a_later_attempt_is_timed_from_its_own_claim(
        self, porch: Coordinator, counting: Counting
    ) -> None:
        name, secret, _ = leased(porch)
        let_time_pass(porch, LEASE + 1)
        porch.sweep()
        finish(porch, secret, Status.FAILED)
        told = counted(counting)
        assert told.value("porch_run_seconds_sum", pipeline=name, status="FAILED") < 20
        assert told.value("porch_lease_expiries_total", status="PENDING") == 1

    def test_that_already_holds_or_is_stale_is_no_run(
        self, porch: Coordinator, counting: Counting
    ) -> None:
        name, secret, (task,) = leased(porch)
        say(porch, secret, task, Status.DONE)
        say(porch, secret, task, Status.DONE)
        porch.update(caller(secret), [Report(Name(task.task_input_id, attempt=9), Status.FAILED)])
        told = counted(counting)
        assert told.value("porch_reports_total", pipeline=name) == 1
        assert told.value("porch_run_seconds_count", pipeline=name) == 1
        assert told.value("porch_refusals_total", code="illegal_change") == 1

    def test_by_those_who_name_a_task_by_its_input_is_counted_too(
        self, porch: Coordinator, counting: Counting
    ) -> None:
        name, secret = pipeline(porch)
        (given,) = definitions(1)
        submit(porch, secret, [given])
        for status in (Status.CLAIMED, Status.RUNNING, Status.FAILED):
            porch.bring(caller(secret), given, status, pipeline=name, version="1.0")
        assert counted(counting).value("porch_run_seconds_count", status="FAILED") == 1


def test_of_many_reports_at_once_few_are_timed_and_all_are_counted(
    porch: Coordinator, counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WorkLedger, "_timed_at", -inf)
    monkeypatch.setattr("db.work.TIMED_EVERY", 3_600.0)
    name, secret = pipeline(porch)
    submit(porch, secret, definitions(5))
    for _ in range(5):
        finish(porch, secret, Status.DONE)
    told = counted(counting)
    assert told.value("porch_reports_total", pipeline=name, status="DONE") == 5
    assert told.value("porch_run_seconds_count", pipeline=name, status="DONE") == 1


def test_connections_in_use_are_counted(porch: Coordinator, counting: Counting) -> None:
    def in_use() -> float:
        return counted(counting).value("porch_pool_connections_in_use")

    with porch.ledger.joined():
        porch.check_ledger()
        assert in_use() == 1
    assert in_use() == 0
    assert counted(counting).value("porch_pool_connections_limit") == 2


def test_every_code_is_told_before_it_happens(counting: Counting) -> None:
    told: Scraped = counted(counting)
    assert {("code", "stale_attempt"), ("code", "database_away")} <= told.labels()
