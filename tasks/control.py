"""What a worker answers to ``porch-server doctor``, beside its work, from its main process."""

from __future__ import annotations

import time
from typing import Any

from celery.signals import task_received
from celery.worker.control import inspect_command

from config.broker_health import COMMAND
from config.wiring import counting


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
    """``time`` since 1970, names of ``queues``, and for how long it is ``unswept``, in seconds."""
    consumer = state.consumer.task_consumer
    return {
        "time": time.time(),
        "queues": [queue.name for queue in consumer.queues] if consumer else [],
        "unswept": time.monotonic() - _LastSweep.at,
    }
