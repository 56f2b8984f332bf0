"""Whether requests get through: the broker, what waits in its queues, and who takes it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from celery import Celery
from kombu.connection import Connection
from kombu.utils.url import maybe_sanitize_url
from redis import Redis

from config import flood
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
from config.clocks import Reading, read
from config.worker_health import COMMAND, Worker, told_by, workers_check
from coordinator.health import Check, Finding, Level

#: Seconds that workers have to answer, and how often they are asked while nobody takes a queue.
_ANSWER_SECONDS = 1.0
_ROUNDS = 5

#: Seconds that a message may wait or be in hand before somebody should look. Clients give up after
#: as long; what a killed worker had in hand is given to another after 60 s.
_LONG = 60
_VERY_LONG = 120


@dataclass(slots=True)
class Brokered:
    """What was found out through the broker."""

    checks: list[Check] = field(default_factory=list)
    clocks: dict[str, Reading] = field(default_factory=dict)


def examine_broker(
    url: str, queues: Sequence[str], whose: flood.Whose = lambda _: None
) -> Brokered:
    """The broker, each of the queues, and the workers. A broker that is away is a finding.

    ``whose`` names tokens, for a queue that somebody floods.
    """
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
                _queue(connection, redis, queue, list(told.values()), whose) for queue in queues
            ]
            if redis is not None:
                found.checks.append(_in_hand(redis))
    except AWAY as away:
        found.checks[:1] = [unusable(shown, away)]  # also in its midst
    return found


def unusable(shown: str, away: Exception) -> Check:
    """The check of a broker that failed us: full, or away."""
    said = first_line(away)
    if any(word in said for word in ("MISCONF", "OOM command", "No space left")):
        what = f"the broker takes nothing, its disk or memory is full: {said}"
        finding = Finding(what, look="make room; it goes on by itself", runbook="disk-full")
    else:
        what = f"the broker is away, cannot use the broker: {said}"
        look = "is it running, and PORCH_BROKER_URL right?"
        finding = Finding(what, look=look, runbook="broker-away")
    return Check.of("broker", {"url": shown}, [finding])


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
    findings += _room(told)
    looked_at |= {
        "version": told.get("valkey_version") or told["redis_version"],
        "appendonly": told["aof_enabled"],
        "maxmemory_policy": told["maxmemory_policy"],
    }
    return Check.of("broker", looked_at, findings)


def _room(told: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether it can write what it is given, and has memory for more."""
    if told.get("aof_last_write_status", "ok") != "ok":
        what = "the broker cannot write to its disk (appendonly): it takes no requests"
        yield Finding(what, look="make room; it goes on by itself", runbook="disk-full")
    used, most = told["used_memory"], told.get("maxmemory", 0)
    if most and used > 0.95 * most:
        what = f"the broker's memory is nearly full: {used >> 20:,} of {most >> 20:,} MB"
        look = "CONFIG SET maxmemory, and see whose requests wait"
        yield Finding(what, Level.WARNING, look, "disk-full")


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


# Queues -------------------------------------------------------------------------------------


def _queue(
    connection: Connection,
    redis: Redis | None,
    queue: str,
    workers: Sequence[Worker],
    whose: flood.Whose,
) -> Check:
    age = None if redis is None else oldest(redis, queue)
    takers = sum(queue in worker.queues for worker in workers)
    waiting = depth(connection, queue)
    parts: flood.Parts = []
    if redis is not None and waiting >= flood.FEW:
        seen = if_allowed(lambda: flood.senders(redis, queue, waiting))
        parts = flood.shares(seen, whose) if seen else []
    return queue_check(queue, waiting, age, takers, parts)


def queue_check(
    queue: str, waiting: int, age: float | None, takers: int, parts: flood.Parts = ()
) -> Check:
    """Whether somebody takes from a queue, and soon enough; ``parts``: whose requests wait."""
    findings = []
    flooded = flood.flood(queue, age, waiting, parts)
    if not takers:
        look = f"porch-server worker --queues {queue}"
        findings.append(Finding("no worker takes from it", look=look, runbook="no-worker"))
    elif flooded:
        findings.append(flooded)
    elif age is not None and age > _LONG:
        what = f"its oldest request has waited for {age:.0f} s: it needs more workers"
        look = f"porch-server worker --queues {queue}"
        findings.append(Finding(what, Level.WARNING, look, flood.ANCHOR))
    looked_at: dict[str, int | float | str | None]
    looked_at = {"messages": waiting, "oldest_seconds": age, "workers": takers}
    if parts:
        looked_at["from"] = ", ".join(f"{name} {share:.0%}" for name, share, _ in parts[:3])
    return Check.of(f"queue {queue}", looked_at, findings)


def _in_hand(redis: Redis) -> Check:
    """What workers have taken and not yet acknowledged."""
    messages, age = held(redis)
    findings = []
    if age is not None and age > _VERY_LONG:
        what = f"a request has been in hand for {age:.0f} s, and nobody gives it to another worker"
        findings.append(Finding(what, Level.WARNING, "restart the workers", "no-worker"))
    return Check.of(IN_HAND, {"messages": messages, "oldest_seconds": age}, findings)
