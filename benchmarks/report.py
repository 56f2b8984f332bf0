"""What was measured, as tables to read and as a file to keep."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.contest import HERE
from benchmarks.rounds import Measured
from benchmarks.works import GOALS, Goal, Work, label

RESULTS = HERE / "results"

#: Above this share of the machine, it is the load that is measured.
_MOSTLY_LOAD = 0.6


class Figures:
    """Measurements, by work, case and contestant."""

    def __init__(self, measured: Iterable[Measured]) -> None:
        self.all = list(measured)

    def cases(self, work: str) -> list[str]:
        """The cases of a work, in order."""
        return list(dict.fromkeys(one.case for one in self.all if one.work == work))

    def contestants(self, work: str, case: str) -> list[str]:
        """Who was measured in a case, in order."""
        found = (one for one in self.all if (one.work, one.case) == (work, case))
        return list(dict.fromkeys(one.contestant for one in found))

    def of(self, work: str, case: str, contestant: str) -> list[Measured]:
        """The rounds of one contestant in one case."""
        wanted = (work, case, contestant)
        return [one for one in self.all if (one.work, one.case, one.contestant) == wanted]

    def ratio(self, work: str, case: str, whose: str, than: str) -> float | None:
        """How many times the value of another: of each round with its own, the median."""
        others = {one.round: one.value for one in self.of(work, case, than)}
        ratios = [
            one.value / others[one.round]
            for one in self.of(work, case, whose)
            if others.get(one.round)
        ]
        return median(ratios) if ratios else None


def table(work: Work, figures: Figures, peers: Sequence[str]) -> Table:
    """A work's figures: the median of the rounds, and how far from it they lie."""
    columns = ["", "", "median", "spread", *(f"÷ {limit}" for limit in work.limits)]
    columns += ["queue ÷ it", *(["p50 ms", "p99 ms", "load's CPU"] if work.amount else []), ""]
    shown = Table(title=work.title, title_justify="left", header_style="bold")
    for number, column in enumerate(columns):
        shown.add_column(column, justify="left" if number < 2 else "right")
    for case in figures.cases(work.name):
        for place, contestant in enumerate(figures.contestants(work.name, case)):
            rounds = figures.of(work.name, case, contestant)
            values = [one.value for one in rounds]
            cells = ["" if place else case, contestant, _number(median(values)), _spread(values)]
            cells += [
                _ratio(figures.ratio(work.name, case, contestant, limit)) for limit in work.limits
            ]
            cells.append(_ratio(figures.ratio(work.name, case, "queue", contestant)))
            if work.amount:
                cells += [_milliseconds(rounds, "p50"), _milliseconds(rounds, "p99")]
                cells.append(_load(rounds))
            cells.append("; ".join(sorted({flaw for one in rounds for flaw in one.flaws})))
            style = "bold" if contestant in work.ours else "" if contestant in peers else "dim"
            shown.add_row(*cells, style=style)
        shown.add_section()
    return shown


def goals(figures: Figures, peers: Sequence[str]) -> Table | None:
    """What must hold, where it was measured."""
    shown = Table(title="What must hold", title_justify="left", header_style="bold")
    for column in ("", "measured", ""):
        shown.add_column(column, justify="right" if column == "measured" else "left")
    for goal in GOALS:
        for than, value in judged(goal, figures, peers):
            held = goal.least <= value <= goal.most
            what = f"{goal.text} ({than})" if goal.than == "peers" else goal.text
            shown.add_row(what, _number(value), "holds" if held else "does not hold")
    return shown if shown.row_count else None


def judged(goal: Goal, figures: Figures, peers: Sequence[str]) -> Iterable[tuple[str, float]]:
    """What a goal's figure is, against each that it is compared with."""
    case = goal.field if goal.work == "footprint" else label(goal.case)
    rounds = figures.of(goal.work, case, goal.whose)
    if not goal.than:
        name = "value" if goal.work == "footprint" else goal.field
        values = [value for one in rounds if (value := getattr(one, name)) is not None]
        # Of faults, one is too many: in whichever round.
        pick = max if name in ("errors", "doubles") else median
        return [("", pick(values))] if values else []
    others = peers if goal.than == "peers" else [goal.than]
    ratios = ((than, figures.ratio(goal.work, case, goal.whose, than)) for than in others)
    return [(than, ratio) for than, ratio in ratios if ratio is not None]


def facts(options: dict[str, Any]) -> dict[str, Any]:
    """Where, when and of which commit it was measured."""
    models = [
        line.partition(":")[2].strip()
        for line in _text(Path("/proc/cpuinfo")).splitlines()
        if line.startswith("model name")
    ]
    return {
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "options": options,
        "machine": {
            "system": platform.platform(),
            "processor": models[0] if models else platform.processor(),
            "cores": os.cpu_count(),
            "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
            "load": os.getloadavg()[0],
        },
    }


def versions(servers: dict[str, str]) -> dict[str, Any]:
    """Of what it was measured on; that of each contestant is with what was measured of it."""
    ours = {name: version(name) for name in ("porch-coordinator", "celery", "kombu", "redis")}
    return {"versions": {**servers, "python": platform.python_version(), **ours}}


def keep(facts: dict[str, Any], figures: Figures, out: list[str], path: Path) -> None:
    """Write everything that was measured into a JSON file. ``out``: who failed, and how."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {**facts, "out": out, "measured": [one.as_dict() for one in figures.all]}
    path.write_text(json.dumps(kept, indent=1) + "\n")


def show(works: Sequence[Work], figures: Figures, peers: Sequence[str], busy: float) -> None:
    """Print the tables. ``busy``: how many programs were running when it began."""
    console = Console(width=None if os.isatty(1) else 140)
    cores = os.cpu_count() or 1
    if busy > cores:
        console.print(
            f"The machine was busy: {busy:.0f} programs ran on {cores} cores when it began. Only "
            "ratios mean anything.",
            style="yellow",
        )
    for work in works:
        if figures.cases(work.name):
            console.print(table(work, figures, peers))
    held = goals(figures, peers)
    if held is not None:
        console.print(held)


def _commit() -> str:
    asked = ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"  # not a checkout


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value < 10 else f"{value:,.0f}"


def _spread(values: Sequence[float]) -> str:
    """From the least to the most, as shares of the median."""
    middle = median(values)
    if len(values) < 2 or not middle:
        return ""
    return f"{min(values) / middle - 1:+.0%} {max(values) / middle - 1:+.0%}"


def _milliseconds(rounds: Sequence[Measured], name: str) -> str:
    values = [value for one in rounds if (value := getattr(one, name)) is not None]
    return f"{median(values) * 1000:,.1f}" if values else ""


def _load(rounds: Sequence[Measured]) -> str:
    shares = [one.callers_cpu for one in rounds if one.callers_cpu is not None]
    if not shares:
        return ""
    share = median(shares)
    return f"{share:.0%}" + (" !" if share > _MOSTLY_LOAD else "")
