"""All that there is to tell, in the words of Prometheus; and a port on which to tell it."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from config.metrics import sharing
from config.ports import check_address
from config.settings import Settings

logger = logging.getLogger("porch")


class Counters(Protocol):
    """What a process counts."""

    registry: CollectorRegistry


class Exposition:
    """What was counted, by this process or by all that count together; and what is asked for."""

    def __init__(self, counting: Counters, *asked: Collector) -> None:
        self._together = sharing.folder()
        self.registry = CollectorRegistry()
        if self._together is None:
            self.registry.register(counting.registry)
        else:
            self.registry.register(_Together(self._together))
        for collector in (*asked, Release()):
            self.registry.register(collector)

    def told(self, accept: str) -> tuple[bytes, str]:
        """The text for a header Accept, and its media type."""
        encode, kind = choose_encoder(accept)
        return encode(self.registry), kind


class _Together(Collector):
    """What all that count together have counted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._all = MultiProcessCollector(None, str(folder))  # type: ignore[no-untyped-call]

    def collect(self) -> Iterable[Metric]:
        """The sums over all processes, those that have died included where that has a meaning."""
        sharing.forget_the_dead(self._folder)
        collect: Callable[[], Iterable[Metric]] = self._all.collect
        try:
            return list(collect())
        except struct.error:  # a process has made its file this very moment, and it is empty yet
            return list(collect())


class Release(Collector):
    """Which release this is."""

    def collect(self) -> Iterable[Metric]:
        """Always 1, and the version as a label."""
        family = InfoMetricFamily("porch_release", "Which release of porch this is.")
        family.add_metric([], {"version": version("porch-coordinator")})
        return [family]


def check_port(settings: Settings) -> None:
    """Raises Misconfigured if nobody could listen where PORCH_METRICS_PORT says."""
    if settings.metrics_port is not None:
        check_address(settings.metrics_host, settings.metrics_port, "/metrics", "PORCH_METRICS")


def serve_beside(settings: Settings, exposition: Exposition) -> None:
    """Answer there, in threads, for as long as this process lives. Raises Misconfigured."""
    check_port(settings)
    host = settings.metrics_host
    server, _ = start_http_server(settings.metrics_port or 0, host, exposition.registry)
    shown = f"[{host}]" if ":" in host else host
    logger.info("metrics are at http://%s:%d/metrics", shown, server.server_port)
