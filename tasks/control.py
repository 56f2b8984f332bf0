"""What a worker answers to ``porch-server doctor``, beside its work: its time, and its queues."""

from __future__ import annotations

import time
from typing import Any

from celery.worker.control import inspect_command

from config.broker_health import COMMAND


@inspect_command(name=COMMAND)
def health(state: Any) -> dict[str, Any]:
    """``{"time": seconds since 1970, "queues": [names]}``, from the worker's main process."""
    consumer = state.consumer.task_consumer
    return {
        "time": time.time(),
        "queues": [queue.name for queue in consumer.queues] if consumer else [],
    }
