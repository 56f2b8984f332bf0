"""Statements that are planned once: which sessions do it, how, and what may happen in between."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as some
from sqlalchemy import URL, Engine, create_engine, make_url, text
from sqlalchemy.exc import OperationalError

from config.ports import free_port
from config.wiring import make_coordinator
from coordinator.requests import Name, Report
from coordinator.service import Coordinator
from coordinator.status import Status
from db.arrivals import CLAIM
from db.prepared import FEW, array
from db.work import WorkLedger
from tests.databases import copy_of
from tests.factories import caller, definitions, pipeline, submit
from tests.house import needs, wait_until

_TEXTS = some.text(some.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def prepared(porch: Coordinator) -> dict[str, int]:
    """What the session has prepared, and how often each was carried out by the plan for any."""
    with porch.ledger.engine.connect() as connection:  # type: ignore[attr-defined]
        rows = connection.execute(text("SELECT name, generic_plans FROM pg_prepared_statements"))
        return {row.name: row.generic_plans for row in rows}


@pytest.fixture(scope="module")
def reader(template: str) -> Iterator[Engine]:
    with copy_of(template, template) as url:
        engine = create_engine(url)
        yield engine
        engine.dispose()


@example(texts=['a"\\', "", "{,}", "NULL", "\n"], blobs=[])
@given(texts=some.lists(some.none() | _TEXTS), blobs=some.lists(some.none() | some.binary()))
def test_arrays_come_as_they_went(
    reader: Engine, texts: list[str | None], blobs: list[bytes | None]
) -> None:
    at = [datetime(2026, 11, 25, 12, 0, 0, 1, tzinfo=UTC), None]
    statement = text(
        "SELECT CAST(:texts AS text[]), CAST(:blobs AS bytea[]), CAST(:at AS timestamptz[]),"
        " CAST(:numbers AS bigint[]), CAST(:flags AS boolean[])"
    )
    values = {
        "texts": array(texts),
        "blobs": array(blobs),
        "at": array(at),
        "numbers": array([-1, None]),
        "flags": array([True, False, None]),
    }
    with reader.connect() as connection:
        told = connection.execute(statement, values).one()
    assert told[0] == texts
    assert [None if blob is None else bytes(blob) for blob in told[1]] == blobs
    assert tuple(told[2:]) == (at, [-1, None], [True, False, None])


def test_a_session_plans_once(porch: Coordinator, monkeypatch: pytest.MonkeyPatch) -> None:
    # A change that is timed, as one now and then is, is another statement.
    monkeypatch.setattr(WorkLedger, "_timed_at", float("inf"))
    _, secret = pipeline(porch)
    for _ in range(3):
        (key,) = submit(porch, secret, definitions(1))
        porch.claim(caller(secret), 1)
        porch.update(caller(secret), [Report(Name(key), Status.DONE)])
    planned = prepared(porch)
    statements = {"porch_submit", "porch_claim", "porch_find", "porch_change"}
    assert planned.keys() == {"porch_permission", *statements}
    assert {planned[name] for name in statements} == {3}


def test_what_is_large_is_planned_for_its_size(porch: Coordinator) -> None:
    _, secret = pipeline(porch)
    submit(porch, secret, definitions(FEW + 1))
    assert len(porch.claim(caller(secret), FEW + 1)) == FEW + 1
    assert prepared(porch).keys() == {"porch_permission"}


def test_a_migration_in_between_does_no_harm(porch: Coordinator, database_url: str) -> None:
    _, secret = pipeline(porch)
    other = create_engine(database_url)
    for column in ("colour", "smell"):
        (key,) = submit(porch, secret, definitions(1))
        (task,) = porch.claim(caller(secret), 1)
        assert task.task_input_id == key
        porch.update(caller(secret), [Report(Name(key), Status.DONE)])
        with other.begin() as connection:
            connection.execute(text(f"ALTER TABLE porch.task ADD COLUMN {column} text"))
            connection.execute(text(f"ALTER TABLE porch.token ADD COLUMN {column} text"))
            connection.execute(text(f"ALTER TABLE porch.pipeline ADD COLUMN {column} text"))
            connection.execute(text(f"ALTER TABLE porch.event ADD COLUMN {column} text"))
    other.dispose()


def test_a_claim_of_any_size_reads_the_head_of_the_queue(porch: Coordinator) -> None:
    """Also where a plan that sorts all of it would read fewer pages, if it had to read them all."""
    _, secret = pipeline(porch)
    engine: Engine = porch.ledger.engine  # type: ignore[attr-defined]
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO porch.task (pipeline_id, version, scope, task_input_id, task_input,"
                " priority) SELECT pipeline_id, '1.0', '1.0', sha256(CAST(CAST(n AS text) AS"
                " bytea)), '{}', n % 201 - 100 FROM porch.pipeline, generate_series(1, 30000) n"
            )
        )
        connection.execute(text("ANALYZE porch.task"))
    assert len(porch.claim(caller(secret), 1)) == 1
    given = ("NULL",) * len(CLAIM.names)
    with engine.connect() as connection:
        for setting in ("plan_cache_mode = force_generic_plan", "enable_seqscan = off"):
            connection.execute(text(f"SET LOCAL {setting}"))
        rows = connection.execute(text(f"EXPLAIN EXECUTE porch_claim ({', '.join(given)})"))
        plan = "\n".join(line for (line,) in rows)
    assert "Index Scan using task_claim_queue" in plan
    assert "Sort Key: task.priority" not in plan
    # Nor is what was dealt out looked for among all tasks: each is looked up.
    scans = re.findall(r"Scan (?:using \w+ )?on task\b.*\n +(.*)", plan)
    assert len(scans) == 2
    assert all(condition.startswith("Index Cond: ") for condition in scans), plan


def test_a_pooler_may_hand_sessions_around(database_url: str, tmp_path: Path) -> None:
    """PgBouncer in its mode of transactions, with fewer sessions than there are clients."""
    with pgbouncer(make_url(database_url), tmp_path, sessions=2) as pooled:
        porches = [make_coordinator(pooled) for _ in range(4)]
        _, secret = pipeline(porches[0])
        with ThreadPoolExecutor(4) as threads:
            done = list(threads.map(lambda porch: live(porch, secret, 20), porches))
        keys = [key for mine in done for key in mine]
        assert len(set(keys)) == len(keys) == 80
        assert all(prepared(porch) == {} for porch in porches)
        for porch in porches:
            porch.ledger.engine.dispose()  # type: ignore[attr-defined]


def live(porch: Coordinator, secret: str, times: int) -> list[str]:
    """Submit, claim and report; the keys of what was done."""
    keys = []
    for _ in range(times):
        submit(porch, secret, definitions(1))
        (task,) = wait_until(lambda: porch.claim(caller(secret), 1))
        name = Name(task.task_input_id, attempt=task.attempt)
        porch.update(caller(secret), [Report(name, Status.DONE)])
        keys.append(task.task_input_id)
    return keys


@contextmanager
def pgbouncer(server: URL, folder: Path, sessions: int) -> Iterator[str]:
    """The URL of a pooler before the database of ``server``, with so many sessions."""
    program, port = needs("pgbouncer"), free_port()
    (folder / "users.txt").write_text(f'"{server.username}" "{server.password}"\n')
    (folder / "pgbouncer.ini").write_text(
        f"""\
[databases]
{server.database} = host={server.host} port={server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = plain
auth_file = {folder}/users.txt
pool_mode = transaction
default_pool_size = {sessions}
"""
    )
    argv = [program, str(folder / "pgbouncer.ini")]
    if os.geteuid() == 0:  # it refuses to be root
        for path in (folder, *folder.iterdir(), *folder.parents[:2]):
            path.chmod(0o755)
        argv[1:1] = ["--user", "nobody"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(argv, stdout=log, stderr=subprocess.STDOUT)
        try:
            pooled = server.set(host="127.0.0.1", port=port)
            wait_until(lambda: answers(pooled), what=(folder / "log").read_text())
            yield pooled.render_as_string(hide_password=False)
        finally:
            process.terminate()
            process.wait(30)


def answers(url: URL) -> bool:
    engine = create_engine(url)
    try:
        with engine.connect():
            return True
    except OperationalError:
        return False
    finally:
        engine.dispose()
