"""Names of requests that tell when they were made: UUIDs of version 7 (RFC 9562, section 5.7).

Their order is that of time, so that the indexes which hold them grow at one end; and what is older
than a request cannot be its work. Callers may name their requests by any other UUID, which tells
nothing.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from uuid import UUID

_VERSION = 7
_RANDOM_BITS = 62


def new_request_id() -> UUID:
    """A name that no other request has: milliseconds since 1970, and 74 random bits."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    high = milliseconds << 16 | _VERSION << 12 | random >> 68
    return UUID(int=high << 64 | 0b10 << _RANDOM_BITS | random & (1 << _RANDOM_BITS) - 1)


def made_at(request_id: UUID) -> datetime | None:
    """When a request was named, by the clock of who named it; None where the name does not tell."""
    if request_id.version != _VERSION:
        return None
    return datetime.fromtimestamp((request_id.int >> 80) / 1000, UTC)
