"""Keeping the family running: a child that dies is started again, with patience."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import NoReturn

from config.processes import Family, Program

_LOOK_SECONDS = 0.2
# A child that ran for this long is forgiven what was before.
_STEADY_SECONDS = 10.0
_LONGEST_DELAY = 30.0
_MOST_DEATHS = 10  # more would not make it wait longer


def keep_running(family: Family, say: Callable[[str], None]) -> NoReturn:
    """Watch the children and restart those that die, after 1, 2, 4 ... 30 s.

    Goes on until the family's pause raises, however often a child dies: what kills it (a full disk,
    memory, a bad release of a library) passes when somebody has mended it, and then all goes on.
    """
    deaths: Counter[str] = Counter()
    waiting: list[tuple[float, Program]] = []
    while True:
        family.pause(_LOOK_SECONDS)
        family.mend()
        for child in family.children:
            if child.alive:
                continue
            name = child.program.name
            ran = time.monotonic() - child.started
            status = family.reap(child)
            deaths[name] = 1 if ran > _STEADY_SECONDS else min(deaths[name] + 1, _MOST_DEATHS)
            delay = min(2.0 ** (deaths[name] - 1), _LONGEST_DELAY)
            say(
                f"{name} died with {_how(status)}; starting it again in {delay:.0f} s; "
                f"its log: {child.program.log}"
            )
            waiting.append((time.monotonic() + delay, child.program))
        for due in [entry for entry in waiting if entry[0] <= time.monotonic()]:
            waiting.remove(due)
            family.start(due[1])


def _how(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"signal {-status}"
