"""What waits at the broker: in each queue, and in the hands of workers."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from celery import Celery
from kombu.connection import Connection
from kombu.exceptions import ChannelError, OperationalError
from redis import Redis
from redis.exceptions import RedisError, ResponseError

from coordinator.errors import PorchError

#: What it raises to look while the broker is away.
AWAY = (OperationalError, RedisError, OSError, RuntimeError)

#: What workers have taken from the queues and not yet acknowledged.
IN_HAND = "in hand"


class BrokerAway(PorchError):
    """The broker cannot be used just now."""

    code: ClassVar[str] = "broker_away"


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits in a queue, or is IN_HAND; None: the broker does not tell, or not this user."""

    where: str
    messages: int | None
    oldest_seconds: float | None


def waiting(url: str, queues: Sequence[str]) -> list[Waiting]:
    """What waits in each queue, and what workers have in hand. Raises BrokerAway."""
    found = []
    try:
        with connected(url) as (_, connection), redis_of(connection) as redis:
            for queue in queues:
                messages = depth(connection, queue)
                age = None if redis is None else oldest(redis, queue) if messages else 0.0
                found.append(Waiting(queue, messages, age))
            if redis is not None:
                in_hand, age = held(redis)
                found.append(Waiting(IN_HAND, in_hand, age or 0.0))
    except AWAY as away:
        raise BrokerAway(first_line(away), "is it running, and PORCH_BROKER_URL right?") from None
    return found


def first_line(error: Exception) -> str:
    """What an error says, in a line."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextmanager
def connected(url: str) -> Iterator[tuple[Celery, Connection]]:
    """An application and a connection that it does not take messages by. Raises one of AWAY."""
    app = Celery("porch-onlooker", broker=url, set_as_current=False, fixups=[])
    app.conf.update(
        broker_connection_timeout=3,
        broker_transport_options={
            "socket_timeout": 3,
            "socket_connect_timeout": 3,
            # kombu gives back what has been in hand for so long. That is for workers to do.
            "visibility_timeout": 10 * 365 * 86_400,
        },
    )
    with app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=0, timeout=5)
        yield app, connection
    app.close()


@contextmanager
def redis_of(connection: Connection) -> Iterator[Redis | None]:
    """A client of Redis (where there are sentinels, of the one they name); None for another broker.

    Not the client of the channel itself, in which a BRPOP for the workers' answers may wait.
    """
    if connection.transport.driver_type == "redis":
        with connection.default_channel.conn_or_acquire() as client:  # type: ignore[attr-defined]
            yield client
    else:
        yield None


def depth(connection: Connection, queue: str) -> int:
    """How many messages wait in a queue."""
    # A channel of its own: where the queue does not exist, AMQP closes the channel.
    with connection.channel() as channel:  # type: ignore[no-untyped-call]
        try:
            return int(channel.queue_declare(queue, passive=True).message_count)
        except (ChannelError, *connection.channel_errors):  # an empty queue of Redis does not exist
            return 0


def oldest(redis: Redis, queue: str) -> float | None:
    """For how long the next message of a queue has waited, if it says when it was sent."""
    return age_of(if_allowed(lambda: redis.lindex(queue, -1)))


def held(redis: Redis) -> tuple[int | None, float | None]:
    """How many messages workers have in hand, and for how long the oldest."""
    first: Any = redis.zrange("unacked_index", 0, 0, withscores=True)
    age = _since(float(first[0][1])) if first else None
    return if_allowed(lambda: redis.hlen("unacked")), age


def age_of(element: Any) -> float | None:
    """Seconds since a message was sent, by its sender's clock; None where it does not say."""
    try:
        sent = float(json.loads(element)["headers"]["porch_sent"])
    except (TypeError, LookupError, ValueError, RecursionError):
        return None
    return _since(sent)


def _since(moment: float) -> float | None:
    """Seconds since then, as far as clocks agree."""
    return round(max(0.0, time.time() - moment), 3) if math.isfinite(moment) else None


def if_allowed(ask: Callable[[], Any]) -> Any:
    """The answer; None for a user of Redis that may not ask."""
    try:
        return ask()
    except ResponseError:
        return None
