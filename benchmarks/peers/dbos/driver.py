"""The peer dbos: durable workflows in PostgreSQL, deduplicated by their identifier.

The identifier of a workflow is the hash of its definition; an identifier is kept as long as the
workflow's row, so "known" is what it is for porch.

- ``bulk``: ``DBOSClient.enqueue_in_transaction``, many in one transaction, several transactions at
  once; it has no bulk call. With ``workflow_id_reuse_policy="reject"`` it says what was known,
  and the transaction goes on.
- ``single``: ``DBOSClient.enqueue`` with the same policy.
- ``claim``: what its worker does at each poll (claim up to ``n`` workflows, then read their
  definitions), called directly by each claimer, though these calls are not public: its worker only
  polls, at intervals, and runs what it claims. This is faster for it.
- ``life``: enqueued by all callers, run by one worker with a queue of its own, as its docs say; its
  RUNNING is the claim. A latency is from the enqueuing to the outcome, both as PostgreSQL has them;
  a caller does not wait for it before it enqueues the next, which is faster for it.

Settings: its defaults (its docs, "DBOS Client", "Queues"): no limit of concurrency. Where it makes
dbos faster: as many connections as callers, no test of a connection before each use, and a worker
that polls each 0.1 s instead of each second.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from dbos import DBOSClient
from dbos._error import DBOSWorkflowIDInUseError
from sqlalchemy import Engine, create_engine

sys.path.insert(0, os.environ["BENCH_PATH"])
sys.path.insert(1, str(Path(__file__).parent))
import load
from drivers.footprint import family_mb, milliseconds, python_mb
from worker import NAME, VERSION

URL = os.environ["DATABASE_URL"]
WORKER = [sys.executable, "-P", str(Path(__file__).with_name("worker.py"))]
WAITING, LIVING = "bench", "life"
POLL_SECONDS = "0.1"
# Definitions of one transaction, and such transactions at once.
BATCH, BATCHES_AT_ONCE = 500, 4
# The callers are threads: only the first makes what they share.
MAKING = threading.Lock()

KEPT = "SELECT count(*) FROM dbos.workflow_status WHERE workflow_uuid = ANY(%(keys)s)"
LEFT = """
    SELECT count(*) FROM dbos.workflow_status
    WHERE queue_name = %(queue)s AND status IN ('ENQUEUED', 'PENDING')
"""
FILL = """
    INSERT INTO dbos.workflow_status
    SELECT (jsonb_populate_record(one, jsonb_build_object('workflow_uuid', key))).*
    FROM dbos.workflow_status AS one, unnest(%(keys)s::text[]) AS key
    WHERE workflow_uuid = %(first)s
"""
FILL_INPUTS = """
    INSERT INTO dbos.workflow_input
    SELECT (jsonb_populate_record(one,
        jsonb_build_object('workflow_uuid', key, 'inputs', input))).*
    FROM dbos.workflow_input AS one,
        unnest(%(keys)s::text[], %(inputs)s::text[]) AS given (key, input)
    WHERE workflow_uuid = %(first)s
"""
LIVES = """
    SELECT created_at, completed_at, status FROM dbos.workflow_status
    WHERE workflow_uuid = ANY(%(keys)s)
"""


def client(callers: int) -> tuple[DBOSClient, Engine]:
    """The client of this process, for its share of so many callers, and its connections."""
    with MAKING:
        return _client(-(-callers // load.PROCESSES))


@functools.cache
def _client(connections: int) -> tuple[DBOSClient, Engine]:
    url = URL.replace("postgresql:", "postgresql+psycopg:", 1)
    engine = create_engine(url, pool_size=connections, max_overflow=0)
    return DBOSClient(system_database_engine=engine, application_name=NAME), engine


def key_of(definition: dict[str, Any]) -> str:
    """The identifier of the workflow of a definition."""
    text = json.dumps(definition, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def options(key: str, queue: str) -> Any:
    """How to enqueue: as new, or not at all."""
    return {
        "workflow_name": "register",
        "queue_name": queue,
        "workflow_id": key,
        "workflow_id_reuse_policy": "reject",
    }


def registered(given: Sequence[dict[str, Any]]) -> load.Race:
    """Enqueue all in batches; each value is how many of a batch were new."""
    batches = [given[at : at + BATCH] for at in range(0, len(given), BATCH)]
    each = -(-len(batches) // BATCHES_AT_ONCE)

    def make_caller(_: int) -> load.Operation:
        dbos, engine = client(BATCHES_AT_ONCE)

        def batch(i: int) -> int:
            new = 0
            # Beyond the last is what warms up, and the rest of an uneven share.
            for definition in batches[i] if i < len(batches) else ():
                try:
                    key = key_of(definition)
                    dbos.enqueue_in_transaction(connection, options(key, WAITING), definition)
                    new += 1
                except DBOSWorkflowIDInUseError:
                    pass
            connection.commit()
            return new

        connection = engine.connect()
        return batch

    race = load.race(BATCHES_AT_ONCE, each, make_caller)
    if race.errors:
        raise RuntimeError(race.errors[0])
    return race


def bulk(definitions: int, known: float, seed: int) -> dict[str, Any]:
    given = load.definitions(seed, definitions)
    if beforehand := load.known(given, known):
        registered(beforehand)
    race = registered(given)
    return {
        "seconds": race.seconds,
        "cpu": race.cpu,
        "done": len(given),
        "new": sum(race.values),
        "kept": kept(given),
    }


def kept(given: Sequence[dict[str, Any]]) -> int:
    """How many of the definitions PostgreSQL has, whatever it was that was answered."""
    with psycopg.connect(URL) as connection:
        keys = [key_of(one) for one in given]
        found = connection.execute(KEPT, {"keys": keys}).fetchone()
        return int(found[0]) if found else 0


def fill(tasks: int, seed: int) -> dict[str, Any]:
    """By SQL: one is enqueued, and the others are written as that one was."""
    given = load.definitions(seed, tasks)
    dbos, engine = client(1)
    dbos.enqueue(options(key_of(given[0]), WAITING), given[0])
    with psycopg.connect(URL, autocommit=True) as connection:
        for first in range(1, tasks, 5_000):
            some = given[first : first + 5_000]
            keys = [key_of(one) for one in some]
            # What the client writes as the input of a workflow.
            inputs = [
                dbos._build_enqueue_status(options(key, WAITING), one)[1]["inputs"]
                for key, one in zip(keys, some, strict=True)
            ]
            rows = {"first": key_of(given[0]), "keys": keys, "inputs": inputs}
            connection.execute(FILL, rows)
            connection.execute(FILL_INPUTS, rows)
        # Sooner or later autovacuum does it.
        connection.execute("VACUUM ANALYZE")
    # No connection may be shared with the processes that are forked later.
    dbos.destroy()
    engine.dispose()
    _client.cache_clear()
    return {"done": tasks}


def single(callers: int, each: int, seed: int) -> dict[str, Any]:
    def make_caller(_: int) -> load.Operation:
        dbos, _engine = client(callers)

        def enqueue(i: int) -> bool:
            definition = load.definition(seed, i)
            try:
                dbos.enqueue(options(key_of(definition), WAITING), definition)
            except DBOSWorkflowIDInUseError:
                return False
            return True

        return enqueue

    race = load.race(callers, each, make_caller)
    given = load.definitions(seed, callers * (each + 1))
    return race.told(new=sum(race.values), kept=kept(given) - callers)


def claim(callers: int, n: int, each: int) -> dict[str, Any]:
    def make_caller(k: int) -> load.Operation:
        dbos, _engine = client(callers)
        database = dbos._sys_db
        with MAKING:
            queue = dbos.register_queue(WAITING, worker_concurrency=n)

        def poll(_: int) -> list[str]:
            claimed, _reason = database.start_queued_workflows(
                queue, f"claimer-{k}", VERSION, None, owner_xid=str(uuid4())
            )
            return [status["workflow_uuid"] for status in database.get_workflow_statuses(claimed)]

        return poll

    race = load.race(callers, each, make_caller)
    return race.told(
        sum(map(len, race.values)),
        calls=len(race.values),
        doubles=load.doubles(race.values + race.warming),
    )


@functools.cache
def worker() -> subprocess.Popen[bytes]:
    """A worker of a queue of its own, started by the first that needs it."""
    process = load.started([*WORKER, LIVING, POLL_SECONDS])
    atexit.register(load.stopped, [process])
    return process


def life(callers: int, each: int, seed: int) -> dict[str, Any]:
    worker()

    def make_caller(_: int) -> load.Operation:
        dbos, _engine = client(callers)

        def enqueue(i: int) -> str:
            definition = load.definition(seed, i)
            key = key_of(definition)
            handle = dbos.enqueue(options(key, LIVING), definition)
            if i >= callers * each:
                # It warms up, and the worker too.
                handle.get_result(polling_interval_sec=0.1)
            return key

        return enqueue

    race = load.race(callers, each, make_caller)
    wait_for_lives()
    with psycopg.connect(URL) as connection:
        lives = connection.execute(LIVES, {"keys": race.values}).fetchall()
    ended = [life for life in lives if life[2] == "SUCCESS"]
    race.latencies = [(completed - created) / 1000 for created, completed, _ in ended]
    race.seconds = (max(life[1] for life in ended) - min(life[0] for life in ended)) / 1000
    return race.told(len(ended), doubles=load.doubles([race.values]))


def wait_for_lives() -> None:
    """Until the worker has nothing to do."""
    with psycopg.connect(URL, autocommit=True) as connection:
        while (left := connection.execute(LEFT, {"queue": LIVING}).fetchone()) and left[0]:
            time.sleep(0.05)


def footprint() -> dict[str, Any]:
    """A worker and a client after a workflow each, and the start of a client."""
    pid = worker().pid
    subprocess.run([sys.executable, "-P", "-c", _CLIENT], check=True)
    wait_for_lives()
    worker_mb, worker_pss_mb = family_mb(pid)
    client_mb, client_pss_mb = python_mb(_CLIENT)
    return {
        "worker_mb": worker_mb,
        "worker_pss_mb": worker_pss_mb,
        "client_mb": client_mb,
        "client_pss_mb": client_pss_mb,
        "cold_start_ms": milliseconds([sys.executable, "-P", "-c", "from dbos import DBOSClient"]),
        "submit_ms": milliseconds([sys.executable, "-P", "-c", _CLIENT]),
    }


#: A wrapper that has enqueued a definition.
_CLIENT = """
import os
from dbos import DBOSClient
client = DBOSClient(system_database_url=os.environ["DATABASE_URL"])
client.enqueue({"workflow_name": "register", "queue_name": "life"}, {"client": 1})
"""


if __name__ == "__main__":
    for name in (WAITING, LIVING):
        if load.started([*WORKER, name, POLL_SECONDS, "once"]).wait():
            raise SystemExit("dbos did not make its tables")
    works = {"bulk": bulk, "fill": fill, "single": single, "claim": claim, "life": life}
    load.serve({**works, "footprint": footprint}, "dbos", version("dbos"))
