"""Redis as kombu speaks it, except that what lies in a queue and is no message is dropped.

kombu takes it for granted that whatever it finds in a list was put there by kombu: anything else
ends the worker. Whoever may publish can push anything.
"""

from __future__ import annotations

import logging
from typing import Any

from kombu.transport import redis, virtual

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


class _Patient:
    Message = Message

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)  # type: ignore[misc]
        except _UNREADABLE:
            logger.warning("dropped what is no message from a queue", exc_info=True)
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
