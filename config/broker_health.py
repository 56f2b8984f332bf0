"""Whether requests get through: the broker, what waits in its queues, and who takes it."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from celery import Celery
from kombu.connection import Connection
from kombu.exceptions import ChannelError, OperationalError
from kombu.utils.url import maybe_sanitize_url
from redis import Redis
from redis.exceptions import RedisError, ResponseError

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

_AWAY = (OperationalError, RedisError, OSError, RuntimeError)


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
        with _connected(url) as (app, connection), _redis(connection) as redis:
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
    except _AWAY as away:
        said = (str(away).strip() or type(away).__name__).splitlines()[0]
        finding = Finding(f"cannot use the broker: {said}", look="check PORCH_BROKER_URL")
        found.checks[:1] = [Check.of("broker", {"url": shown}, [finding])]  # also in its midst
    return found


@contextmanager
def _connected(url: str) -> Iterator[tuple[Celery, Connection]]:
    app = Celery("porch-doctor", broker=url, set_as_current=False, fixups=[])
    app.conf.update(
        broker_connection_timeout=3,
        broker_transport_options={
            "socket_timeout": 10,
            "socket_connect_timeout": 3,
            # kombu gives back what has been in hand for so long. That is for workers to do.
            "visibility_timeout": 10 * 365 * 86_400,
        },
    )
    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, timeout=5)
        yield app, connection
    app.close()


@contextmanager
def _redis(connection: Connection) -> Iterator[Redis | None]:
    """A client of Redis (where there are sentinels, of the one they name); None for another broker.

    Not the client of the channel itself, in which a BRPOP for the workers' answers may wait.
    """
    if connection.transport.driver_type == "redis":
        with connection.default_channel.conn_or_acquire() as client:  # type: ignore[attr-defined]
            yield client
    else:
        yield None


def _broker(url: str, redis: Redis | None, clocks: dict[str, Reading]) -> Check:
    looked_at: dict[str, int | float | str | None] = {"url": url}
    if redis is None:
        return Check.of("broker", looked_at)
    redis.ping()
    clocks["broker"] = read(lambda: _redis_time(redis))
    told = _if_allowed(lambda: redis.info("server", "persistence", "memory"))
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
    age = None if redis is None else age_of(_if_allowed(lambda: redis.lindex(queue, -1)))
    takers = sum(queue in worker.queues for worker in workers)
    return queue_check(queue, _depth(connection, queue), age, takers)


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


def _depth(connection: Connection, queue: str) -> int:
    # A channel of its own: where the queue does not exist, AMQP closes the channel.
    with connection.channel() as channel:  # type: ignore[no-untyped-call]
        try:
            return int(channel.queue_declare(queue, passive=True).message_count)
        except (ChannelError, *connection.channel_errors):  # an empty queue of Redis does not exist
            return 0


def age_of(element: Any) -> float | None:
    """Seconds since a message was sent, by its sender's clock; None where it does not say."""
    try:
        sent = float(json.loads(element)["headers"]["porch_sent"])
    except (TypeError, LookupError, ValueError, RecursionError):
        return None
    return _since(sent)


def _in_hand(redis: Redis) -> Check:
    """What workers have taken and not yet acknowledged."""
    oldest: Any = redis.zrange("unacked_index", 0, 0, withscores=True)
    age = _since(float(oldest[0][1])) if oldest else None
    findings = []
    if age is not None and age > _VERY_LONG:
        what = f"a request has been in hand for {age:.0f} s, and nobody gives it to another worker"
        findings.append(Finding(what, Level.WARNING))
    looked_at = {"messages": _if_allowed(lambda: redis.hlen("unacked")), "oldest_seconds": age}
    return Check.of("in hand", looked_at, findings)


def _since(moment: float) -> float | None:
    """Seconds since then, as far as clocks agree."""
    return round(max(0.0, time.time() - moment), 3) if math.isfinite(moment) else None


def _if_allowed(ask: Callable[[], Any]) -> Any:
    """The answer; None for a user of Redis that may not ask."""
    try:
        return ask()
    except ResponseError:
        return None
