"""Whether requests get through: the broker, what waits in its queues, and who takes it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from celery import Celery
from kombu.connection import Connection
from kombu.utils.url import maybe_sanitize_url
from redis import Redis

from config.broker_queues import (
    AWAY,
    IN_HAND,
    connected,
    depth,
    first_line,
    held,
    if_allowed,
    oldest,
    redis_of,
)
from config.clocks import Reading, read, reading
from coordinator.health import Check, Finding, Level
from db.audit import GRACE

#: What workers are asked with, see ``tasks.control``.
COMMAND = "porch_health"

_SWEEP = "porch.sweep"

#: Seconds that workers have to answer, and how often they are asked while nobody takes a queue.
_ANSWER_SECONDS = 1.0
_ROUNDS = 3

#: Seconds that a message may wait or be in hand before somebody should look. Clients give up after
#: as long; what a killed worker had in hand is given to another after 60 s.
_LONG = 60
_VERY_LONG = 120


@dataclass(slots=True)
class Brokered:
    """What was found out through the broker."""

    checks: list[Check] = field(default_factory=list)
    clocks: dict[str, Reading] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Worker:
    """What a worker has told of itself. ``unswept``: seconds since it was asked for a sweep."""

    queues: frozenset[str]
    clock: Reading
    unswept: float


def examine_broker(url: str, queues: Sequence[str]) -> Brokered:
    """The broker, each of the queues, and the workers. A broker that is away is a finding."""
    found = Brokered()
    shown = maybe_sanitize_url(url)
    try:
        with connected(url) as (app, connection), redis_of(connection) as redis:
            found.checks.append(_broker(shown, redis, found.clocks))
            workers = _workers(app, connection, queues)
            found.checks.append(workers_check(workers))
            told = {name: worker for name, worker in workers.items() if worker is not None}
            found.clocks |= {f"worker {name}": worker.clock for name, worker in told.items()}
            found.checks += [
                _queue(connection, redis, queue, list(told.values())) for queue in queues
            ]
            if redis is not None:
                found.checks.append(_in_hand(redis))
    except AWAY as away:
        what = f"cannot use the broker: {first_line(away)}"
        finding = Finding(what, look="check PORCH_BROKER_URL")
        found.checks[:1] = [Check.of("broker", {"url": shown}, [finding])]  # also in its midst
    return found


def _broker(url: str, redis: Redis | None, clocks: dict[str, Reading]) -> Check:
    looked_at: dict[str, int | float | str | None] = {"url": url}
    if redis is None:
        return Check.of("broker", looked_at)
    redis.ping()
    clocks["broker"] = read(lambda: _redis_time(redis))
    told = if_allowed(lambda: redis.info("server", "persistence", "memory"))
    if told is None:
        return Check.of("broker", {**looked_at, "settings": "not allowed to look"})
    findings = []
    if not told["aof_enabled"]:
        what = "what waits in its queues is lost when it restarts: set `appendonly yes`"
        findings.append(Finding(what, Level.WARNING))
    if told["maxmemory_policy"] != "noeviction":
        what = f"it may drop messages (maxmemory-policy {told['maxmemory_policy']}): set noeviction"
        findings.append(Finding(what, Level.WARNING))
    looked_at |= {
        "version": told.get("valkey_version") or told["redis_version"],
        "appendonly": told["aof_enabled"],
        "maxmemory_policy": told["maxmemory_policy"],
    }
    return Check.of("broker", looked_at, findings)


def _redis_time(redis: Redis) -> float:
    seconds, microseconds = redis.time()
    return float(seconds) + microseconds / 1e6


# Workers ------------------------------------------------------------------------------------


def _workers(
    app: Celery, connection: Connection, queues: Sequence[str]
) -> dict[str, Worker | None]:
    """All workers that answer, by name. Asked again while a queue has none: they may be busy."""
    workers: dict[str, Worker | None] = {}
    for _ in range(_ROUNDS):
        asked_at = time.time()

        def note(reply: dict[str, Any], asked_at: float = asked_at) -> None:
            for name, answer in reply.items():
                workers[name] = told_by(answer, asked_at, time.time())

        app.control.broadcast(
            COMMAND, reply=True, timeout=_ANSWER_SECONDS, connection=connection, callback=note
        )
        taken = {queue for worker in workers.values() if worker for queue in worker.queues}
        if taken.issuperset(queues):
            break
    return workers


def told_by(answer: Any, asked_at: float, answered_at: float) -> Worker | None:
    """A worker by its answer; None for an error: a release that does not know the command."""
    try:
        clock = reading(asked_at, float(answer["time"]), answered_at)
        return Worker(frozenset(answer["queues"]), clock, float(answer["unswept"]))
    except (TypeError, LookupError, ValueError):
        return None


def workers_check(workers: Mapping[str, Worker | None]) -> Check:
    """Whether there are workers, whether all can tell how they are, and whether beat asks them.

    Without beat, all is well as long as nothing runs out: the audit tells when something has.
    """
    findings = [
        Finding(f"worker {name} cannot tell how it is: is it of this release?", Level.WARNING)
        for name, worker in sorted(workers.items())
        if worker is None
    ]
    sweepers = [w.unswept for w in workers.values() if w is not None and _SWEEP in w.queues]
    unswept = round(min(sweepers), 1) if sweepers else None
    if not workers:
        findings.append(Finding("no worker answers", look="porch-server worker"))
    if unswept is not None and unswept > GRACE:
        what = f"nobody has asked for a sweep for {unswept} s"
        findings.append(Finding(what, Level.WARNING, look="porch-server beat"))
    looked_at = {"workers": len(workers), "last_sweep_seconds": unswept}
    return Check.of("workers", looked_at, findings)


# Queues -------------------------------------------------------------------------------------


def _queue(
    connection: Connection, redis: Redis | None, queue: str, workers: Sequence[Worker]
) -> Check:
    age = None if redis is None else oldest(redis, queue)
    takers = sum(queue in worker.queues for worker in workers)
    return queue_check(queue, depth(connection, queue), age, takers)


def queue_check(queue: str, waiting: int, age: float | None, takers: int) -> Check:
    """Whether somebody takes from a queue, and soon enough."""
    findings = []
    if not takers:
        what = "no worker takes from it"
        findings.append(Finding(what, look=f"porch-server worker --queues {queue}"))
    elif age is not None and age > _LONG:
        what = f"its oldest request has waited for {age:.0f} s: it needs more workers"
        findings.append(Finding(what, Level.WARNING))
    looked_at = {"messages": waiting, "oldest_seconds": age, "workers": takers}
    return Check.of(f"queue {queue}", looked_at, findings)


def _in_hand(redis: Redis) -> Check:
    """What workers have taken and not yet acknowledged."""
    messages, age = held(redis)
    findings = []
    if age is not None and age > _VERY_LONG:
        what = f"a request has been in hand for {age:.0f} s, and nobody gives it to another worker"
        findings.append(Finding(what, Level.WARNING))
    return Check.of(IN_HAND, {"messages": messages, "oldest_seconds": age}, findings)
