"""``porch-server import-npg-porch``: moves an npg_porch over, and accounts for every row of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from coordinator.errors import BadInput
from coordinator.identity import Limits
from coordinator.reconciliation import Account, Reconciliation
from db.engine import make_engine
from db.importing import Progress as Told
from db.importing import move_over
from db.npg_porch_opening import opened
from db.npg_porch_source import NpgPorch


def import_npg_porch(
    database_url: str,
    limits: Limits,
    *,
    source_url: str,
    schema: str,
    zone: str | None,
    batch: int,
    dry_run: bool,
    skipped: Path | None,
) -> Reconciliation:
    """Import all that is there and not here yet; what became of each row."""
    engine = make_engine(database_url)
    try:
        with (
            opened(source_url, schema, _zone(zone or "UTC")) as source,
            _telling(skipped) as told,
        ):
            account = Reconciliation(dry_run, told)
            _note_time_zone(source, zone, account)
            with _progress(source) as progress:
                move_over(source, engine, limits, account, batch=batch, progress=progress)
            return account
    finally:
        engine.dispose()


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise BadInput(f'there is no time zone "{name}"', "write one as Europe/London") from None


def _note_time_zone(source: NpgPorch, zone: str | None, account: Reconciliation) -> None:
    there = source.time_zone()
    if zone is None and there not in {None, "UTC", "Etc/UTC", "GMT", "Etc/GMT"}:
        account.notes.append(
            f"npg_porch keeps times without a zone, and they were taken for UTC; its PostgreSQL "
            f"is set to {there}: if they are of that zone, import with --timezone {there}"
        )


@contextmanager
def _telling(path: Path | None) -> Iterator[Callable[[str, str, str], None]]:
    """Where skipped rows are told one by one, as JSON lines."""
    if path is None:
        yield lambda _table, _row, _why: None
        return
    try:
        opened_file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise BadInput(
            f'"{path}" cannot be written: {error.strerror}', "give --skipped another file"
        ) from None
    with opened_file as file:
        yield lambda table, row, why: _tell(file, table, row, why)


def _tell(file: TextIO, table: str, row: str, why: str) -> None:
    file.write(json.dumps({"table": table, "row": row, "why": why}) + "\n")


@contextmanager
def _progress(source: NpgPorch) -> Iterator[Told]:
    """A bar for people, nothing for files and pipes."""
    if not sys.stderr.isatty():
        yield lambda _what, _tasks: None
        return
    columns = (TextColumn("{task.description:<16}"), BarColumn(), MofNCompleteColumn(),
               TimeRemainingColumn())  # fmt: skip
    total = source.counts()["task"]
    with Progress(*columns, console=Console(stderr=True)) as bars:
        known: dict[str, TaskID] = {}

        def tell(what: str, tasks: int) -> None:
            if what not in known:
                known[what] = bars.add_task(what, total=total)
            bars.update(known[what], completed=tasks)

        yield tell


def as_text(account: Reconciliation) -> str:
    """The reconciliation, to read: a line for each table, and below it why rows were skipped."""
    written = "to write" if account.dry_run else "written"
    head = ("", "read", written, "already here", "skipped", "added")
    lines = [_line(head)]
    for name, table in account.tables.items():
        lines.append(_line((name, *_numbers(table))) + ("" if table.adds_up else "  NOT ADDED UP"))
        for why, rows in sorted(table.skipped.items()):
            lines.append(f"  - {rows:,} skipped: {why}")
            lines += [f"      {row}" for row in table.named[why][:3]]
            if rows > 3:
                lines.append(f"      and {rows - 3:,} more (--skipped FILE names them all)")
    lines += [f"note: {note}" for note in account.notes]
    if account.adds_up:
        end = "every row is accounted for"
    else:
        end = "NOT every row is accounted for: tell the makers of porch"
    return "\n".join([*lines, "", end + (" (dry run: nothing was written)" * account.dry_run)])


def _numbers(table: Account) -> tuple[str, ...]:
    numbers = (table.read, table.written, table.here, table.skipped.total(), table.added)
    return tuple(f"{number:,}" for number in numbers)


def _line(cells: tuple[str, ...]) -> str:
    return f"{cells[0]:<10}" + "".join(f"{cell:>14}" for cell in cells[1:])
