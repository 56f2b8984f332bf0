"""The composition root: settings in, working parts out.

What needs PostgreSQL is imported where it is made: beat needs none of it, and starts sooner.
"""

# ruff: noqa: PLC0415

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING

from config.metrics import sharing
from config.metrics.counting import Counting
from config.settings import Settings
from config.tracing import begin_tracing

if TYPE_CHECKING:
    from coordinator.identity import Limits
    from coordinator.service import Coordinator


def make_coordinator(
    database_url: str,
    limits: Limits | None = None,
    *,
    connections: int = 1,
    open_reads: bool = False,
    counting: Counting | None = None,
) -> Coordinator:
    """A Coordinator over the PostgreSQL at ``database_url``; nothing is connected before use.

    ``connections``: threads that may use it at a time. ``open_reads``: looking needs no token.
    ``counting``: what counts what its verbs do, and its connections.
    """
    from coordinator.observed import Observed
    from coordinator.service import Coordinator
    from db.engine import make_engine
    from db.ledger import PostgresLedger

    engine = make_engine(database_url, connections)
    ledger = PostgresLedger(engine)
    if counting is None:
        return Coordinator(ledger, limits, open_reads=open_reads)
    counting.watch(engine)
    return Observed(ledger, limits, open_reads=open_reads, observer=counting)


@cache
def counting() -> Counting:
    """What this process counts."""
    sharing.use()
    return Counting()


@cache
def coordinator() -> Coordinator:
    """The Coordinator of this process, from the environment."""
    from coordinator.identity import Limits

    settings = Settings.from_environment()
    limits = Limits(max_bytes=settings.max_input_bytes)
    porch = make_coordinator(settings.required("database_url"), limits, counting=counting())
    return traced(porch, "porch-worker")


def traced(porch: Coordinator, service: str) -> Coordinator:
    """The same, traced as OTEL_* ask; called in the process that uses it."""
    from db.ledger import PostgresLedger

    if isinstance(porch.ledger, PostgresLedger):
        begin_tracing(service, porch.ledger.engine)
    return porch


def issue_admin_token(database_url: str, description: str) -> str:
    """A new admin token: whoever may write to the database may have one."""
    from coordinator import access

    secret = access.new_secret()
    ledger = make_coordinator(database_url).ledger
    ledger.add_token(access.digest(secret), None, description)
    return secret


# Processes of their own, started by module name: ``config`` lies below ``tasks`` and does not
# import it. ``-P`` keeps the working directory, which may have a ``tasks.py`` of its own, out of
# the import path.
_TASKS = (sys.executable, "-P", "-m", "tasks")


def worker_argv(queues: str, concurrency: int, name: str) -> list[str]:
    """The command that runs a coordinator worker of these queues (comma-separated)."""
    return [
        *(*_TASKS, "worker"),
        *("--queues", queues),
        *("--concurrency", str(concurrency)),
        *("--hostname", f"{name}@%h"),
        *("--without-gossip", "--without-mingle"),
    ]


def beat_argv() -> list[str]:
    """The command that asks for periodic work."""
    return [*_TASKS, "beat"]


def gateway_argv(host: str, port: int) -> list[str]:
    """The command that runs a gateway of one process."""
    command = (sys.executable, "-P", "-m", "config", "gateway")
    return [*command, "--host", host, "--port", str(port)]


def flower_argv(host: str, port: int) -> list[str]:
    """The command that runs Flower."""
    command = (sys.executable, "-P", "-m", "config", "flower")
    return [*command, "--host", host, "--port", str(port)]


def relay_argv() -> list[str]:
    """The command that passes status messages on."""
    return [sys.executable, "-P", "-m", "config", "relay"]
