"""Names for requests: UUIDs of version 7 (RFC 9562, section 5.7), whose order is that of time.

They let the coordinator's indexes grow at one end, and tell it what cannot be a request's own work.
"""

from __future__ import annotations

import os
import time
from uuid import UUID


def new_request_id() -> str:
    """A name that no other request has: milliseconds since 1970, and 74 random bits."""
    random = int.from_bytes(os.urandom(10), "big")
    high = (time.time_ns() // 1_000_000) << 16 | 7 << 12 | random >> 68
    return str(UUID(int=high << 64 | 0b10 << 62 | random & (1 << 62) - 1))
