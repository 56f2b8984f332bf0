"""What a worker's main process answers, beside its work: to ``porch-server doctor``, and to whoever
asks what it has in hand."""

from __future__ import annotations

import time
from typing import Any

from celery.signals import task_received
from celery.worker import request
from celery.worker.control import inspect_command

from config.broker_health import COMMAND


class Request(request.Request):
    """A request in hand: shown by its sentence, and never by what it holds."""

    def info(self, safe: bool = False) -> dict[str, Any]:
        """What ``celery inspect`` and Flower show; Celery would show what was sent, all of it."""
        shown: dict[str, Any] = super().info(safe=True)
        return shown


class _LastSweep:
    """When this worker was asked for a sweep last; at first, when it began."""

    at = time.monotonic()


@task_received.connect
def _note(request: Any, **_: object) -> None:
    if request.name == "porch.sweep":
        _LastSweep.at = time.monotonic()


@inspect_command(name=COMMAND)
def health(state: Any) -> dict[str, Any]:
    """``time`` since 1970, names of ``queues``, and for how long it is ``unswept``, in seconds."""
    consumer = state.consumer.task_consumer
    return {
        "time": time.time(),
        "queues": [queue.name for queue in consumer.queues] if consumer else [],
        "unswept": time.monotonic() - _LastSweep.at,
    }
