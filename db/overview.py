"""The ledger's methods for what operators look at."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.sql import Executable

from coordinator.model import Task
from coordinator.moving_over import FILLED_IN
from coordinator.status import Status
from coordinator.views import (
    TICK,
    Counts,
    FailureGroup,
    Happened,
    Looked,
    Position,
    Runs,
    RunTimes,
    Scope,
)
from db import glances
from db.base import PostgresBase
from db.rows import task_of

_BEYOND = 2**63 - 1
_FOREVER = "infinity"

_ALIKE = {
    key: value
    for name, (what, by) in glances.ALIKE.items()
    for key, value in ((name, what), (f"{name}_by", by))
}


class OverviewLedger(PostgresBase):
    """Pages, counts, run times, failures: see ``coordinator.ledger`` for what each promises."""

    def newest(self, scope: Scope, after: Position | None, look_at: int, most: int) -> Looked:
        statement = glances.newest(
            walk=_walk(scope),
            by_change=scope.by_change,
            texts=len(scope.texts),
            limited=scope.limits is not None,
        )
        changed = after.changed if after and after.changed else _FOREVER
        limits = scope.limits or {}
        rows = self._glance(
            text(statement),
            pipeline_id=scope.pipeline_id,
            task_id=after.task_id if after else _BEYOND,
            changed=changed,
            statuses=sorted(scope.statuses),
            not_done=sorted(scope.statuses - {Status.DONE}),
            **{f"text{i}": _within(one) for i, one in enumerate(scope.texts)},
            limited=list(limits),
            limits=list(limits.values()),
            look_at=look_at,
            most=most,
        )
        if not rows:
            return Looked([], None)
        last = rows[0]
        tasks = [task_of(row, row.pipeline) for row in rows if row.task_id is not None]
        if last.looked_at < look_at:
            return Looked(tasks, None)
        end = Position(last.last_id, last.last_age if scope.by_change else None, last.last_age)
        return Looked(tasks, end)

    def status_counts(self) -> list[Counts]:
        counts: dict[str, dict[Status, int]] = {}
        for row in self._glance(glances.STATUS_COUNTS):
            of_pipeline = counts.setdefault(row.name, dict.fromkeys(Status, 0))
            if row.status is not None:
                of_pipeline[Status(row.status)] = row.tasks
        return [Counts(name, of_pipeline) for name, of_pipeline in counts.items()]

    def now(self) -> datetime:
        moment: datetime = self._glance(glances.NOW)[0][0]
        return moment.astimezone(UTC)

    def happened(self, pipeline_id: int | None, begin: datetime, end: datetime) -> list[Happened]:
        times = {"begin": begin, "end": end, "tick": TICK}
        if pipeline_id is None:
            rows = self._glance(glances.HAPPENED, **times)
        else:
            rows = self._glance(glances.HAPPENED_IN_ONE, **times, pipeline_id=pipeline_id)
        return [
            Happened(row.begin.astimezone(UTC), row.submitted, row.done, row.failed) for row in rows
        ]

    def happened_in_each(self, begin: datetime, end: datetime) -> dict[str, list[Happened]]:
        found: defaultdict[str, list[Happened]] = defaultdict(list)
        for row in self._glance(glances.HAPPENED_IN_EACH, begin=begin, end=end, tick=TICK):
            tick = Happened(row.begin.astimezone(UTC), row.submitted, row.done, row.failed)
            found[row.pipeline].append(tick)
        return dict(found)

    def run_times(self, latest: int) -> list[Runs]:
        rows = self._glance(glances.RUN_TIMES, latest=latest, filled_in=FILLED_IN)
        return [Runs(row.pipeline_id, _run_times(row)) for row in rows]

    def failure_groups(self, pipeline_id: int | None, latest: int, most: int) -> list[FailureGroup]:
        rows = self._glance(
            glances.FAILURE_GROUPS,
            pipeline_id=pipeline_id,
            changed=_FOREVER,
            task_id=_BEYOND,
            look_at=latest,
            most=most,
            **_ALIKE,
        )
        return [
            FailureGroup(
                row.pipeline,
                row.name,
                row.pattern,
                row.example or "",
                row.tasks,
                row.first,
                row.last,
            )
            for row in rows
        ]

    def failures(
        self,
        pipeline_id: int,
        group: str,
        after: int,
        look_at: int,
        most: int,
        until: datetime | None,
    ) -> tuple[list[Task], int | None]:
        rows = self._glance(
            glances.FAILURES,
            pipeline_id=pipeline_id,
            group=group,
            after=after,
            look_at=look_at,
            most=most,
            until=until or _FOREVER,
            **_ALIKE,
        )
        tasks = [task_of(row, row.pipeline) for row in rows if row.task_id is not None]
        return tasks, None if rows[0].looked_at < look_at else rows[0].last_id

    def _glance(self, statement: Executable, **values: Any) -> list[Row[Any]]:
        with self._transaction(bounded=False) as connection:
            connection.exec_driver_sql(glances.SETTINGS)
            return list(connection.execute(statement, values))


def _walk(scope: Scope) -> str:
    if scope.by_change:
        return "failed"
    done = Status.DONE in scope.statuses
    searched = bool(scope.texts)
    # Of all pipelines, the walk through all tasks meets what is searched sooner than a walk through
    # each pipeline, which takes as many steps in every one of them.
    if scope.pipeline_id is None and (len(scope.statuses) == len(Status) or (done and searched)):
        return "all"
    if not done:
        return "not_done"
    return "done" if len(scope.statuses) == 1 else "both"


def _within(words: str) -> str:
    """The pattern of texts that have these words in them."""
    for sign in "!%_":
        words = words.replace(sign, "!" + sign)
    return f"%{words}%"


def _run_times(row: Row[Any]) -> RunTimes:
    median, p95 = row.shares
    return RunTimes(row.pipeline, row.runs, row.mean, row.deviation, median, p95, row.limit)
