"""A ledger with many finished tasks and a backlog, made by SQL: what years of work leave behind.

    python -m benchmarks.growth_fill URL --tasks N

Every finished task has its four events and its claim, keys are the SHA-256 of the inputs, and
events of many tasks lie between those of one, as they come. ``BENCHMARKED``, the largest of thirty
pipelines, has a quarter of the tasks and the whole backlog.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, text

from benchmarks.unindexed import shape, unindexed
from db.migrate import upgrade

PIPELINES = 30
BENCHMARKED = "bench"
BACKLOG = 100_000
DAYS = 90

#: Tasks whose events of one kind lie together; blocks that one transaction writes.
_BLOCK, _BLOCKS = 1_000, 200
_NUMBER_OF_SHARES = 1_024

_PIPELINE = "(CAST(:shares AS bigint[]))[1 + (hashint8(n) & 1023)]"
_FAILED = "n % 33 = 0"
_CREATED = """CAST(:now AS timestamptz) - interval '3 hours'
            - make_interval(days => :days) * (1 - n / CAST(:tasks AS float))"""
_INPUT = """'{"lane":' || n % 8 + 1 || ',"library":"DN' || 100000 + n * 7 % 899999
            || 'K","run":' || 40000 + n / 3072 || ',"sample":"SAMEA' || 10000000 + n
            || '","study":"Study of ' || n % 37 || ' populations","tag":' || n / 8 % 384 || '}'"""
_CLAIM = f"CAST(md5('claim ' || {_PIPELINE} || ' ' || n / 40) AS uuid)"
_SUBMIT = "CAST(md5('submit ' || n / 1000) AS uuid)"

_BEGIN = [
    f"""
    INSERT INTO porch.pipeline (name, uri)
    SELECT CASE n WHEN 1 THEN '{BENCHMARKED}' ELSE 'pipeline-' || to_char(n, 'FM00') END,
        'https://example.org/' || n
    FROM generate_series(1, :pipelines) n
    """,  # noqa: S608
    """
    INSERT INTO porch.version (pipeline_id, version)
    SELECT pipeline_id, '1.0' FROM porch.pipeline
    """,
    """
    INSERT INTO porch.token (digest, pipeline_id, description)
    SELECT sha256(uuid_send(gen_random_uuid())), pipeline_id, 'wrappers of ' || name
    FROM porch.pipeline ORDER BY pipeline_id
    """,
]

_TASKS = f"""
    INSERT INTO porch.task (task_id, pipeline_id, version, scope, task_input_id, task_input,
        status, attempt, created_at, updated_at, job_id)
    OVERRIDING SYSTEM VALUE
    SELECT n, pipeline_id, '1.0', '1.0', sha256(CAST(input AS bytea)), CAST(input AS json),
        CASE WHEN {_FAILED} THEN 'FAILED' ELSE 'DONE' END, 1, created, created + interval '2 hours',
        CAST(5000000 + n AS text)
    FROM (
        SELECT n, {_PIPELINE} AS pipeline_id, {_INPUT} AS input, {_CREATED} AS created
        FROM generate_series(CAST(:first * :block + 1 AS bigint),
            least((:last + 1) * :block, :tasks)) n OFFSET 0
    ) t
    """  # noqa: S608 (put together of constants)

_CLAIMS = f"""
    INSERT INTO porch.claim (pipeline_id, request_id, claimed_at)
    SELECT {_PIPELINE}, {_CLAIM}, min({_CREATED} + interval '1 hour')
    FROM generate_series(CAST(:first * :block AS bigint), least((:last + 1) * :block - 1, :tasks)) n
    WHERE n > 0 GROUP BY 1, 2
    """  # noqa: S608

_EVENTS = f"""
    INSERT INTO porch.event (event_id, task_id, at, from_status, to_status, attempt, token_id,
        request_id, host, message, job_id)
    OVERRIDING SYSTEM VALUE
    SELECT (b * 4 + step) * :block + n - (b - lag) * :block, n, {_CREATED} + after, from_status,
        CASE WHEN step = 3 AND {_FAILED} THEN 'FAILED' ELSE to_status END, attempt,
        (CAST(:tokens AS bigint[]))[{_PIPELINE}],
        CASE step WHEN 0 THEN {_SUBMIT} WHEN 1 THEN {_CLAIM} ELSE gen_random_uuid() END,
        'node-' || n % 64,
        CASE WHEN step = 3 AND {_FAILED} THEN 'exit 1: no such file: /seq/' || n || '.cram' END,
        CASE WHEN step > 0 THEN CAST(5000000 + n AS text) END
    FROM (
        SELECT b, s.*
        FROM generate_series(CAST(:first AS bigint), CAST(:last AS bigint)) b CROSS JOIN (VALUES
            (0, 0, CAST(NULL AS text), 'PENDING', 0, interval '0'),
            (1, 1, 'PENDING', 'CLAIMED', 1, interval '1 hour'),
            (2, 1, 'CLAIMED', 'RUNNING', 1, interval '1 hour 10 seconds'),
            (3, 2, 'RUNNING', 'DONE', 1, interval '2 hours')
        ) s (step, lag, from_status, to_status, attempt, after)
        ORDER BY b, step OFFSET 0
    ) steps CROSS JOIN LATERAL generate_series(
        greatest((b - lag) * :block + 1, 1), least((b - lag + 1) * :block, :tasks)) n
    """  # noqa: S608

_BACKLOG = [
    f"""
    INSERT INTO porch.task (task_id, pipeline_id, version, scope, task_input_id, task_input,
        created_at, updated_at)
    OVERRIDING SYSTEM VALUE
    SELECT n, 1, '1.0', '1.0', sha256(CAST(input AS bytea)), CAST(input AS json), created, created
    FROM (
        SELECT n, {_INPUT} AS input, CAST(:now AS timestamptz)
            - interval '50 minutes' * (:tasks + :backlog - n) / CAST(:backlog AS float) AS created
        FROM generate_series(CAST(:tasks AS bigint) + 1, :tasks + :backlog) n OFFSET 0
    ) t
    """,  # noqa: S608
    f"""
    INSERT INTO porch.event (event_id, task_id, at, to_status, attempt, token_id, request_id, host)
    OVERRIDING SYSTEM VALUE
    SELECT (SELECT max(event_id) FROM porch.event) + n - :tasks, n, created_at, 'PENDING', 0,
        (CAST(:tokens AS bigint[]))[1], {_SUBMIT}, 'node-' || n % 64
    FROM (
        SELECT task_id AS n, created_at FROM porch.task WHERE task_id > :tasks
        ORDER BY task_id OFFSET 0
    ) t
    """,  # noqa: S608
    "SELECT setval('porch.task_task_id_seq', max(task_id)) FROM porch.task",
    "SELECT setval('porch.event_event_id_seq', max(event_id)) FROM porch.event",
]

_SERVER = {"max_wal_size": "'16GB'", "checkpoint_timeout": "'1h'", "autovacuum": "off"}


def main() -> None:
    """Migrate and fill one database."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url", help="an empty database, of a role that may change the server")
    parser.add_argument("--tasks", type=int, required=True)
    parser.add_argument("--backlog", type=int, default=BACKLOG)
    given = parser.parse_args()
    begin = time.perf_counter()
    fill(given.url, given.tasks, given.backlog, say)
    say(f"{given.tasks:,} tasks in {time.perf_counter() - begin:.0f} s")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def fill(
    url: str, tasks: int, backlog: int = BACKLOG, progress: Callable[[str], None] = lambda _: None
) -> None:
    """Fill the empty database at ``url``, whose role is a superuser, and leave its schema as the
    migrations have made it."""
    upgrade(url)
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection, _patient(connection):
        before = shape(connection)
        for statement in _BEGIN:
            connection.execute(text(statement), {"pipelines": PIPELINES})
        found = connection.execute(text("SELECT token_id FROM porch.token ORDER BY pipeline_id"))
        values = {
            "tasks": tasks,
            "backlog": backlog,
            "shares": _shares(),
            "tokens": [token_id for (token_id,) in found],
            "now": connection.execute(text("SELECT now()")).scalar_one(),
            "days": DAYS,
            "block": _BLOCK,
        }
        with unindexed(connection, engine, progress):
            _write(engine, values, tasks, progress)
        connection.execute(text("VACUUM (ANALYZE) porch.task, porch.event, porch.claim"))
        progress("vacuumed")
        differences = before ^ shape(connection)
        if differences:
            raise RuntimeError(f"the schema is not what it was: {sorted(differences)}")
    engine.dispose()


def _shares() -> list[int]:
    """Of equal draws, which pipeline each is: the second has half of what the first has, ..."""
    whole = sum(1 / n for n in range(1, PIPELINES + 1))
    shares: list[int] = []
    upto = 0.0
    for n in range(1, PIPELINES + 1):
        upto += 1 / n / whole
        shares += [n] * (round(upto * _NUMBER_OF_SHARES) - len(shares))
    return shares


def _write(
    engine: Engine, values: dict[str, Any], tasks: int, progress: Callable[[str], None]
) -> None:
    """Tasks and claims from one session, events from another."""
    last = (tasks - 1) // _BLOCK + 2  # the last events come two blocks late

    def written(*statements: str) -> None:
        with engine.connect() as connection:
            # The foreign keys hold by construction; checking them row by row would take an hour.
            connection.execute(text("SET session_replication_role = replica"))
            connection.execute(text("SET synchronous_commit = off"))
            for first in range(0, last + 1, _BLOCKS):
                some = {"first": first, "last": min(first + _BLOCKS - 1, last)}
                for statement in statements:
                    connection.execute(text(statement), {**values, **some})
                progress(f"{min(some['last'] * _BLOCK, tasks):,} {statements[0].split()[2]}")

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(written, _TASKS, _CLAIMS), pool.submit(written, _EVENTS)]:
            done.result()
    with engine.connect() as connection:
        connection.execute(text("SET session_replication_role = replica"))
        for statement in _BACKLOG:
            connection.execute(text(statement), values)


@contextmanager
def _patient(connection: Connection) -> Iterator[None]:
    """A server that does not stop to write everything out."""
    for name, value in _SERVER.items():
        connection.execute(text(f"ALTER SYSTEM SET {name} = {value}"))
    connection.execute(text("SELECT pg_reload_conf()"))
    try:
        yield
    finally:
        for name in _SERVER:
            connection.execute(text(f"ALTER SYSTEM RESET {name}"))
        connection.execute(text("SELECT pg_reload_conf()"))
        connection.execute(text("CHECKPOINT"))


if __name__ == "__main__":
    main()
