"""Throughput and run times as one SVG: it needs no other file, and no script."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from porch_client.charts import SERIES, Scale, between, length, times, totals
from porch_client.overview import Busy, Interval, RunTimes, Stats
from porch_client.printable import printable

_WIDTH, _LEFT, _RIGHT = 720.0, 64.0, 12.0
_TOP, _PLOT = 56.0, 150.0
_SMALL = 72.0
_ROW, _NAME, _LINE = 24.0, 190.0, 220.0
_LONGEST_NAME = 28
#: As the page for operators has them.
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1c2128 }
.title { font-size: 14px; font-weight: 600 } .muted { fill: #57606a; font-size: 11px }
.rule { stroke: #dde1e6 } .done { fill: #3f9d5f } .failed { fill: url(#hatch); stroke: #d2454a }
.submitted { stroke: #3a4653; stroke-width: 2 } .tail { stroke: #0b57a4; stroke-width: 2 }
.median { fill: #0b57a4 } .limit { fill: none; stroke: #3a4653; stroke-width: 1.5 }
"""


def svg(found: Stats, about: str) -> str:
    """The picture. ``about``: whose it is, and of what time."""
    below = _TOP + _PLOT + 60
    apart = [(busy, below + _SMALL * n) for n, busy in enumerate(found.pipelines)]
    below += _SMALL * len(apart)
    height = below + _ROW * (len(found.run_times) + 1)
    root = Element("svg", xmlns="http://www.w3.org/2000/svg", role="img")
    root.set("viewBox", f"0 0 {_WIDTH:g} {height:g}")
    root.set("width", f"{_WIDTH:g}")
    root.set("height", f"{height:g}")
    _text(root, "title", f"Throughput and run times {about}")
    _text(root, "style", _STYLE)
    pattern = _add(SubElement(root, "defs"), "pattern", id="hatch", width=4, height=4)
    pattern.set("patternUnits", "userSpaceOnUse")
    pattern.set("patternTransform", "rotate(45)")
    _add(pattern, "rect", width=4, height=4, fill="#fff")
    _add(pattern, "rect", width=2, height=4, fill="#d2454a")
    _add(root, "rect", width=_WIDTH, height=height, fill="#fff")
    _text(root, "text", f"Throughput {about}", "title", x=_RIGHT, y=20)
    _throughput(root, found.throughput)
    for busy, y in apart:
        _small(root, busy, y)
    _text(root, "text", "Run times from claim to DONE, latest runs", "title", x=_RIGHT, y=below)
    _run_times(root, found.run_times, below + _ROW)
    indent(root)
    return tostring(root, encoding="unicode", xml_declaration=False) + "\n"


def _throughput(root: Element, intervals: Sequence[Interval]) -> None:
    total = totals(intervals)
    if not any(total.values()):
        _text(root, "text", "Nothing happened.", "muted", x=_RIGHT, y=_TOP)
        return
    x = _RIGHT
    for name in SERIES:
        if name == "submitted":
            _add(root, "line", "submitted", x1=x, x2=x + 10, y1=36, y2=36)
        else:
            _add(root, "rect", name, x=x, y=31, width=10, height=10)
        _text(root, "text", f"{total[name]:,} {name}", x=x + 15, y=40)
        x += 150
    _text(root, "text", f"UTC, {between(intervals)} a bar", "muted", x=x, y=40)
    top = _round_up(max(max(one.submitted, one.done + one.failed) for one in intervals))
    step = (_WIDTH - _LEFT - _RIGHT) / len(intervals)
    bottom = _TOP + _PLOT
    for value in (0, top / 2, top):
        y = bottom - _PLOT * value / top
        _add(root, "line", "rule", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y)
        _text(root, "text", f"{value:,g}", "muted", x=_LEFT - 6, y=y + 4).set("text-anchor", "end")
    for n, word in times(intervals, round(len(intervals) / 6)):
        _text(root, "text", word, "muted", x=_LEFT + n * step, y=bottom + 16)
    for n, one in enumerate(intervals):
        group = SubElement(root, "g")
        told = ", ".join(f"{getattr(one, name):,} {name}" for name in SERIES)
        _text(group, "title", f"{one.begin}: {told}")
        x, wide = _LEFT + step * (n + 0.12), step * 0.76
        for name, of_it, to in (
            ("done", one.done, one.done),
            ("failed", one.failed, one.done + one.failed),
        ):
            if of_it:
                y, high = bottom - _PLOT * to / top, _PLOT * of_it / top
                _add(group, "rect", name, x=x, y=y, width=wide, height=high)
        if one.submitted:
            y = bottom - _PLOT * one.submitted / top
            _add(group, "line", "submitted", x1=x - 1, x2=x + wide + 1, y1=y, y2=y)


def _small(root: Element, busy: Busy, y: float) -> None:
    """What ended in one pipeline, as high as its largest bar."""
    total = totals(busy.throughput)
    told = ", ".join(f"{total[name]:,} {name}" for name in SERIES)
    _text(root, "text", _cut(busy.pipeline), x=_RIGHT, y=y)
    _text(root, "text", told, "muted", x=_RIGHT + _NAME, y=y)
    top = max([1, *(one.done + one.failed for one in busy.throughput)])
    _ended(root, busy.throughput, y + _SMALL - 20, _SMALL - 28, top)


def _ended(
    root: Element, intervals: Sequence[Interval], bottom: float, high: float, top: float
) -> None:
    step = (_WIDTH - _LEFT - _RIGHT) / len(intervals)
    _add(root, "line", "rule", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=bottom, y2=bottom)
    for n, one in enumerate(intervals):
        for name, of_it, to in (
            ("done", one.done, one.done),
            ("failed", one.failed, one.done + one.failed),
        ):
            if of_it:
                x, y = _LEFT + step * (n + 0.12), bottom - high * to / top
                _add(root, "rect", name, x=x, y=y, width=step * 0.76, height=high * of_it / top)


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def _run_times(root: Element, run_times: Sequence[RunTimes], y: float) -> None:
    if not run_times:
        _text(root, "text", "No run has finished yet.", "muted", x=_RIGHT, y=y)
    scale = Scale.of(run_times)
    left = _RIGHT + _NAME
    for of in run_times:
        group = SubElement(root, "g")
        _text(group, "title", f"{of.pipeline}: {of.runs:,} runs")
        _text(group, "text", _cut(of.pipeline), x=_RIGHT, y=y + 4)
        at = {
            word: round(left + 6 + (_LINE - 12) * scale.place(seconds), 2)
            for word, seconds in (
                ("median", of.median),
                ("p95", of.p95),
                ("limit", of.limit or of.p95),
            )
        }
        _add(group, "line", "rule", x1=left, x2=left + _LINE, y1=y, y2=y)
        _add(group, "line", "tail", x1=at["median"], x2=at["p95"], y1=y, y2=y)
        _add(group, "circle", "median", cx=at["median"], cy=y, r=4)
        words = f"median {length(of.median)}, 95 % {length(of.p95)}"
        if of.limit is not None:
            _add(group, "path", "limit", d=f"M{at['limit']} {y - 5}l5 5-5 5-5-5z")
            words += f", long {length(of.limit)}"
        _text(group, "text", words, "muted", x=left + _LINE + 10, y=y + 4)
        y += _ROW


def _round_up(value: int) -> float:
    """The next number of the form 1, 2, 4 or 6 times a power of ten, at least 2."""
    if value <= 2:
        return 2
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * m for m in (1, 2, 4, 6, 10) if power * m >= value)


def _add(parent: Element, tag: str, looks: str = "", /, **attributes: float | str) -> Element:
    made = SubElement(parent, tag)
    if looks:
        made.set("class", looks)
    for name, value in attributes.items():
        made.set(name, value if isinstance(value, str) else f"{round(value, 2):g}")
    return made


def _text(
    parent: Element, tag: str, words: str, looks: str = "", /, **attributes: float | str
) -> Element:
    made = _add(parent, tag, looks, **attributes)
    made.text = printable(words)
    return made
