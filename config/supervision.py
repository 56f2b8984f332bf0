"""Keeping the family running: a child that dies is started again, with patience and a limit."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection
from typing import NoReturn

from config.processes import Family, Program

_LOOK_SECONDS = 0.2
# A child that ran for this long is forgiven what was before.
_STEADY_SECONDS = 60.0
_LONGEST_DELAY = 30.0
_DEATHS_IN_A_ROW = 5


def keep_running(family: Family, vital: Collection[str], say: Callable[[str], None]) -> NoReturn:
    """Watch the children and restart those that die, after 1, 2, 4 ... 30 s.

    Goes on until the family's pause raises. Raises ProgramDied when a child named in ``vital``
    dies five times in a row: without its server there is nothing to keep running. Workers are
    restarted for ever, since what kills them (memory, a bad release of a library) may pass.
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
            deaths[name] = 1 if ran > _STEADY_SECONDS else deaths[name] + 1
            if name in vital and deaths[name] >= _DEATHS_IN_A_ROW:
                raise child.died(f"died {deaths[name]} times in a row, last with {_how(status)}")
            delay = min(2.0 ** (deaths[name] - 1), _LONGEST_DELAY)
            say(f"{name} died with {_how(status)}; starting it again in {delay:.0f} s")
            waiting.append((time.monotonic() + delay, child.program))
        for due in [entry for entry in waiting if entry[0] <= time.monotonic()]:
            waiting.remove(due)
            family.start(due[1])


def _how(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"signal {-status}"
