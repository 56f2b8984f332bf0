"""What happened when: the past is read once, and then only what has come since."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Protocol

from coordinator.views import TICK, Happened, Interval

#: About so many intervals are drawn, whatever time they cover.
INTERVALS = 48
#: Seconds after which no transaction is still to commit an event of that time. An import may; it is
#: seen when the past is read again.
SETTLED = 30
REREAD = 600.0

_TICK = timedelta(seconds=TICK)
_Counts = tuple[int, int, int]


class History(Protocol):
    """Where the past is read, of one pipeline or of all."""

    def now(self) -> datetime: ...

    def happened(
        self, pipeline_id: int | None, begin: datetime, end: datetime
    ) -> list[Happened]: ...


class _Past:
    """The ticks from ``begin`` to ``settled``."""

    def __init__(self, begin: datetime) -> None:
        self.since = time.monotonic()
        self.begin = self.settled = begin
        self.ticks: dict[datetime, _Counts] = {}


class Throughput:
    """What happened in each tick, by pipeline, for as far back as somebody has asked.

    Up to ``settled`` it is kept: nothing can be added to it any more. What is younger is read each
    time. Every ten minutes all is read again. What happened in all pipelines is not put together
    from each of them: to read it without asking whose it was is many times as fast.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._pasts: dict[int | None, _Past] = {}

    def of_late(
        self, history: History, pipeline_id: int | None, ticks: int
    ) -> tuple[Mapping[datetime, _Counts], datetime]:
        """The last ``ticks`` ticks, and perhaps some before them; and which is the current one.

        What says that it is to happen, as an import may, is left out until then.
        """
        with self._lock:
            oldest = time.monotonic() - REREAD
            self._pasts = {of: past for of, past in self._pasts.items() if past.since >= oldest}
            now = history.now()
            begin = tick_of(now) - (ticks - 1) * _TICK
            settled = now - timedelta(seconds=SETTLED)
            past = self._pasts.setdefault(pipeline_id, _Past(begin))
            if begin < past.begin:
                _add(past.ticks, history.happened(pipeline_id, begin, past.begin))
                past.begin = begin
            if settled > past.settled:
                _add(past.ticks, history.happened(pipeline_id, past.settled, settled))
                past.settled = settled
            answer = dict(past.ticks)
            _add(answer, history.happened(pipeline_id, past.settled, now))
            return answer, tick_of(now)


def tick_of(moment: datetime) -> datetime:
    """When the tick began that ``moment`` is in."""
    seconds = int(moment.timestamp())
    return datetime.fromtimestamp(seconds - seconds % TICK, UTC)


def ticks_for(hours: int) -> int:
    """How many ticks make one interval of the last ``hours``.

    >>> ticks_for(24), ticks_for(1)
    (3, 1)
    """
    return max(1, -(-hours * 3600 // (TICK * INTERVALS)))


def intervals(ticks: Mapping[datetime, _Counts], current: datetime, hours: int) -> list[Interval]:
    """The last ``hours``, the oldest interval first; the newest is the one with the current tick.

    Intervals begin at whole multiples of their length, so that a finished one does not change.
    """
    length = ticks_for(hours) * TICK
    newest = int(current.timestamp()) // length
    amount = hours * 3600 // length
    sums: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
    for begin, counts in ticks.items():
        sums_of = sums[int(begin.timestamp()) // length]
        for position, count in enumerate(counts):
            sums_of[position] += count
    return [
        Interval(datetime.fromtimestamp(number * length, UTC), *sums[number])
        for number in range(newest - amount + 1, newest + 1)
    ]


def _add(kept: dict[datetime, _Counts], found: list[Happened]) -> None:
    for tick in found:
        submitted, done, failed = kept.get(tick.begin, (0, 0, 0))
        kept[tick.begin] = (submitted + tick.submitted, done + tick.done, failed + tick.failed)
