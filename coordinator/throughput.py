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
    """Where the past is read."""

    def now(self) -> datetime: ...

    def happened(self, begin: datetime, end: datetime) -> list[Happened]: ...


class Throughput:
    """What happened in each tick, by pipeline_id, for as far back as somebody has asked.

    Up to ``_settled`` it is kept: nothing can be added to it any more. What is younger is read each
    time. Every ten minutes all is read again.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._forget()

    def _forget(self) -> None:
        self._since = time.monotonic()
        self._kept: dict[tuple[datetime, int], _Counts] = {}
        self._begin: datetime | None = None
        self._settled = datetime.min.replace(tzinfo=UTC)

    def of_late(
        self, history: History, ticks: int
    ) -> tuple[Mapping[tuple[datetime, int], _Counts], datetime]:
        """The last ``ticks`` ticks, and perhaps some before them; and which is the current one.

        What says that it is to happen, as an import may, is left out until then.
        """
        with self._lock:
            if time.monotonic() - self._since > REREAD:
                self._forget()
            now = history.now()
            begin = tick_of(now) - (ticks - 1) * _TICK
            settled = now - timedelta(seconds=SETTLED)
            if self._begin is None:
                self._begin = self._settled = begin
            if begin < self._begin:
                _add(self._kept, history.happened(begin, self._begin))
                self._begin = begin
            if settled > self._settled:
                _add(self._kept, history.happened(self._settled, settled))
                self._settled = settled
            answer = dict(self._kept)
            _add(answer, history.happened(self._settled, now))
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


def intervals(
    ticks: Mapping[tuple[datetime, int], _Counts],
    current: datetime,
    hours: int,
    pipeline_id: int | None,
) -> list[Interval]:
    """The last ``hours``, the oldest interval first; the newest is the one with the current tick.

    Intervals begin at whole multiples of their length, so that a finished one does not change.
    """
    length = ticks_for(hours) * TICK
    newest = int(current.timestamp()) // length
    amount = hours * 3600 // length
    sums: defaultdict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
    for (begin, of), counts in ticks.items():
        if pipeline_id is None or of == pipeline_id:
            sums_of = sums[int(begin.timestamp()) // length]
            for position, count in enumerate(counts):
                sums_of[position] += count
    return [
        Interval(datetime.fromtimestamp(number * length, UTC), *sums[number])
        for number in range(newest - amount + 1, newest + 1)
    ]


def _add(kept: dict[tuple[datetime, int], _Counts], found: list[Happened]) -> None:
    for tick in found:
        key = (tick.begin, tick.pipeline_id)
        submitted, done, failed = kept.get(key, (0, 0, 0))
        kept[key] = (submitted + tick.submitted, done + tick.done, failed + tick.failed)
