"""What a chart needs to know before it is drawn, as text or as a picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from porch_client.overview import Interval, RunTimes
from porch_client.render import age

#: The series of the throughput chart, in the order of a task's life.
SERIES = ("submitted", "done", "failed")


def merged(intervals: Sequence[Interval], most: int) -> list[Interval]:
    """The same in ``most`` intervals or fewer, each of as many as any other; the oldest, of which
    there are not enough to make one, may be left out."""
    each = -(-len(intervals) // most)
    begin = len(intervals) % each
    parts = [intervals[n : n + each] for n in range(begin, len(intervals), each)]
    return [
        Interval(part[0].begin, *(sum(getattr(i, name) for i in part) for name in SERIES))
        for part in parts
    ]


def totals(intervals: Sequence[Interval]) -> dict[str, int]:
    """How many of each series there are in all."""
    return {name: sum(getattr(one, name) for one in intervals) for name in SERIES}


def length(seconds: float) -> str:
    """A length of time in two units at most.

    >>> [length(s) for s in (0.254, 4.26, 75, 190_000)]
    ['0.25s', '4.3s', '1m 15s', '2d 4h']
    """
    return f"{seconds:.2g}s" if seconds < 10 else age(round(seconds))


def between(intervals: Sequence[Interval]) -> str:
    """How long one interval is."""
    if len(intervals) < 2:
        return ""
    first, second = (datetime.fromisoformat(one.begin) for one in intervals[:2])
    return age((second - first).total_seconds())


def times(intervals: Sequence[Interval], apart: int) -> Iterator[tuple[int, str]]:
    """Every ``apart``-th interval, with the word below it: a time of the day, or a day."""
    begins = [datetime.fromisoformat(one.begin).astimezone(UTC) for one in intervals]
    form = "%m-%d" if begins and (begins[-1] - begins[0]).days >= 2 else "%H:%M"
    for n in range(0, len(begins), max(1, apart)):
        yield n, begins[n].strftime(form)


@dataclass(frozen=True, slots=True)
class Scale:
    """One logarithmic scale for all run times: seconds stand beside days."""

    low: float
    high: float

    @classmethod
    def of(cls, run_times: Sequence[RunTimes]) -> Scale:
        """From the shortest that is to be shown to the longest."""
        shown = [max(s, 0.01) for t in run_times for s in (t.median, t.p95, t.limit or t.p95)]
        return cls(math.log(min(shown, default=1.0)), math.log(max(shown, default=1.0)))

    def place(self, seconds: float) -> float:
        """From 0 to 1."""
        return (math.log(max(seconds, 0.01)) - self.low) / ((self.high - self.low) or 1.0)
