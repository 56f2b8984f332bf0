"""The verbs that look and change nothing. Any token may look at what it is for."""

from __future__ import annotations

from datetime import datetime

from coordinator.errors import BadRequest
from coordinator.lookup import Lookup, or_raise
from coordinator.model import Event, Outline, Permission, Task, TaskFilter
from coordinator.naming import pick_version
from coordinator.requests import Caller, Name, Search
from coordinator.searching import spellings

MOST_LISTED = 10_000
#: What the inputs of one page of outlines may have together.
MOST_BYTES = 4 * 2**20


class Queries(Lookup):
    """Tasks, shown, listed and counted."""

    def check_ledger(self) -> None:
        """Raises LedgerAway unless the ledger answers."""
        self.ledger.pipeline("")

    def recognise(self, caller: Caller) -> Permission:
        """What the caller's token allows. Raises MissingToken, UnknownToken or RevokedToken."""
        return self._enter(caller)[0]

    def show(
        self, caller: Caller, name: Name, *, pipeline: str | None = None
    ) -> tuple[Task, list[Event]]:
        """One task with its events, oldest first."""
        who = self._onlooker(caller)
        task = or_raise(self._find(self._look(who, pipeline), [name])[0])
        return task, self.ledger.events(task.task_id)

    def tasks(self, caller: Caller, search: Search, *, after: int, limit: int) -> list[Task]:
        """Up to ``limit`` tasks that fit, beyond ``after``, in order of registration."""
        _check_limit(limit)
        return self.ledger.tasks(self._filter(caller, search), after, limit)

    def outlines(self, caller: Caller, search: Search, *, after: int, limit: int) -> list[Outline]:
        """As ``tasks``, for whoever wants them all, page by page; an empty page is the end.

        A page may have fewer than ``limit``, as its inputs are bounded together.
        """
        _check_limit(limit)
        return self.ledger.outlines(self._filter(caller, search), after, limit, MOST_BYTES)

    def count(self, caller: Caller, search: Search) -> dict[str, int]:
        """How many tasks fit, per status."""
        return self.ledger.count(self._filter(caller, search))

    def _filter(self, caller: Caller, search: Search) -> TaskFilter:
        who = self._onlooker(caller)
        target = self._look(who, search.pipeline)
        version = search.version
        if target is not None and version is not None:
            version = pick_version(target, version)
        return TaskFilter(
            target.pipeline_id if target else None,
            version,
            search.statuses,
            _aware(search.since),
            spellings(search.text) if search.text else (),
            search.message,
            search.stale,
        )


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= MOST_LISTED:
        raise BadRequest(f"cannot list {limit} tasks at once", f"ask for 1 to {MOST_LISTED:,}")


def _aware(moment: datetime | None) -> datetime | None:
    if moment is not None and moment.tzinfo is None:
        raise BadRequest(
            f"the time {moment.isoformat()} has no time zone", "add Z for UTC, or an offset"
        )
    return moment
