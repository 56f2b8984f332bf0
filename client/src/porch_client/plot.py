"""Throughput and run times as text, for terminals of any width, with or without Unicode.

No library: those that draw in terminals draw with colours and signs that not every terminal has,
and weigh more than all of this client.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from porch_client.charts import SERIES, Scale, between, length, merged, times, totals
from porch_client.overview import Busy, Interval, RunTimes, Stats
from porch_client.printable import printable
from porch_client.printable import width as columns_of
from porch_client.render import table

_ROWS = 3
_LABEL, _LONG_LABEL = 13, 22
_NARROWEST = 20
_STRIP = 24


@dataclass(frozen=True, slots=True)
class Signs:
    """What is drawn with: a bar's cell from empty to full; and the parts of a run times' line."""

    bar: str
    tail: str
    median: str
    p95: str
    limit: str


UNICODE = Signs(" ▁▂▃▄▅▆▇█", "━", "●", "┫", "◆")
ASCII = Signs(" __..::##", "-", "o", "|", "*")


def stats(found: Stats, about: str, width: int, signs: Signs) -> str:
    """All plots. ``about``: whose they are, and of what time."""
    lines = [f"Throughput {about}", *_throughput(found.throughput, width, signs), ""]
    for busy in found.pipelines:
        lines += [*_small(busy, width, signs), ""]
    if found.run_times:
        lines.append("Run times from claim to DONE, latest runs")
        lines += _run_times(found.run_times, width, signs)
    else:
        lines.append("No run has finished yet.")
    return printable("\n".join("  " + line if line else "" for line in lines))


def _throughput(intervals: Sequence[Interval], width: int, signs: Signs) -> list[str]:
    total = totals(intervals)
    if not any(total.values()):
        return ["Nothing happened."]
    columns, broad = _columns(intervals, width - _LABEL - 3)
    lines = []
    for name in SERIES:
        if not total[name]:
            lines.append(f"{name:<{_LABEL}}none")
            continue
        values = [getattr(one, name) for one in columns]
        labels = (name, f"{total[name]:,}", f"max {max(values):,}")
        lines += [
            f"{label:<{_LABEL}}{row}".rstrip()
            for label, row in zip(labels, _bars(values, broad, signs), strict=True)
        ]
    lines.append(" " * _LABEL + _axis(columns, broad))
    lines.append(f"{'':<{_LABEL}}UTC, {between(columns)} a column")
    return lines


def _small(busy: Busy, width: int, signs: Signs) -> list[str]:
    """One line for each series of a pipeline, each as high as its largest value."""
    columns, broad = _columns(busy.throughput, width - _LONG_LABEL - 3)
    lines = [busy.pipeline]
    for name, total in totals(busy.throughput).items():
        values = [getattr(one, name) for one in columns]
        row = _bars(values, broad, signs, 1)[0] if total else ""
        lines.append(f"{f'{total:,} {name}':<{_LONG_LABEL}}{row}".rstrip())
    return lines


def _columns(intervals: Sequence[Interval], room: int) -> tuple[list[Interval], int]:
    """As many as there is room for, and how broad each of them is."""
    room = max(_NARROWEST, room)
    columns = merged(intervals, room)
    return columns, max(1, min(4, room // len(columns)))


def _bars(values: Sequence[int], broad: int, signs: Signs, rows: int = _ROWS) -> list[str]:
    """Rows of cells, the highest first; what is not 0 is seen, however little it is."""
    steps = len(signs.bar) - 1
    top = max(values)
    heights = [max(1, round(value / top * rows * steps)) if value else 0 for value in values]
    return [
        "".join(signs.bar[max(0, min(steps, height - row * steps))] * broad for height in heights)
        for row in reversed(range(rows))
    ]


def _axis(columns: Sequence[Interval], broad: int) -> str:
    axis = ""
    for n, word in times(columns, 10 // broad):
        axis = axis.ljust(n * broad) + word
    return axis


def _run_times(run_times: Sequence[RunTimes], width: int, signs: Signs) -> list[str]:
    header = ("PIPELINE", "RUNS", "MEDIAN", "95 %", "LONG BEYOND")
    rows = [
        (
            t.pipeline,
            f"{t.runs:,}",
            length(t.median),
            length(t.p95),
            "-" if t.limit is None else length(t.limit),
        )
        for t in run_times
    ]
    plain = table(header, rows).splitlines()
    if max(map(columns_of, plain)) + _STRIP + 4 > width:
        return plain
    scale = Scale.of(run_times)
    key = f"{signs.median} median {signs.tail}{signs.p95} 95 % {signs.limit} long"
    strips = [_strip(t, scale, signs) for t in run_times]
    drawn = [(*row, strip) for row, strip in zip(rows, strips, strict=True)]
    return table((*header, key), drawn).splitlines()


def _strip(times: RunTimes, scale: Scale, signs: Signs) -> str:
    """The median, from there a line to the 95th percentile, and the limit; one scale for all."""

    def at(seconds: float) -> int:
        return round(scale.place(seconds) * (_STRIP - 1))

    strip = [" "] * _STRIP
    median, p95 = at(times.median), at(times.p95)
    strip[median : p95 + 1] = [signs.tail] * (p95 + 1 - median)
    strip[p95] = signs.p95
    if times.limit is not None:
        strip[at(times.limit)] = signs.limit
    strip[median] = signs.median
    return "".join(strip)
