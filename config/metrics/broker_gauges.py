"""What beat asks of the broker when it is scraped."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from config.broker_queues import Waiting, waiting
from config.metrics.asking import Asking


class BrokerGauges(Collector):
    """What waits in each queue, and what workers have in hand."""

    def __init__(self, broker_url: str, queues: tuple[str, ...]) -> None:
        self._waiting: Asking[list[Waiting]] = Asking(lambda: waiting(broker_url, queues), 4.0)

    def describe(self) -> list[Metric]:
        """Every metric, without a value."""
        return list(self._families())

    def collect(self) -> Iterator[Metric]:
        """Every metric of which there is something to tell."""
        up, messages, oldest = self._families()
        found = self._waiting.answer()
        up.add_metric([], float(found is not None))
        for one in found or ():
            if one.messages is not None:
                messages.add_metric([one.where], one.messages)
            if one.oldest_seconds is not None:
                oldest.add_metric([one.where], one.oldest_seconds)
        yield from (up, messages, oldest)

    @staticmethod
    def _families() -> tuple[GaugeMetricFamily, GaugeMetricFamily, GaugeMetricFamily]:
        return (
            GaugeMetricFamily(
                "porch_broker_up", "1 if the broker has answered this scrape, else 0."
            ),
            GaugeMetricFamily(
                "porch_queue_messages",
                "Messages that wait in a queue; of the queue `in hand`: that workers have taken.",
                labels=["queue"],
            ),
            GaugeMetricFamily(
                "porch_queue_oldest_seconds",
                "Since when the oldest of them was sent, or taken; a Redis tells it.",
                labels=["queue"],
            ),
        )
