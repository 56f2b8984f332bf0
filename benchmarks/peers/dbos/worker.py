"""The DBOS application of the peer: a worker of one queue, whose workflow does nothing.

``python worker.py QUEUE SECONDS [once]``: polls the queue so often; with ``once`` it only makes the
tables and the queue, and ends.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from dbos import DBOS

NAME, VERSION = "bench", "1"


@DBOS.workflow(name="register")
def register(definition: dict[str, object]) -> None:
    """Do nothing with a definition."""


def main() -> None:
    """Work until SIGTERM."""
    queue, seconds, *once = sys.argv[1:]
    done = threading.Event()
    DBOS(
        config={
            "name": NAME,
            "application_version": VERSION,
            # Of its own for each start: what an earlier one has claimed is not taken up again.
            "executor_id": f"worker-{os.getpid()}",
            "system_database_url": os.environ["DATABASE_URL"],
            "log_level": "WARNING",
            "use_listen_notify": True,
        }
    )
    DBOS.listen_queues([queue])
    signal.signal(signal.SIGTERM, lambda *_: done.set())
    DBOS.launch()
    DBOS.register_queue(queue, polling_interval_sec=float(seconds))
    if not once:
        done.wait()
    DBOS.destroy(workflow_completion_timeout_sec=0)


if __name__ == "__main__":
    main()
