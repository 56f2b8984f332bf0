"""Redis as kombu speaks it, except that what lies in a queue and is no message is dropped, and that
several messages are acknowledged at once.

kombu takes it for granted that whatever it finds in a list was put there by kombu: anything else
ends the worker. Whoever may publish can push anything.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from kombu.transport import redis, virtual

from config.wiring import counting

logger = logging.getLogger("porch")

#: What kombu raises over an element that is not JSON, or not of the shape of a message. It has
#: been taken from the list by then, and is not yet noted as unacknowledged.
_UNREADABLE = (ValueError, TypeError, LookupError, AttributeError, RecursionError)


class Message(virtual.Message):
    """A message that is not compressed: a small one can unpack to more than there is memory."""

    def __init__(self, payload: Any, channel: Any = None, **more: Any) -> None:
        if (payload.get("headers") or {}).get("compression"):
            raise ValueError("compressed messages are not accepted")
        super().__init__(payload, channel=channel, **more)  # type: ignore[no-untyped-call]


class QoS(redis.QoS):
    """What a channel has delivered and nobody has acknowledged yet."""

    def ack_all(self, delivery_tags: Sequence[str]) -> None:
        """Acknowledge several in one round trip."""
        with self.pipe_or_acquire() as pipe:
            for tag in delivery_tags:
                self._remove_from_indices(tag, pipe)  # type: ignore[no-untyped-call]
            pipe.execute()
        for tag in delivery_tags:
            virtual.QoS.ack(self, tag)  # type: ignore[no-untyped-call]


class _Patient:
    Message = Message
    QoS = QoS

    def conn_or_acquire(self, client: Any = None) -> Any:
        """A client of the pool, kept as long as that: kombu makes one for each thing it says."""
        if client is None:
            client = getattr(self, "_kept", None)
            pool = self.pool  # type: ignore[attr-defined]
            if client is None or client.connection_pool is not pool:
                client = self._kept = self._create_client()  # type: ignore[attr-defined]
        return nullcontext(client)

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]
        except _UNREADABLE:
            logger.warning("dropped what is no message from a queue", exc_info=True)
            counting().dropped()
            return True


class Channel(_Patient, redis.Channel):
    """A channel to one Redis."""


class SentinelChannel(_Patient, redis.SentinelChannel):
    """A channel to the Redis that the sentinels name."""


class Transport(redis.Transport):
    """For redis:// and rediss://."""

    Channel = Channel


class SentinelTransport(redis.SentinelTransport):
    """For sentinel://."""

    Channel = SentinelChannel


def acknowledge(messages: Sequence[Any]) -> None:
    """Acknowledge messages of one channel, in one round trip where the broker is a Redis."""
    qos = getattr(messages[0].channel, "qos", None)
    if not isinstance(qos, QoS):
        for message in messages:
            message.ack()
        return
    qos.ack_all([message.delivery_tag for message in messages])
    for message in messages:
        message._state = "ACK"
