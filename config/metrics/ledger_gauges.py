"""What the gateway asks of PostgreSQL when it is scraped."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from config.metrics.asking import Asking
from coordinator.remembering import Remembered
from coordinator.views import Counts
from db.engine import make_engine
from db.gauges import Ages, ages
from db.ledger import PostgresLedger
from db.outlets import Outlets, Standing


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
        kept_standings: Remembered[list[Standing]] = Remembered(20.0, 10.0)
        kept_counts: Remembered[list[Counts]] = Remembered(100.0, 300.0)
        self._disks = disks
        self._ages = Asking(lambda: kept_ages.get(None, lambda: ages(engine)))
        outlets = Outlets(engine)
        self._standings = Asking(lambda: kept_standings.get(None, outlets.standings))
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
            for standing in self._standings.answer() or ():
                _tell_of_outlet(standing, families)
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
            *(
                GaugeMetricFamily(f"porch_feed_{name}", about, labels=["outlet"])
                for name, about in (
                    ("behind_events", "Events that an outlet of the feed has not looked at yet."),
                    ("behind_seconds", "For how long the first of them has waited."),
                    ("failing_seconds", "For how long nobody has taken what an outlet tells."),
                )
            ),
            GaugeMetricFamily(
                "porch_disk_bytes", "Size of the disk with a watched path.", labels=["path"]
            ),
            GaugeMetricFamily(
                "porch_disk_free_bytes", "Room that is left on that disk.", labels=["path"]
            ),
        ]
        return {family.name: family for family in made}


def _tell_of_outlet(one: Standing, families: dict[str, GaugeMetricFamily]) -> None:
    families["porch_feed_behind_events"].add_metric([one.name], one.behind)
    families["porch_feed_behind_seconds"].add_metric([one.name], max(0.0, one.waits or 0.0))
    since = one.failing_since
    failing = 0.0 if since is None else (datetime.now(UTC) - since).total_seconds()
    families["porch_feed_failing_seconds"].add_metric([one.name], max(0.0, failing))


def _tell_of_disk(path: str, families: dict[str, GaugeMetricFamily]) -> None:
    try:
        disk = os.statvfs(path)
    except OSError:  # it is told that there is nothing to tell: the metric is absent
        return
    families["porch_disk_bytes"].add_metric([path], disk.f_blocks * disk.f_frsize)
    families["porch_disk_free_bytes"].add_metric([path], disk.f_bavail * disk.f_frsize)
