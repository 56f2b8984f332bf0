"""What the gateway asks of PostgreSQL when it is scraped."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from config.metrics.asking import Asking
from coordinator.remembering import Remembered
from coordinator.views import Counts
from db.engine import make_engine
from db.gauges import Ages, ages
from db.ledger import PostgresLedger


class LedgerGauges(Collector):
    """Tasks, ages and sizes. A large ledger is asked seldom: counting it takes 1% of the time.

    It has connections of its own, so that it is answered however busy the others are, and tells
    what it knows, in seconds, whatever has become of PostgreSQL. ``disks``: paths, on disks whose
    room is told.
    """

    def __init__(self, database_url: str, disks: Sequence[str] = ()) -> None:
        engine = make_engine(database_url, 1)
        ledger = PostgresLedger(engine)
        kept_ages: Remembered[Ages] = Remembered(20.0, 10.0)
        kept_counts: Remembered[list[Counts]] = Remembered(100.0, 300.0)
        self._disks = disks
        self._ages = Asking(lambda: kept_ages.get(None, lambda: ages(engine)))
        self._counts = Asking(
            lambda: kept_counts.get(None, ledger.status_counts),
            1.0,
            600.0,
        )

    def describe(self) -> list[Metric]:
        """Every metric, without a value."""
        return list(self._families().values())

    def collect(self) -> Iterator[Metric]:
        """Every metric of which there is something to tell."""
        families = self._families()
        found = self._ages.answer()
        families["porch_postgresql_up"].add_metric([], float(found is not None))
        if found is not None:
            for name, by_pipeline in (
                ("porch_oldest_pending_seconds", found.pending),
                ("porch_longest_silence_seconds", found.silent),
            ):
                for pipeline, seconds in by_pipeline.items():
                    families[name].add_metric([pipeline], seconds)
            families["porch_database_bytes"].add_metric([], found.database_bytes)
            for counts in self._counts.answer() or ():
                for status, tasks in counts.counts.items():
                    families["porch_tasks"].add_metric([counts.pipeline, status.value], tasks)
        for path in self._disks:
            _tell_of_disk(path, families)
        yield from families.values()

    @staticmethod
    def _families() -> dict[str, GaugeMetricFamily]:
        made = [
            GaugeMetricFamily(
                "porch_postgresql_up", "1 if PostgreSQL has answered this scrape, else 0."
            ),
            GaugeMetricFamily(
                "porch_tasks", "Tasks of a pipeline in a status.", labels=["pipeline", "status"]
            ),
            GaugeMetricFamily(
                "porch_oldest_pending_seconds",
                "How long the oldest PENDING task of a pipeline has been PENDING.",
                labels=["pipeline"],
            ),
            GaugeMetricFamily(
                "porch_longest_silence_seconds",
                "Of the CLAIMED and RUNNING tasks of a pipeline: longest without a sign of life.",
                labels=["pipeline"],
            ),
            GaugeMetricFamily("porch_database_bytes", "What the database takes up on its disk."),
            GaugeMetricFamily(
                "porch_disk_bytes", "Size of the disk with a watched path.", labels=["path"]
            ),
            GaugeMetricFamily(
                "porch_disk_free_bytes", "Room that is left on that disk.", labels=["path"]
            ),
        ]
        return {family.name: family for family in made}


def _tell_of_disk(path: str, families: dict[str, GaugeMetricFamily]) -> None:
    try:
        disk = os.statvfs(path)
    except OSError:  # it is told that there is nothing to tell: the metric is absent
        return
    families["porch_disk_bytes"].add_metric([path], disk.f_blocks * disk.f_frsize)
    families["porch_disk_free_bytes"].add_metric([path], disk.f_bavail * disk.f_frsize)
