"""What a worker's main process answers, beside its work: to ``porch-server doctor``, and to whoever
asks what it has in hand."""

from __future__ import annotations

import time
from typing import Any

from celery.signals import task_received
from celery.worker import state as worker
from celery.worker.control import inspect_command

from config.wiring import counting
from config.worker_health import COMMAND
from tasks import poison

#: How many requests are told: those longest in hand, and the latest that have killed children.
_MOST = 5


class _LastSweep:
    """When this worker was asked for a sweep last; at first, when it began."""

    at = time.monotonic()


@task_received.connect
def _note(request: Any, **_: object) -> None:
    if request.name == "porch.sweep":
        _LastSweep.at = time.monotonic()
        counting().sweep_asked(time.time())


@inspect_command(name=COMMAND)
def health(state: Any) -> dict[str, Any]:
    """``time`` since 1970, names of ``queues``, and for how long it is ``unswept``, in seconds;
    what it has ``in_hand``, each for how long, and what is ``deadly``, each since when."""
    consumer = state.consumer.task_consumer
    now = time.monotonic()
    begun = [one for one in worker.active_requests if one.time_start]
    return {
        "time": time.time(),
        "queues": [queue.name for queue in consumer.queues] if consumer else [],
        "unswept": now - _LastSweep.at,
        "in_hand": [
            {"id": one.id, "about": poison.about(one), "seconds": time.time() - one.time_start}
            for one in sorted(begun, key=lambda one: float(one.time_start))[:_MOST]
        ],
        "deadly": [
            {
                "id": one.request_id,
                "about": one.about,
                "deaths": one.deaths,
                "given_up": one.given_up,
                "seconds": now - one.at,
            }
            for one in poison.known()[:_MOST]
        ],
    }
