"""What happens to a run and when, drawn from its seed: the same seed, the same schedule.

Whom a blow meets is drawn as a fraction (``pick``), since process ids differ from run to run.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random

#: Seconds that a claim is good for in the runs; a process frozen for FROZEN has lost it, and a
#: sweep has seen that.
LEASE = 2
FROZEN = (LEASE + 2.5, LEASE + 4.0)
_INSTANT = (0.0, 0.0)
_A_WHILE = (0.5, 3.0)

#: Each fault, and how many seconds it lasts: between two bounds. See ``tests.faults.nemesis``.
FAULTS: dict[str, tuple[float, float]] = {
    "kill a worker's child": _INSTANT,
    "kill a worker": _INSTANT,
    "kill beat": _INSTANT,
    "kill a wrapper": _INSTANT,
    "freeze a worker's child": FROZEN,
    "freeze a worker": FROZEN,
    "freeze a wrapper": FROZEN,
    "freeze Valkey": _A_WHILE,
    "kill Valkey": _INSTANT,
    "restart Valkey": _INSTANT,
    "empty Valkey": _INSTANT,
    "flush Valkey": _INSTANT,
    "deliver again": _INSTANT,
    "freeze PostgreSQL": _A_WHILE,
    "kill PostgreSQL": _INSTANT,
    "restart PostgreSQL": _INSTANT,
    "crash PostgreSQL": _INSTANT,
    "terminate backends": _INSTANT,
    "drop connections": _INSTANT,
    "refuse connections": _A_WHILE,
    "delay connections": (1.0, 4.0),
    "swallow answers": _A_WHILE,
    "lose commits": (3.0, 6.0),
}

#: What `porch-server up` starts again by itself takes 1, 2, 4 s, and five deaths in a row of a
#: server end it. So many times in one run a thing may die.
MOST_DEATHS = 3
_DIES = {
    "kill Valkey": "valkey",
    "restart Valkey": "valkey",
    "empty Valkey": "valkey",
    "kill PostgreSQL": "postgres",
    "restart PostgreSQL": "postgres",
}

#: Seconds between two blows: often before the last one is healed.
_GAP = (0.5, 1.9)


@dataclass(frozen=True, slots=True)
class Blow:
    """One fault: ``at`` which second of the run, for how many ``seconds``, and whom it meets."""

    at: float
    fault: str
    seconds: float
    pick: float

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.at:6.2f}  {self.fault}{lasting}  ({self.pick:.3f})"


def schedule(seed: int, seconds: float) -> list[Blow]:
    """The blows of a run of so many seconds, in order.

    Faults are dealt from a shuffled deck: each comes once before any comes twice.
    """
    rng = Random(seed)
    deaths: Counter[str] = Counter()
    deck: list[str] = []
    blows: list[Blow] = []
    at = round(rng.uniform(*_GAP), 2)
    while at < seconds:
        if not deck:
            deck = rng.sample(sorted(FAULTS), len(FAULTS))
        fault = deck.pop()
        dies = _DIES.get(fault)
        if dies:
            deaths[dies] += 1
            if deaths[dies] > MOST_DEATHS:
                continue
        lasts = rng.uniform(*FAULTS[fault])
        blows.append(Blow(at, fault, round(lasts, 1), rng.random()))
        at = round(at + rng.uniform(*_GAP), 2)
    return blows
