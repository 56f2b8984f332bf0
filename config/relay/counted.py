"""An outlet that is counted: what it has told, and how often nobody took it."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, disable_created_metrics

from coordinator.messages import StatusMessage
from coordinator.status import Status
from db.outlets import NotTaken, Outlet


class FeedCounting:
    """The counters of one relay, all in ``registry``; labels are outlets' names, as configured."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.told = Counter(
            "porch_feed_told",
            "Changes that an outlet of the feed has told; again counts again.",
            ["outlet"],
            registry=self.registry,
        )
        self.not_taken = Counter(
            "porch_feed_not_taken",
            "Tries of an outlet that nobody took: each is tried again, none is given up.",
            ["outlet"],
            registry=self.registry,
        )


class Counted:
    """An Outlet (see there), counted. From the start, as 0: a first rise is one."""

    def __init__(self, outlet: Outlet, counting: FeedCounting) -> None:
        self.name: str = outlet.name
        self.pipeline: str | None = outlet.pipeline
        self.statuses: frozenset[Status] = outlet.statuses
        self.most: int = outlet.most
        self._outlet = outlet
        self._told = counting.told.labels(outlet.name)
        self._not_taken = counting.not_taken.labels(outlet.name)

    def begin(self, position: int) -> int:
        try:
            return self._outlet.begin(position)
        except NotTaken:
            self._not_taken.inc()
            raise

    def tell(self, messages: Sequence[StatusMessage]) -> int:
        try:
            last = self._outlet.tell(messages)
        except NotTaken:
            self._not_taken.inc()
            raise
        self._told.inc(sum(message.event_id <= last for message in messages))
        return last

    def close(self) -> None:
        self._outlet.close()
