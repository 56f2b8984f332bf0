"""The beginning and the end of a worker's child, for what is traced: see ``config.tracing``."""

from __future__ import annotations

from celery.signals import worker_process_init, worker_process_shutdown

from config.tracing import flush
from config.wiring import coordinator


@worker_process_init.connect
def _begin(**_: object) -> None:
    coordinator()  # which is traced from its first request on, if anything is


@worker_process_shutdown.connect
def _end(**_: object) -> None:
    flush()
