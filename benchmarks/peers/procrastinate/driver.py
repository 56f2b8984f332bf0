"""The peer procrastinate: a task queue in PostgreSQL that deduplicates by a *queueing lock*.

What each work is here:

- ``bulk``: batches of jobs, each job with a queueing lock of its own, through the job manager's
  batch defer (the public ``task.batch_defer`` gives one lock to all jobs of a batch, which can
  only fail). A batch with a known definition in it is refused whole (its docs, "Batch defer
  multiple jobs"), and it has no way around that; the driver does what is fastest for it: asks its
  table for the locks that are taken, and defers the rest.
- ``single``: one defer with a queueing lock; AlreadyEnqueued is the answer "known".
- ``claim``: the job manager's fetch of one job, as its worker does, but without waiting for a
  worker; for 100 tasks it is 100 fetches: it has no other.
- ``life``: defer, fetch, finish. Its RUNNING is the fetch.
- ``grow``: what growth is measured on, by SQL.

Settings: its connectors with their defaults (its docs, "Instantiate your connector": sync to defer
from sync code, async to fetch), with as many connections as callers, and jobs kept when finished,
which is its default. Two deviations that make it faster: connections are in autocommit (each
operation of it is one statement, so BEGIN and COMMIT are saved), and the job manager is called
directly, where ``task.configure().defer()`` would also make records for the log.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
from procrastinate import App, PsycopgConnector, SyncPsycopgConnector, exceptions, metadata
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager

sys.path.insert(0, os.environ["BENCH_PATH"])
import load
from drivers.footprint import family_mb, milliseconds, python_mb

URL = os.environ["DATABASE_URL"]
# It warns of every App that is made in a main module.
logging.getLogger("procrastinate").setLevel(logging.ERROR)
# Measured: of 500 to 4,000 to a batch and 1 to 4 batches at once, the fastest.
BATCH, BATCHES_AT_ONCE = 1000, 2
# The callers are threads: only the first makes what they share.
MAKING = threading.Lock()

KEPT = "SELECT count(*) FROM procrastinate_jobs WHERE queueing_lock = ANY(%(locks)s)"
# Definitions and events as those of ``load.definition`` and of the triggers, if not the same.
GROW_BATCH = 500_000
GROW = """
    WITH made AS (
        SELECT n, jsonb_build_object(
            'id_run', n / 384, 'position', n %% 384 / 96 + 1, 'tag_index', n %% 96 + 1,
            'sample', %(status)s || n, 'library', 'DN' || n * 7919 %% 899999 || 'K',
            'reference', 'Homo_sapiens/GRCh38_full_analysis_set_plus_decoy_hla',
            'paired', n %% 5 <> 0) AS args
        FROM generate_series(%(seed)s::bigint * 100000000 + %(first)s,
            %(seed)s::bigint * 100000000 + %(last)s) AS n
    ), job AS (
        INSERT INTO procrastinate_jobs
            (queue_name, task_name, queueing_lock, args, status, attempts)
        SELECT 'bench', 'register', encode(sha256(convert_to(args::text, 'UTF8')), 'hex'), args,
            %(status)s::procrastinate_job_status, (%(status)s = 'succeeded')::int
        FROM made RETURNING id, status
    )
    INSERT INTO procrastinate_events (job_id, type)
    SELECT id, type::procrastinate_job_event_type
    FROM job, unnest(CASE status WHEN 'todo' THEN ARRAY['deferred']
        ELSE ARRAY['deferred', 'started', 'succeeded'] END) AS type
"""
LEFT = """
    SELECT count(*) FROM procrastinate_jobs
    WHERE queue_name = 'footprint' AND status IN ('todo', 'doing')
"""
TAKEN = """
    SELECT queueing_lock FROM procrastinate_jobs
    WHERE status = 'todo' AND queueing_lock = ANY(%(locks)s)
"""


def job(definition: dict[str, Any]) -> Job:
    """The job of a definition; its queueing lock is the hash of the definition's canonical form."""
    text = json.dumps(definition, sort_keys=True, separators=(",", ":"))
    lock = hashlib.sha256(text.encode()).hexdigest()
    return Job(
        queue="bench", lock=None, queueing_lock=lock, task_name="register", task_kwargs=definition
    )


def sync_manager(callers: int) -> JobManager:
    """The job manager of this process, for its share of so many sync callers."""
    with MAKING:
        return _sync_manager(callers)


@functools.cache
def _sync_manager(connections: int) -> JobManager:
    connector = SyncPsycopgConnector(
        conninfo=URL,
        min_size=connections,
        max_size=connections,
        configure=lambda connection: connection.set_autocommit(True),
    )
    app = App(connector=connector)
    app.open()
    return app.job_manager


async def async_manager() -> JobManager:
    """A job manager with one connection, for one caller with an event loop of its own."""
    connector = PsycopgConnector(
        conninfo=URL,
        min_size=1,
        max_size=1,
        configure=lambda connection: connection.set_autocommit(True),
    )
    app = App(connector=connector)
    await app.open_async()
    return app.job_manager


def register(manager: JobManager, given: Sequence[dict[str, Any]]) -> int:
    """Defer the definitions that are not waiting yet; how many those were."""
    jobs = [job(one) for one in given]
    while jobs:
        try:
            return len(manager.batch_defer_jobs(jobs))
        except exceptions.AlreadyEnqueued:
            locks = [one.queueing_lock for one in jobs]
            rows = manager.connector.get_sync_connector().execute_query_all(TAKEN, locks=locks)
            taken = {row["queueing_lock"] for row in rows}
            jobs = [one for one in jobs if one.queueing_lock not in taken]
    return 0


def registered(given: Sequence[dict[str, Any]]) -> load.Race:
    """Register all in batches; each value is how many of a batch were new."""
    batches = [given[at : at + BATCH] for at in range(0, len(given), BATCH)]
    callers = min(BATCHES_AT_ONCE, len(batches))
    each = -(-len(batches) // callers)

    def make_caller(k: int) -> load.Operation:
        manager = sync_manager(callers)

        def batch(i: int) -> int:
            # Beyond the last is what warms up, and the rest of an uneven share.
            return register(manager, batches[i]) if i < len(batches) else 0

        return batch

    return load.race(callers, each, make_caller)


def bulk(definitions: int, known: float, seed: int) -> dict[str, Any]:
    given = load.definitions(seed, definitions)
    if beforehand := load.known(given, known):
        registered(beforehand)
    race = registered(given)
    if race.errors:
        raise RuntimeError(race.errors[0])
    return {
        "seconds": race.seconds,
        "done": len(given),
        "new": sum(race.values),
        "kept": kept(given),
    }


def kept(given: Sequence[dict[str, Any]]) -> int:
    """How many of the definitions PostgreSQL has, whatever it was that was answered."""
    with psycopg.connect(URL) as connection:
        locks = [job(one).queueing_lock for one in given]
        found = connection.execute(KEPT, {"locks": locks}).fetchone()
        return int(found[0]) if found else 0


def fill(tasks: int, seed: int) -> dict[str, Any]:
    done = sum(registered(load.definitions(seed, tasks)).values)
    with psycopg.connect(URL, autocommit=True) as connection:
        # Sooner or later autovacuum does it.
        connection.execute("VACUUM ANALYZE")
    return {"done": done}


def grow(tasks: int, backlog: int, seed: int) -> dict[str, Any]:
    """Leave so many finished jobs with their events, and so many that wait, by SQL."""
    with psycopg.connect(URL, autocommit=True) as connection:
        # Its triggers would write the events one by one, and notify nobody.
        connection.execute("SET session_replication_role = replica")
        for status, amount in ("succeeded", tasks), ("todo", backlog):
            for first in range(0, amount, GROW_BATCH):
                last = min(first + GROW_BATCH, amount) - 1
                span = {"status": status, "seed": seed, "first": first, "last": last}
                connection.execute(GROW, span)
        connection.execute("VACUUM ANALYZE")
    return {"done": tasks + backlog}


def single(callers: int, each: int, seed: int) -> dict[str, Any]:
    def make_caller(k: int) -> load.Operation:
        manager = sync_manager(callers)

        def defer(i: int) -> bool:
            try:
                manager.defer_job(job(load.definition(seed, i)))
            except exceptions.AlreadyEnqueued:
                return False
            return True

        return defer

    race = load.race(callers, each, make_caller)
    given = load.definitions(seed, callers * (each + 1))
    return race.told(new=sum(race.values), kept=kept(given) - callers)


def claim(callers: int, n: int, each: int) -> dict[str, Any]:
    def make_caller(k: int) -> load.Operation:
        loop = asyncio.new_event_loop()
        manager = loop.run_until_complete(async_manager())
        worker = loop.run_until_complete(manager.register_worker())

        async def fetch() -> list[int]:
            found = [await manager.fetch_job(None, worker) for _ in range(n)]
            return [one.id for one in found if one and one.id]

        return lambda i: loop.run_until_complete(fetch())

    race = load.race(callers, each, make_caller)
    return race.told(
        done=sum(map(len, race.values)),
        calls=len(race.values),
        doubles=load.doubles(race.values + race.warming),
    )


def life(callers: int, each: int, seed: int) -> dict[str, Any]:
    def make_caller(k: int) -> load.Operation:
        loop = asyncio.new_event_loop()
        manager = loop.run_until_complete(async_manager())
        worker = loop.run_until_complete(manager.register_worker())

        async def live(i: int) -> int:
            await manager.defer_job_async(job(load.definition(seed, i)))
            # Another caller may have this very job, and lock the others for a moment.
            while not (found := await manager.fetch_job(None, worker)):
                pass
            await manager.finish_job(found, Status.SUCCEEDED, delete_job=False)
            return found.id or 0

        return lambda i: loop.run_until_complete(live(i))

    race = load.race(callers, each, make_caller)
    return race.told(doubles=load.doubles([race.values + race.warming]))


def footprint() -> dict[str, Any]:
    """A worker and a client after a job each, and the start of a client."""
    worker = load.started([sys.executable, "-P", str(Path(__file__).with_name("worker.py"))])
    try:
        client_mb, client_pss_mb = python_mb(_CLIENT)
        with psycopg.connect(URL, autocommit=True) as connection:
            while (left := connection.execute(LEFT).fetchone()) and left[0]:
                time.sleep(0.05)
        worker_mb, worker_pss_mb = family_mb(worker.pid)
    finally:
        load.stopped([worker])
    return {
        "worker_mb": worker_mb,
        "worker_pss_mb": worker_pss_mb,
        "client_mb": client_mb,
        "client_pss_mb": client_pss_mb,
        "cold_start_ms": milliseconds([sys.executable, "-P", "-c", "import procrastinate"]),
        "submit_ms": milliseconds([sys.executable, "-P", "-c", _CLIENT]),
    }


#: A wrapper that has deferred a job.
_CLIENT = """
import os
from procrastinate import App, SyncPsycopgConnector
app = App(connector=SyncPsycopgConnector(conninfo=os.environ["DATABASE_URL"]))
with app.open():
    app.configure_task("register", queue="footprint").defer(client=1)
"""


def main() -> None:
    with App(connector=SyncPsycopgConnector(conninfo=URL)).open() as app:
        app.schema_manager.apply_schema()
    works = {"bulk": bulk, "fill": fill, "grow": grow, "single": single, "claim": claim}
    more = {"life": life, "footprint": footprint}
    load.serve({**works, **more}, "procrastinate", metadata.extract_metadata()["version"])


if __name__ == "__main__":
    main()
