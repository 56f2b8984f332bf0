"""The peer celery_singleton: Celery with a lock in Redis for each task and its arguments.

What is "known" here: a task with the same arguments that waits or runs. The lock goes with the end
of the task, so a definition that is done would be run again; and it is in Redis alone, which
writes to disk once a second. Nothing is in PostgreSQL.

- ``bulk``: ``apply_async`` of each definition, since neither it nor Celery has a bulk call. In
  kombu's ``Producer.batch``, which celery-singleton does not know of, and which makes it half as
  fast again: where publishing fails, this driver frees the locks, which it would have done itself.
- ``single``: ``apply_async``; new where the answer is the identifier that was given.
- ``life``: ``apply_async`` and the result of a worker: no claim of its own, no RUNNING, no history.

There is no worker in ``bulk`` and ``single``: it would take the machine from the callers, and free
the locks of what is to be known. That of ``life`` has a queue of its own.

Settings: celery-singleton's defaults (README, "Quick start": base class, result backend in Redis,
no expiry of locks). The worker of ``life`` is Celery's prefork pool with a process for each core
(its default) without gossip, mingle, heartbeat and events, which is faster; prefetch as it is by
default, as for short tasks (its docs, "Optimizing").
"""

from __future__ import annotations

import atexit
import functools
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

import redis

sys.path.insert(0, os.environ["BENCH_PATH"])
sys.path.insert(1, str(Path(__file__).parent))
import load
from bench_app import app, register
from drivers.footprint import family_mb, milliseconds, python_mb

HERE = Path(__file__).parent
BROKER = os.environ["BROKER_URL"]
WORKER = [sys.executable, "-P", "-m", "celery", "--workdir", str(HERE), "-A", "bench_app", "worker"]
WORKER += ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "WARNING"]
WORKER += ["--queues", "life"]
# Definitions published together, and such batches at once.
BATCH, BATCHES_AT_ONCE = 200, 4


def producer() -> Any:
    """A publisher with a connection of its own, for one caller."""
    return app.amqp.Producer(app.connection_for_write())


def submit(publisher: Any, definition: dict[str, Any]) -> bool:
    """Submit a definition; whether it was new."""
    key = str(uuid4())
    result = register.apply_async((definition,), task_id=key, producer=publisher)
    return bool(result.id == key)


def submit_all(publisher: Any, given: Sequence[dict[str, Any]]) -> int:
    """Submit definitions, published together; how many were new."""
    new: list[dict[str, Any]] = []
    try:
        with publisher.batch(BATCH):
            new += (one for one in given if submit(publisher, one))
    except Exception:
        for one in new:
            register.release_lock((one,))
        raise
    return len(new)


def registered(given: Sequence[dict[str, Any]]) -> load.Race:
    """Submit all in batches; each value is how many of a batch were new."""
    batches = [given[at : at + BATCH] for at in range(0, len(given), BATCH)]
    each = -(-len(batches) // BATCHES_AT_ONCE)

    def make_caller(_: int) -> load.Operation:
        publisher = producer()
        # Beyond the last is what warms up, and the rest of an uneven share.
        return lambda i: submit_all(publisher, batches[i]) if i < len(batches) else 0

    race = load.race(BATCHES_AT_ONCE, each, make_caller)
    if race.errors:
        raise RuntimeError(race.errors[0])
    return race


def bulk(definitions: int, known: float, seed: int) -> dict[str, Any]:
    given = load.definitions(seed, definitions)
    if beforehand := load.known(given, known):
        registered(beforehand)
    before = waiting()
    race = registered(given)
    return {
        "seconds": race.seconds,
        "cpu": race.cpu,
        "done": len(given),
        "new": sum(race.values),
        "kept": len(beforehand) + waiting() - before,
    }


def waiting() -> int:
    """How many tasks are in the queue."""
    with redis.Redis.from_url(BROKER) as broker:
        return int(broker.llen("celery"))


def single(callers: int, each: int, seed: int) -> dict[str, Any]:
    def make_caller(_: int) -> load.Operation:
        publisher = producer()
        return lambda i: submit(publisher, load.definition(seed, i))

    before = waiting()
    race = load.race(callers, each, make_caller)
    return race.told(new=sum(race.values), kept=waiting() - before - callers)


@functools.cache
def worker() -> subprocess.Popen[bytes]:
    """A worker of a queue of its own, started by the first that needs it."""
    process = load.started(WORKER)
    atexit.register(load.stopped, [process])
    return process


def life(callers: int, each: int, seed: int) -> dict[str, Any]:
    worker()

    def make_caller(_: int) -> load.Operation:
        publisher = producer()

        def live(i: int) -> str:
            definition = load.definition(seed, i)
            result = register.apply_async((definition,), producer=publisher, queue="life")
            result.get(timeout=60)
            return str(result.id)

        return live

    race = load.race(callers, each, make_caller)
    return race.told(doubles=load.doubles([race.values + race.warming]))


def footprint() -> dict[str, Any]:
    """A worker and a client after a task each, the start of a client, and messages."""
    with redis.Redis.from_url(BROKER) as broker:
        broker.flushdb()
        submit_all(producer(), load.definitions(0, 1000))
        # Together: each definition is a message in the queue, and a lock.
        held = [broker.memory_usage(key, samples=0) or 0 for key in broker.scan_iter(count=1000)]
        broker.flushdb()
    pid = worker().pid
    life(1, 1, 0)
    worker_mb, worker_pss_mb = family_mb(pid)
    client_mb, client_pss_mb = python_mb(_CLIENT)
    return {
        "worker_mb": worker_mb,
        "worker_pss_mb": worker_pss_mb,
        "client_mb": client_mb,
        "client_pss_mb": client_pss_mb,
        "cold_start_ms": milliseconds([sys.executable, "-P", "-c", _IMPORT]),
        "submit_ms": milliseconds([sys.executable, "-P", "-c", _CLIENT]),
        "broker_bytes_per_definition": sum(held) / 1000,
    }


_IMPORT = f"import sys; sys.path.insert(0, {str(HERE)!r}); import bench_app"
_CLIENT = f"{_IMPORT}; bench_app.register.delay({{}})\n"


if __name__ == "__main__":
    works = {"bulk": bulk, "single": single, "life": life, "footprint": footprint}
    versions = f"{version('celery-singleton')}, celery {version('celery')}"
    load.serve(works, "celery_singleton", versions)
