"""Charts as numbers: where each bar and mark of an SVG stands."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from coordinator.overview import Interval, RunTimes

#: The throughput chart in units of its viewBox: the plot, with room for the words around it.
WIDTH, HEIGHT = 400, 150
LEFT, RIGHT, TOP, BOTTOM = 34, 4, 8, 20
#: The run times' chart: one line for each pipeline.
LINE_WIDTH = 120


@dataclass(frozen=True, slots=True)
class Bar:
    """One interval: finished work as a bar of two parts, submitted work as a mark."""

    interval: Interval
    x: float
    width: float
    done_y: float
    done_height: float
    failed_y: float
    failed_height: float
    submitted_y: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis, and the word beside it."""

    at: float
    word: str


@dataclass(frozen=True, slots=True)
class Throughput:
    """What the throughput chart shows."""

    bars: list[Bar]
    rows: list[Tick]
    columns: list[Tick]
    submitted: int
    done: int
    failed: int

    @property
    def is_empty(self) -> bool:
        return not (self.submitted or self.done or self.failed)


def throughput(intervals: Sequence[Interval]) -> Throughput:
    """The throughput chart of these intervals, which are of equal length."""
    top = _round_up(max([max(i.done + i.failed, i.submitted) for i in intervals], default=0))
    plot_height = HEIGHT - TOP - BOTTOM
    step = (WIDTH - LEFT - RIGHT) / max(len(intervals), 1)

    def y(value: float) -> float:
        return round(TOP + plot_height * (1 - value / top), 2)

    bars = [
        Bar(
            interval=one,
            x=round(LEFT + n * step + step * 0.12, 2),
            width=round(step * 0.76, 2),
            done_y=y(one.done),
            done_height=round(y(0) - y(one.done), 2),
            failed_y=y(one.done + one.failed),
            failed_height=round(y(one.done) - y(one.done + one.failed), 2),
            submitted_y=y(one.submitted),
        )
        for n, one in enumerate(intervals)
    ]
    return Throughput(
        bars,
        [Tick(y(value), short(value)) for value in (0, top / 2, top)],
        _columns([i.begin for i in intervals], step),
        sum(i.submitted for i in intervals),
        sum(i.done for i in intervals),
        sum(i.failed for i in intervals),
    )


def _columns(begins: Sequence[datetime], step: float) -> list[Tick]:
    """About five words under the bars: times of a day, or days."""
    if len(begins) < 2:
        return []
    days = (begins[-1] - begins[0]).total_seconds() > 2 * 86_400
    form = "%m-%d" if days else "%H:%M"
    every = max(1, round(len(begins) / 5))
    return [
        Tick(round(LEFT + n * step, 2), begins[n].astimezone(UTC).strftime(form))
        for n in range(0, len(begins) - every // 2, every)
    ]


def short(value: float) -> str:
    """A number in at most four characters or so.

    >>> [short(v) for v in (0, 2.5, 40, 1_500, 2_000_000)]
    ['0', '2.5', '40', '1.5k', '2M']
    """
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def _round_up(value: int) -> float:
    """The next number of the form 1, 2, 4 or 6 times a power of ten, at least 2."""
    if value <= 2:
        return 2
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * m for m in (1, 2, 4, 6, 10) if power * m >= value)


@dataclass(frozen=True, slots=True)
class Line:
    """The run times of one pipeline: from the median to the 95th percentile, and the limit."""

    times: RunTimes
    median_x: float
    p95_x: float
    limit_x: float | None


def run_times(all_times: Sequence[RunTimes]) -> list[Line]:
    """The run times' lines, on one logarithmic scale: seconds stand beside days."""
    seconds = [max(s, 0.01) for t in all_times for s in (t.median, t.p95, t.limit or t.p95)]
    low, high = (math.log(min(seconds)), math.log(max(seconds))) if seconds else (0.0, 1.0)
    spread = (high - low) or 1.0

    def x(value: float) -> float:
        return round(6 + (LINE_WIDTH - 12) * (math.log(max(value, 0.01)) - low) / spread, 2)

    return [
        Line(t, x(t.median), x(t.p95), None if t.limit is None else x(t.limit)) for t in all_times
    ]
