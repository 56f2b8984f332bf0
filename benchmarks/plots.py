"""What was measured, as pictures: one SVG for each work, drawn by pygal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pygal

from benchmarks.report import Figures
from benchmarks.works import Work


def draw(works: Sequence[Work], figures: Figures, stem: Path) -> list[Path]:
    """Draw every work that was measured; the files, which are named after ``stem``."""
    drawn = []
    for work in works:
        cases = figures.cases(work.name)
        if not cases:
            continue
        # A footprint has figures of several units, by the ends of their names.
        groups = {work.name: cases} if work.amount else _by_unit(cases)
        for name, group in groups.items():
            path = stem.with_name(f"{stem.name}-{name}.svg")
            _bars(f"{work.title} ({name})", work.name, group, figures).render_to_file(str(path))
            drawn.append(path)
    return drawn


def _by_unit(cases: Sequence[str]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for case in cases:
        unit = "bytes" if "bytes" in case else case.rpartition("_")[2]
        groups.setdefault(f"footprint-{unit}", []).append(case)
    return groups


def _bars(title: str, work: str, cases: Sequence[str], figures: Figures) -> Any:
    """A bar for each contestant in each case: its median, and a line from the least to the most."""
    # Logarithmic, as a ratio is the same length everywhere. Without its script, which is fetched.
    chart = pygal.Bar(
        title=title, logarithmic=True, js=(), x_label_rotation=20, legend_at_bottom=True, width=1200
    )
    chart.x_labels = list(cases)
    contestants = dict.fromkeys(
        contestant for case in cases for contestant in figures.contestants(work, case)
    )
    for contestant in contestants:
        chart.add(contestant, [_bar(figures, work, case, contestant) for case in cases])
    return chart


def _bar(figures: Figures, work: str, case: str, contestant: str) -> Any:
    values = [one.value for one in figures.of(work, case, contestant) if one.value > 0]
    if not values:
        return None
    return {"value": median(values), "ci": {"low": min(values), "high": max(values)}}
