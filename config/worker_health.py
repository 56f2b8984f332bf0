"""What workers tell of themselves when they are asked, and what is to be made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from config import in_hand
from config.clocks import Reading, reading
from coordinator.health import Check, Finding, Level
from db.audit import GRACE

#: What workers are asked with, see ``tasks.control``.
COMMAND = "porch_health"

_SWEEP = "porch.sweep"


@dataclass(frozen=True, slots=True)
class Worker:
    """What a worker has told of itself. ``unswept``: seconds since it was asked for a sweep."""

    queues: frozenset[str]
    clock: Reading
    unswept: float
    hand: tuple[in_hand.Held, ...] = ()
    killers: tuple[in_hand.Deadly, ...] = ()


def told_by(answer: Any, asked_at: float, answered_at: float) -> Worker | None:
    """A worker by its answer; None for an error: a release that does not know the command."""
    try:
        clock = reading(asked_at, float(answer["time"]), answered_at)
        return Worker(
            frozenset(answer["queues"]),
            clock,
            float(answer["unswept"]),
            in_hand.held(answer.get("in_hand", ())),
            in_hand.deadly(answer.get("deadly", ())),
        )
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
        finding = Finding("no worker answers", look="porch-server worker", runbook="no-worker")
        findings.append(finding)
    for name, told in sorted(workers.items()):
        if told is not None:
            findings += in_hand.findings(name, told.hand, told.killers)
    if unswept is not None and unswept > GRACE:
        what = f"nobody has asked for a sweep for {unswept} s"
        findings.append(Finding(what, Level.WARNING, "porch-server beat", "no-worker"))
    hands = [one.seconds for w in workers.values() if w is not None for one in w.hand]
    looked_at = {
        "workers": len(workers),
        "last_sweep_seconds": unswept,
        "longest_in_hand_seconds": round(max(hands), 1) if hands else None,
    }
    return Check.of("workers", looked_at, findings)
