"""The Celery app of the peer: one task that does nothing, and is a singleton of its arguments."""

from __future__ import annotations

import os

from celery import Celery
from celery_singleton import Singleton

app = Celery("bench", broker=os.environ["BROKER_URL"], backend=os.environ["BROKER_URL"])


@app.task(base=Singleton, name="bench.register")
def register(definition: dict[str, object]) -> None:
    """Do nothing with a definition."""
