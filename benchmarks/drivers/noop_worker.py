"""A Celery worker with the settings of porch's own, and one task that does nothing."""

from __future__ import annotations

import os
import sys
from typing import Any

from tasks.app import make_app

BROKER = os.environ["PORCH_BROKER_URL"]
app = make_app(BROKER, BROKER)
# Celery's own: what it allows is wanted, without porch's guard.
app.conf.worker_consumer = "celery.worker.consumer:Consumer"


@app.task(name="bench.noop")
def noop(_: dict[str, Any]) -> bool:
    """There and back."""
    return True


if __name__ == "__main__":
    app.worker_main(sys.argv[1:])
