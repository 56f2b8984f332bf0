"""The sign of life of a worker, or of beat: the file that PORCH_READY_FILE names.

It is made when the process is ready, and touched every two seconds from then on, as long as the
process goes round its loop and has its broker. A health check looks how old it is: that costs no
Python and no message, and does not fail because a worker is busy.
"""

from __future__ import annotations

import time

from celery.signals import beat_init, heartbeat_sent, worker_ready

from config.settings import Settings
from config.wiring import counting

_FILE = Settings.from_environment().ready_file


@beat_init.connect
@worker_ready.connect
def begin(**_: object) -> None:
    """It is ready."""
    if _FILE is not None:
        _FILE.touch()


@heartbeat_sent.connect
def go_on(**_: object) -> None:
    """It lives, if it was ready before: the first heartbeat of a worker comes sooner."""
    counting().lives(time.time())
    if _FILE is not None and _FILE.exists():
        _FILE.touch()
