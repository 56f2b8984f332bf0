"""What each process counts for itself, in microseconds: no question is asked for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

from coordinator.errors import PorchError
from coordinator.model import Swept
from coordinator.observer import Observer
from coordinator.status import Status

if TYPE_CHECKING:
    from sqlalchemy import Engine

#: Seconds. A verb: from one row to a large batch that waits for locks.
_VERB = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
#: Seconds. Work on clusters: from a moment to days.
_WORK = (1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 12 * 3600, 24 * 3600, 3 * 24 * 3600, 7 * 24 * 3600)


def _codes(error: type[PorchError]) -> set[str]:
    """Those in the tree of ``coordinator.errors``."""
    below = (_codes(kind) for kind in error.__subclasses__() if kind.__module__ == error.__module__)
    return {error.code}.union(*below)


class Counting(Observer):
    """Counters, histograms and gauges of this process, all in ``registry``.

    Labels are names of pipelines, which administrators register, and fixed sets: never anything
    that a caller may make up.
    """

    def __init__(self) -> None:
        super().__init__()
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._counters()
        self._histograms()
        self._gauges()
        # Where it is known what may happen, it has happened 0 times so far: a first rise is one.
        for code in sorted(_codes(PorchError)):
            self._refusals(code)
        for status in (Status.PENDING, Status.FAILED):
            self._expiries(status.value)

    def _counters(self) -> None:
        self._requests = self._child(
            Counter, "porch_requests", "Requests that a verb has answered.", "verb"
        )
        self._definitions = self._child(
            Counter,
            "porch_definitions",
            "Definitions submitted: new ones, and known ones.",
            *("pipeline", "outcome"),
        )
        self._claims = self._child(
            Counter,
            "porch_claims",
            "Claims: full (all they asked for), part, or empty.",
            *("pipeline", "outcome"),
        )
        self._claimed = self._child(
            Counter, "porch_claimed_tasks", "Tasks handed out by claims.", "pipeline"
        )
        self._reports = self._child(
            Counter,
            "porch_reports",
            "Reports of RUNNING, DONE and FAILED that changed a task.",
            *("pipeline", "status"),
        )
        self._refusals = self._child(
            Counter,
            "porch_refusals",
            "Requests, or parts of them, that were refused, by code; stale_attempt: stale reports.",
            "code",
        )
        self._expiries = self._child(
            Counter,
            "porch_lease_expiries",
            "Leases that ran out: the task is PENDING again, or FAILED in its last attempt.",
            "status",
        )
        self._tried_again = self._plain(
            "porch_tasks_tried_again", "FAILED tasks made PENDING after their backoff."
        )
        self._retries = self._plain(
            "porch_postgresql_retries",
            "Times that a worker has tried once more, as PostgreSQL was away.",
        )
        self._redelivered = self._plain(
            "porch_messages_redelivered",
            "Messages that came again: whoever had them died, or gave them back.",
        )
        self._dropped = self._plain(
            "porch_messages_dropped", "What lay in a queue and was no message."
        )

    def _histograms(self) -> None:
        self._took = self._child(
            Histogram,
            "porch_verb_seconds",
            "How long a verb took; requests carried out together count once.",
            "verb",
            buckets=_VERB,
        )
        self._started = self._child(
            Histogram,
            "porch_claim_to_start_seconds",
            "From the claim to the report of RUNNING; ten reports a second are timed, at most.",
            "pipeline",
            buckets=_WORK,
        )
        self._ran = self._child(
            Histogram,
            "porch_run_seconds",
            "From the claim to the report of DONE or FAILED; ten a second are timed, at most.",
            *("pipeline", "status"),
            buckets=_WORK,
        )

    def _gauges(self) -> None:
        self._alive = self._gauge(
            "porch_sign_of_life_timestamp_seconds",
            "When a worker, or beat, last went round its loop and had the broker.",
            "max",
        )
        self._asked = self._gauge(
            "porch_sweep_asked_timestamp_seconds",
            "When a worker was last asked for a sweep.",
            "max",
        )

    # What verbs tell --------------------------------------------------------------------------

    def took(self, verb: str, seconds: float, requests: int) -> None:
        self._took(verb).observe(seconds)
        self._requests(verb).inc(requests)

    def submitted(self, pipeline: str, new: int, known: int) -> None:
        if new:
            self._definitions(pipeline, "new").inc(new)
        if known:
            self._definitions(pipeline, "known").inc(known)

    def claimed(self, pipeline: str, wanted: int, tasks: int) -> None:
        outcome = "full" if tasks >= wanted else "part" if tasks else "empty"
        self._claims(pipeline, outcome).inc()
        if tasks:
            self._claimed(pipeline).inc(tasks)

    def reported(self, pipeline: str, status: Status, since_claim: float | None) -> None:
        self._reports(pipeline, status.value).inc()
        if since_claim is None:
            return
        seconds = max(0.0, since_claim)
        if status is Status.RUNNING:
            self._started(pipeline).observe(seconds)
        else:
            self._ran(pipeline, status.value).observe(seconds)

    def swept(self, swept: Swept) -> None:
        if swept.taken_back:
            self._expiries(Status.PENDING.value).inc(swept.taken_back)
        if swept.failed:
            self._expiries(Status.FAILED.value).inc(swept.failed)
        if swept.retried:
            self._tried_again.inc(swept.retried)

    def refused(self, code: str, n: int) -> None:
        self._refusals(code).inc(n)

    # What workers tell ------------------------------------------------------------------------

    def tried_again(self) -> None:
        """A worker tries once more, as PostgreSQL was away."""
        self._retries.inc()

    def redelivered(self) -> None:
        """A message has come again."""
        self._redelivered.inc()

    def dropped(self) -> None:
        """What is no message was dropped."""
        self._dropped.inc()

    def lives(self, now: float) -> None:
        """A worker, or beat, goes on. ``now``: seconds since 1970."""
        self._alive().set(now)

    def sweep_asked(self, now: float) -> None:
        """A worker was asked for a sweep."""
        self._asked().set(now)

    def watch(self, engine: Engine) -> None:
        """Count the connections of the engine that this process uses. Called once."""
        from sqlalchemy import event  # noqa: PLC0415 (beat counts, and has no engine)

        in_use = self._gauge(
            "porch_pool_connections_in_use", "Connections to PostgreSQL in use.", "livesum"
        )()
        most = self._gauge(
            "porch_pool_connections_limit", "Connections that there may be.", "livesum"
        )()

        def checked_out(*_: object) -> None:
            in_use.inc()

        def checked_in(*_: object) -> None:
            in_use.dec()

        event.listen(engine.pool, "checkout", checked_out)
        event.listen(engine.pool, "checkin", checked_in)
        pool: Any = engine.pool
        limit = pool.size() + pool._max_overflow

        def connected(*_: object) -> None:
            # Not before: it is a fork that uses the engine, and not whoever made it.
            most.set(limit)

        event.listen(engine.pool, "connect", connected)

    # How a metric is made ---------------------------------------------------------------------

    def _child(
        self, kind: type, name: str, about: str, *labels: str, **more: Any
    ) -> Callable[..., Any]:
        """Gives the metric for some values of its labels: from a dict, which is quicker."""
        metric = kind(name, about, labels, registry=self.registry, **more)
        return cache(metric.labels)

    def _plain(self, name: str, about: str) -> Counter:
        """A counter: 0 until something is counted, so that a first rise is one."""
        return Counter(name, about, registry=self.registry)

    def _gauge(self, name: str, about: str, mode: str) -> Callable[[], Gauge]:
        """Gives a gauge, of which nothing is told until it is set."""
        return cache(
            lambda: Gauge(name, about, registry=self.registry, multiprocess_mode=mode)  # type: ignore[arg-type]
        )
