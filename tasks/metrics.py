"""How a worker and beat are scraped: at a port of their own, by a thread of the main process."""

from __future__ import annotations

from config.metrics import sharing
from config.metrics.broker_gauges import BrokerGauges
from config.metrics.exposing import Exposition, serve_beside
from config.queues import QUEUES
from config.settings import Settings
from config.wiring import counting


def begin(part: str) -> None:
    """Let a ``worker`` with its children, or ``beat``, answer on PORCH_METRICS_PORT, if it is set.

    Comes before anything is counted. Raises Misconfigured.
    """
    settings = Settings.from_environment()
    together = part == "worker" and settings.metrics_port is not None
    (sharing.count_together if together else sharing.count_alone)()
    if settings.metrics_port is None:
        return
    # The broker outlives its workers, and beat needs nothing else: it is the one that asks.
    asked = [BrokerGauges(settings.required("broker_url"), QUEUES)] if part == "beat" else []
    serve_beside(settings, Exposition(counting(), *asked))
