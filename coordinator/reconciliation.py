"""The closing account of an import: every row that was read, and what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

TABLES = ("pipeline", "version", "token", "task", "event")

#: So many rows are named for each reason; the others are counted.
MOST_NAMED = 20


@dataclass(slots=True)
class Account:
    """One table. ``read`` is the source's own count, and not a sum of the others.

    ``added``: rows here that are none there. ``here``: rows that an import before has moved.
    """

    read: int = 0
    written: int = 0
    here: int = 0
    added: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    named: dict[str, list[str]] = field(default_factory=dict)

    @property
    def adds_up(self) -> bool:
        """Whether each row that was read is accounted for once."""
        return self.read == self.written + self.here + self.skipped.total()

    def as_dict(self) -> dict[str, Any]:
        """The account as data."""
        return {
            "read": self.read,
            "written": self.written,
            "already_here": self.here,
            "skipped": self.skipped.total(),
            "added": self.added,
            "adds_up": self.adds_up,
            "why_skipped": [
                {"why": why, "rows": rows, "first": self.named.get(why, [])}
                for why, rows in sorted(self.skipped.items())
            ],
        }


@dataclass(slots=True)
class Reconciliation:
    """The account of all tables. ``told``: is called with each row that is skipped, and why."""

    dry_run: bool
    told: Callable[[str, str, str], None] = lambda _table, _row, _why: None
    tables: dict[str, Account] = field(default_factory=lambda: {t: Account() for t in TABLES})
    notes: list[str] = field(default_factory=list)

    def __getitem__(self, table: str) -> Account:
        return self.tables[table]

    def skip(self, table: str, row: str, why: str) -> None:
        """Note a row that is not moved; ``row`` says which, and what else there is to say."""
        account = self.tables[table]
        account.skipped[why] += 1
        named = account.named.setdefault(why, [])
        if len(named) < MOST_NAMED:
            named.append(row)
        self.told(table, row, why)

    @property
    def adds_up(self) -> bool:
        """Whether every row of every table is accounted for."""
        return all(account.adds_up for account in self.tables.values())

    def as_dict(self) -> dict[str, Any]:
        """The reconciliation as data."""
        return {
            "dry_run": self.dry_run,
            "adds_up": self.adds_up,
            "tables": {name: account.as_dict() for name, account in self.tables.items()},
            "notes": self.notes,
        }
