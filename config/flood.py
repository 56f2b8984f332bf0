"""Whose requests wait in a queue: when one sender floods it, all others wait behind."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis

from coordinator.health import Finding, Level
from coordinator.proofs import name_in

ANCHOR = "one-pipeline-floods"

#: A queue of fewer messages is soon empty, whoever sent them.
FEW = 20
#: Seconds that the oldest message has waited, and the part that one sender has of a queue, from
#: which on that sender is the cause.
_WAITED = 5.0
_SHARE = 0.6

#: Messages that are looked at, evenly over the queue, at most so many bytes and seconds of them:
#: a message may have megabytes.
_SAMPLE = 60
_MOST_BYTES = 16 * 2**20
_MOST_SECONDS = 1.0

_PIPELINE = re.compile(r"pipeline=([!-~]{1,100})")


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent a message, as far as the message tells. ``token``: its name, see ``proofs``."""

    pipeline: str | None
    token: bytes | None
    host: str | None


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a token. ``pipeline``: None for an administrator's."""

    token_id: int
    pipeline: str | None
    description: str


#: Whose token has this name; None where nobody knows, or may ask.
Whose = Callable[[bytes], Known | None]


#: The pipelines (or hosts) that have most of a queue: the name, its part, and a token of it.
Parts = Sequence[tuple[str, float, Known | None]]


def senders(redis: Redis, queue: str, waiting: int) -> Counter[Sender]:
    """How many messages of each sender are in a sample of the queue."""
    found: Counter[Sender] = Counter()
    size, until = 0, time.monotonic() + _MOST_SECONDS
    step = max(1.0, waiting / _SAMPLE)
    for n in range(min(waiting, _SAMPLE)):
        element: Any = redis.lindex(queue, int(n * step))
        if element is None:
            break
        found[sender_of(element)] += 1
        size += len(element)
        if size > _MOST_BYTES or time.monotonic() > until:
            break
    return found


def sender_of(element: Any) -> Sender:
    """The sender of a message. Nothing of what anybody may have pushed is an error."""
    try:
        headers = json.loads(element)["headers"]
    except (TypeError, LookupError, ValueError, RecursionError):
        headers = {}
    headers = headers if isinstance(headers, Mapping) else {}
    named = _PIPELINE.search(str(headers.get("argsrepr", ""))[:200])
    pipeline = named[1] if named and named[1] != "-" else None
    proof = headers.get("porch_proof")
    token = name_in(proof) if isinstance(proof, str) else None
    host = str(headers.get("origin", "")).partition("@")[2]
    return Sender(pipeline, token, host[:100] if host.isprintable() and host else None)


def shares(found: Counter[Sender], whose: Whose) -> Parts:
    """Whose messages the sample has, most first."""
    total = found.total()
    counted: Counter[str] = Counter()
    tokens: dict[str, Known | None] = {}
    asked: dict[bytes, Known | None] = {}
    for sender, number in found.most_common():
        if sender.token is not None and sender.token not in asked:
            asked[sender.token] = whose(sender.token) if len(asked) < FEW else None
        known = asked.get(sender.token) if sender.token is not None else None
        name = (known and known.pipeline) or sender.pipeline
        name = name or (f"host {sender.host}" if sender.host else "somebody")
        counted[name] += number
        tokens.setdefault(name, known)
    return [(name, number / total, tokens[name]) for name, number in counted.most_common()]


def flood(queue: str, age: float | None, waiting: int, parts: Parts) -> Finding | None:
    """That one sender has most of a queue in which others wait; None if nobody has."""
    if waiting < FEW or age is None or age < _WAITED or not parts or parts[0][1] < _SHARE:
        return None
    name, share, known = parts[0]
    token = f"{known.token_id}" if known else "ID"
    told = f' with token {known.token_id} "{known.description}"' if known else ""
    return Finding(
        f"{name} floods it{told}: about {share:.0%} of {waiting:,} requests, the oldest has waited "
        f"for {age:.0f} s",
        Level.WARNING,
        f"porch-server worker --queues {queue}, or stop the sender: porch token revoke {token}",
        ANCHOR,
    )
