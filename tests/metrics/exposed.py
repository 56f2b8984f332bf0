"""What a scrape tells, as data."""

from __future__ import annotations

from collections import defaultdict

import httpx
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from config.metrics.counting import Counting


class Scraped:
    """One exposition. ``names``: of all its samples."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._samples: dict[str, dict[frozenset[tuple[str, str]], float]] = defaultdict(dict)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self._samples[sample.name][frozenset(sample.labels.items())] = sample.value

    @property
    def names(self) -> set[str]:
        return set(self._samples)

    def value(self, name: str, **labels: str) -> float:
        """The sum of all samples that have these labels; 0 if there is none."""
        wanted = labels.items()
        return sum(v for found, v in self._samples[name].items() if found >= wanted)

    def labels(self) -> set[tuple[str, str]]:
        """Every label with every value that it has."""
        return {pair for samples in self._samples.values() for found in samples for pair in found}


def scrape(url: str) -> Scraped:
    """Scrape as an old Prometheus does."""
    reply = httpx.get(url, timeout=20)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"].startswith("text/plain; version=")
    return Scraped(reply.text)


def counted(counting: Counting) -> Scraped:
    """What a process would tell that counts alone."""
    return Scraped(generate_latest(counting.registry).decode())
