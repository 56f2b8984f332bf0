"""The ledger's methods that look at tasks and change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Select, Text, cast, func, select

from coordinator.model import Event, KeyRange, Pipeline, Task, TaskFilter
from coordinator.status import Status
from db import schema, statements
from db.base import PostgresBase
from db.rows import task_of

_T = schema.task.c
_P = schema.pipeline.c
_E = schema.event.c


class LookingLedger(PostgresBase):
    """Find, events, tasks, count: see ``coordinator.ledger`` for what each promises."""

    def find(
        self, pipeline: Pipeline | None, ranges: Sequence[KeyRange], most: int
    ) -> list[list[Task]]:
        rows = self._read(
            statements.FIND,
            pipeline_id=None if pipeline is None else pipeline.pipeline_id,
            lows=[keys.low for keys in ranges],
            highs=[keys.high for keys in ranges],
            versions=[keys.version for keys in ranges],
            most=most,
        )
        found: list[list[Task]] = [[] for _ in ranges]
        for row in rows:
            found[row.n - 1].append(task_of(row, row.pipeline))
        return found

    def events(self, task_id: int) -> list[Event]:
        wanted = (
            select(schema.event, schema.token.c.description)
            .join_from(schema.event, schema.token, isouter=True)
            .where(_E.task_id == task_id)
            .order_by(_E.event_id)
        )
        return [_event_of(row) for row in self._read(wanted)]

    def tasks(self, wanted: TaskFilter, after: int, limit: int) -> list[Task]:
        chosen = (
            _narrowed(select(schema.task, _P.name.label("pipeline")), wanted)
            .where(_P.pipeline_id == _T.pipeline_id, _T.task_id > after)
            .order_by(_T.task_id)
            .limit(limit)
        )
        return [task_of(row, row.pipeline) for row in self._read(chosen)]

    def count(self, wanted: TaskFilter) -> dict[str, int]:
        chosen = _narrowed(select(_T.status, func.count().label("tasks")), wanted)
        return {row.status: row.tasks for row in self._read(chosen.group_by(_T.status))}


def _narrowed(query: Select[Any], wanted: TaskFilter) -> Select[Any]:
    if wanted.pipeline_id is not None:
        query = query.where(_T.pipeline_id == wanted.pipeline_id)
    if wanted.version is not None:
        query = query.where(_T.version == wanted.version)
    if wanted.statuses:
        query = query.where(_T.status.in_([status.value for status in wanted.statuses]))
    if wanted.since is not None:
        query = query.where(_T.updated_at >= wanted.since)
    if wanted.text:
        query = query.where(cast(_T.task_input, Text).icontains(wanted.text, autoescape=True))
    return query


def _event_of(row: Row[Any]) -> Event:
    return Event(
        row.event_id,
        row.at,
        None if row.from_status is None else Status(row.from_status),
        Status(row.to_status),
        row.attempt,
        row.description,
        row.host,
        row.message,
    )
