"""What Celery allows: a task that does nothing, there and back over the same broker.

The worker has the settings of porch's own, the callers are as Celery's documentation shows them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, os.environ["BENCH_PATH"])

from celery import Celery, __version__
from drivers.footprint import family_mb, milliseconds, python_mb, queue_bytes
from load import Operation, definition, race, serve, started, stopped

BROKER = os.environ["BROKER_URL"]
NAME, QUEUE, CONCURRENCY = "bench.noop", "bench.noop", 2
#: Every caller of a process publishes over a pool that they share: none waits for another.
_CONNECTIONS = 64


def make_client() -> Celery:
    """An application for one caller: Celery's consumer of results is not made for several."""
    app = Celery("bench", broker=BROKER, backend=BROKER, set_as_current=False)
    app.conf.broker_pool_limit = _CONNECTIONS
    return app


def there_and_back(app: Celery, given: dict[str, Any]) -> bool:
    """Send a definition to the worker and wait for the answer."""
    result = app.send_task(NAME, args=[given], queue=QUEUE)
    answer = result.get(timeout=60)
    result.forget()
    return bool(answer)


def single(callers: int, each: int, seed: int) -> dict[str, Any]:
    """Each of many sends one definition after the other and waits for the answer."""

    def make_caller(_: int) -> Operation:
        app = make_client()
        return lambda i: there_and_back(app, definition(seed, i))

    run = race(callers, each, make_caller)
    return run.told(new=sum(run.values))


def footprint() -> dict[str, Any]:
    """A worker, and an interpreter that has imported Celery."""
    worker, worker_pss = family_mb(WORKER.pid)
    client, client_pss = python_mb("import celery; celery.Celery\n")
    make_client().send_task(NAME, args=[definition(0, 0)], queue="bench.unread")
    return {
        "worker_mb": worker,
        "worker_pss_mb": worker_pss,
        "client_mb": client,
        "client_pss_mb": client_pss,
        "cold_start_ms": milliseconds([sys.executable, "-P", "-c", "import celery; celery.Celery"]),
        "broker_bytes_single": queue_bytes(BROKER, "bench.unread"),
    }


if __name__ == "__main__":
    WORKER = started(
        [
            *(sys.executable, "-P", str(Path(__file__).with_name("noop_worker.py")), "worker"),
            *("--queues", QUEUE, "--concurrency", str(CONCURRENCY)),
            *("--without-gossip", "--without-mingle"),
        ],
        {"PORCH_BROKER_URL": BROKER, "REMAP_SIGTERM": "SIGQUIT"},
    )
    try:
        there_and_back(make_client(), {})  # the worker is up
        serve({"single": single, "footprint": footprint}, "Celery no-op", __version__)
    finally:
        stopped([WORKER])
