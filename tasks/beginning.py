"""The beginning and the end of a worker's processes."""

from __future__ import annotations

import gc

from celery.signals import worker_process_init, worker_process_shutdown, worker_ready

from config.tracing import flush
from config.wiring import coordinator

# Here, before it forks: its children share what they find, and would import the rest each.
from coordinator import observed  # noqa: F401
from db import ledger  # noqa: F401


@worker_process_init.connect
def _begin(**_: object) -> None:
    coordinator()  # which is traced from its first request on, if anything is
    _stays()


@worker_ready.connect
def _stays(**_: object) -> None:
    """What there is by now stays: the collector need not walk through it at each large request,
    which has thousands of definitions and makes it look again and again."""
    gc.collect()
    gc.freeze()


@worker_process_shutdown.connect
def _end(**_: object) -> None:
    flush()
