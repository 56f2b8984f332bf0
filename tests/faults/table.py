"""The closing table: what was done to porch, what was asked of it, and what was found."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from tests.faults.run import Result

_OUTCOMES = ("attempted", "acknowledged", "refused", "unknown", "asked again")


def show(console: Console, results: Sequence[Result], title: str) -> None:
    """Print one run, or several together."""
    faults = Table("fault", "injected", "found nobody", box=box.SIMPLE_HEAD, title=title)
    names = sorted({name for result in results for name in (*result.injected, *result.missed)})
    for name in names:
        _row(faults, name, [[r.injected[name] for r in results], [r.missed[name] for r in results]])
    for what in sorted({what for result in results for what in result.lost}):
        faults.add_row(f"  {what} lost on the way", str(sum(r.lost[what] for r in results)), "")
    _row(
        faults,
        "all faults",
        [[r.injected.total() for r in results], [r.missed.total() for r in results]],
    )

    operations = Table("operation", *_OUTCOMES, box=box.SIMPLE_HEAD)
    for verb in sorted({verb for result in results for verb, _ in result.operations}):
        counts = [[r.operations[verb, outcome] for r in results] for outcome in _OUTCOMES]
        _row(operations, verb, counts)

    verified = Table("verified", "", box=box.SIMPLE_HEAD)
    for what in sorted({what for result in results for what in result.verified}):
        _row(verified, what, [[r.verified[what] for r in results]])
    _row(verified, "violations", [[len(r.violations) for r in results]])

    for table in (faults, operations, verified):
        for column in table.columns[1:]:
            column.justify = "right"
        console.print(table)


def _row(table: Table, name: str, columns: Sequence[Sequence[int]]) -> None:
    table.add_row(name, *(str(sum(counts)) for counts in columns))
