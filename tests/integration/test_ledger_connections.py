"""Connections: recovered when they break, never shared across a fork, and no state kept in them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, create_engine, text

import db.engine
from config.wiring import make_coordinator
from coordinator.access import new_secret
from coordinator.errors import LedgerAway, TooSlow
from coordinator.requests import Name, Report, Search
from coordinator.service import Coordinator
from coordinator.status import Status
from tests.factories import caller, definitions, pipeline, submit


@pytest.fixture
def other(database_url: str) -> Iterator[Engine]:
    """Somebody else at the same database."""
    engine = create_engine(database_url)
    yield engine
    engine.dispose()


def end_all_others(connection: Connection) -> int:
    """End every other session in this database; how many there were."""
    ended = connection.execute(
        text(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    )
    return len(ended.all())


def test_a_broken_connection_costs_one_try(porch: Coordinator, other: Engine) -> None:
    _, secret = pipeline(porch)
    with other.connect() as connection:
        assert end_all_others(connection) == 1
    with pytest.raises(LedgerAway):
        submit(porch, secret, definitions(1))
    assert len(submit(porch, secret, definitions(1))) == 1


def test_no_state_stays_in_a_connection(porch: Coordinator) -> None:
    pipeline(porch)
    raw = porch.ledger.engine.raw_connection()  # type: ignore[attr-defined]
    with raw.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("0",)
    raw.close()


def test_a_long_wait_for_somebody_elses_lock_may_be_tried_again(
    porch: Coordinator, other: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db.engine, "LOCK_TIMEOUT_MS", 300)
    _, secret = pipeline(porch)
    (key,) = submit(porch, secret, definitions(1))
    porch.claim(caller(secret), 1)
    with other.begin() as connection:
        connection.execute(text("SELECT FROM porch.task FOR UPDATE"))
        with pytest.raises(LedgerAway, match="lock timeout"):
            porch.update(caller(secret), [Report(Name(key), Status.DONE)])
    assert porch.count(caller(secret), Search()) == {"CLAIMED": 1}


def test_a_long_calculation_is_refused_and_not_tried_for_ever(
    porch: Coordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(db.engine, "STATEMENT_TIMEOUT_MS", 300)
    with pytest.raises(TooSlow):
        porch.ledger._read(text("SELECT pg_sleep(10)"))  # type: ignore[attr-defined]


def test_a_small_change_that_takes_long_may_be_tried_again(
    porch: Coordinator, other: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, secret = pipeline(porch)
    with other.begin() as connection:
        connection.execute(
            text(
                "CREATE FUNCTION porch.be_slow() RETURNS trigger LANGUAGE plpgsql AS"
                " 'BEGIN PERFORM pg_sleep(10); RETURN NEW; END'"
            )
        )
        connection.execute(
            text(
                "CREATE TRIGGER slow BEFORE INSERT ON porch.task"
                " FOR EACH ROW EXECUTE FUNCTION porch.be_slow()"
            )
        )
    monkeypatch.setattr(db.engine, "STATEMENT_TIMEOUT_MS", 300)
    with pytest.raises(LedgerAway, match="statement timeout"):
        submit(porch, secret, definitions(1))


def rows_read_in_whole_tables(engine: Engine) -> int:
    """Rows of porch.task that were read in sequential scans, so far, by all sessions."""
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_stat_force_next_flush()"))
    with engine.begin() as connection:
        read = "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relid = 'porch.task'::regclass"
        return int(connection.execute(text(read)).scalar_one())


def test_what_was_planned_while_there_was_little_reads_no_whole_table_later(
    porch: Coordinator, other: Engine
) -> None:
    _, secret = pipeline(porch)

    def use(n: int) -> None:
        submit(porch, secret, definitions(n))
        for task in porch.claim(caller(secret), n // 2):
            porch.update(caller(secret), [Report(Name(task.task_input_id), Status.DONE)])

    for _ in range(12):
        use(10)
    with other.begin() as connection:
        connection.execute(text("ANALYZE"))
    for _ in range(12):  # so often that PostgreSQL keeps its plans
        use(10)
    engine = porch.ledger.engine  # type: ignore[attr-defined]
    before = rows_read_in_whole_tables(engine)
    use(1_000)
    assert rows_read_in_whole_tables(engine) == before


def test_what_is_locked_by_another_is_passed_over_by_a_claim(
    porch: Coordinator, other: Engine
) -> None:
    _, secret = pipeline(porch)
    submit(porch, secret, [{"run": 1}, {"run": 2}])
    with other.begin() as connection:
        connection.execute(text("SELECT FROM porch.task ORDER BY task_id LIMIT 1 FOR UPDATE"))
        (task,) = porch.claim(caller(secret), 2)
    assert task.task_input == {"run": 2}


def test_a_database_that_is_away_is_told_soon() -> None:
    porch = make_coordinator("postgresql+psycopg2://u:p@127.0.0.1:1/none")
    began = time.monotonic()
    with pytest.raises(LedgerAway):
        porch.claim(caller(new_secret()), 1)
    assert time.monotonic() - began < 5.0


_FORK = """
import os, sys
from sqlalchemy import text
from db.engine import make_engine

engine = make_engine(sys.argv[1])

def backend():
    with engine.begin() as connection:
        return connection.execute(text("SELECT pg_backend_pid()")).scalar_one()

before = backend()
child = os.fork()
if child == 0:
    print(backend(), flush=True)
    engine.dispose()
    os._exit(0)
os.waitpid(child, 0)
print(before, backend())
"""


def test_a_forked_child_has_a_connection_of_its_own(database_url: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _FORK, database_url],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    childs, before, after = ran.stdout.split()
    assert childs != before
    assert after == before
    assert ran.stderr == ""
