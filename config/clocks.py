"""How far the clocks of the hosts are apart.

All times that porch keeps or compares are PostgreSQL's, so a wrong clock elsewhere makes nothing
happen twice or get lost: it is worth a warning. It misleads whoever compares logs, and Redis and
Celery judge by it how long a message has been in hand.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from coordinator.health import Check, Finding, Level

#: Seconds by which a clock may differ from PostgreSQL's.
TOLERANCE = 2.0


class Reading(NamedTuple):
    """How far a clock is ahead of the one of this host, in seconds, give or take ``doubt``."""

    ahead: float
    doubt: float


def read(ask: Callable[[], float]) -> Reading:
    """The reading of a clock that ``ask`` returns: it was read at some time of the round trip."""
    asked_at = time.time()
    return reading(asked_at, ask(), time.time())


def reading(asked_at: float, theirs: float, answered_at: float) -> Reading:
    """The reading of a clock that told ``theirs`` between two times of this host's."""
    half = (answered_at - asked_at) / 2
    return Reading(theirs - (asked_at + half), half)


def compared(database: Reading, others: Mapping[str, Reading]) -> Check:
    """Every clock against PostgreSQL's. What the round trips leave open is not held against it."""
    ahead = {name: other.ahead - database.ahead for name, other in others.items()}
    findings = [
        Finding(
            f"the clock of {name} is {abs(ahead[name]):.1f} s "
            f"{'ahead of' if ahead[name] > 0 else 'behind'} PostgreSQL's",
            Level.WARNING,
        )
        for name, other in others.items()
        if abs(ahead[name]) - other.doubt - database.doubt > TOLERANCE
    ]
    shown = {name: round(by, 3) + 0.0 for name, by in ahead.items()}  # -0.0 + 0.0 is 0.0
    return Check.of("clocks", shown, findings, "seconds ahead of PostgreSQL's clock")
