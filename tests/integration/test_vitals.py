"""What of a database is seen in a moment: how pipelines stand, and whether there is room."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

import pytest
from sqlalchemy import Engine

from coordinator.access import digest
from coordinator.requests import Name, Report
from coordinator.service import Coordinator
from coordinator.status import Status
from db import vitals
from db.engine import make_engine
from tests.factories import caller, definitions, pipeline, submit
from tests.integration.test_doctor import do


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = make_engine(database_url)
    yield made
    made.dispose()


@pytest.fixture
def mine(porch: Coordinator) -> tuple[str, str]:
    """A pipeline and a token of it."""
    return pipeline(porch)


def hours_go_by(url: str, hours: int) -> None:
    do(
        url,
        f"UPDATE porch.task SET created_at = created_at - interval '{hours} h', "
        f"updated_at = updated_at - interval '{hours} h'",
    )


def found(engine: Engine) -> list[tuple[str, str | None]]:
    return [(one.what, one.runbook) for one in vitals.pipelines(engine).findings]


def report(porch: Coordinator, secret: str, n: int, status: Status) -> None:
    for task in porch.claim(caller(secret), n):
        name = Name(task.task_input_id, attempt=task.attempt)
        porch.update(caller(secret), [Report(name, status)])


def test_work_under_way_is_counted_and_nothing_is_found(
    engine: Engine, porch: Coordinator, mine: tuple[str, str]
) -> None:
    _, secret = mine
    submit(porch, secret, definitions(3))
    porch.claim(caller(secret), 2)
    check = vitals.pipelines(engine)
    assert check.findings == ()
    assert check.looked_at == {
        "pipelines": 1,
        "PENDING": 1,
        "held": 2,
        "FAILED in the last hour": 0,
    }


def test_what_is_all_claimed_and_silent_is_found(
    engine: Engine, database_url: str, porch: Coordinator, mine: tuple[str, str]
) -> None:
    name, secret = mine
    submit(porch, secret, definitions(2))
    porch.claim(caller(secret), 2)
    hours_go_by(database_url, 3)
    ((what, anchor),) = found(engine)
    assert what == (
        f"{name}: all claimed and silent: nothing is PENDING, 2 are held, and of none has anything "
        "been heard for 3 h"
    )
    assert anchor == "claimed-and-silent"


def test_one_holder_that_was_heard_of_is_enough(
    engine: Engine, database_url: str, porch: Coordinator, mine: tuple[str, str]
) -> None:
    _, secret = mine
    submit(porch, secret, definitions(2))
    first, _ = porch.claim(caller(secret), 2)
    hours_go_by(database_url, 3)
    porch.heartbeat(caller(secret), [Name(first.task_input_id)])
    assert found(engine) == []


def test_what_is_pending_while_nothing_moves_is_found(
    engine: Engine, database_url: str, porch: Coordinator, mine: tuple[str, str]
) -> None:
    name, secret = mine
    submit(porch, secret, definitions(3))
    report(porch, secret, 1, Status.DONE)
    hours_go_by(database_url, 3)
    ((what, anchor),) = found(engine)
    assert what.startswith(f"{name}: nobody claims: 2 are PENDING, the oldest for 3 h")
    assert anchor == "oldest-pending"


def test_what_is_pending_while_others_are_done_is_a_queue(
    engine: Engine, database_url: str, porch: Coordinator, mine: tuple[str, str]
) -> None:
    _, secret = mine
    submit(porch, secret, definitions(3))
    hours_go_by(database_url, 3)
    report(porch, secret, 1, Status.DONE)
    assert found(engine) == []


@pytest.mark.parametrize(("done", "rising"), [(9, True), (11, False)])
def test_failures_are_rising_if_no_fewer_than_what_is_done(
    engine: Engine, porch: Coordinator, mine: tuple[str, str], done: int, rising: bool
) -> None:
    _, secret = mine
    submit(porch, secret, definitions(10 + done))
    report(porch, secret, 10, Status.FAILED)
    report(porch, secret, done, Status.DONE)
    assert [anchor for _, anchor in found(engine)] == ["failures-rising"] * rising


def test_failures_of_yesterday_are_not_rising(
    engine: Engine, database_url: str, porch: Coordinator, mine: tuple[str, str]
) -> None:
    _, secret = mine
    submit(porch, secret, definitions(10))
    report(porch, secret, 10, Status.FAILED)
    hours_go_by(database_url, 24)
    assert found(engine) == []


def test_whether_there_is_room_is_tried_and_leaves_nothing(engine: Engine) -> None:
    full, where = vitals.room(engine)
    assert full is None
    assert where is not None
    assert vitals.room(engine) == (None, where)


def test_a_token_is_known_by_its_name_alone(
    engine: Engine, porch: Coordinator, mine: tuple[str, str]
) -> None:
    name, secret = mine
    row = vitals.owner(engine, sha256(digest(secret)).digest())
    assert row is not None
    assert row.pipeline == name
    assert vitals.owner(engine, digest(secret)) is None
