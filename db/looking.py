"""The ledger's methods that look at tasks and change nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, ScalarSelect, Select, Text, cast, func, or_, select

from coordinator.model import Event, KeyRange, LookAlikes, Outline, Pipeline, Task, TaskFilter
from coordinator.nearness import MOST_COMPARED_BYTES
from coordinator.status import HELD, Status
from db import questions, schema
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
            questions.FIND,
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

    def find_all(self, ranges: Sequence[tuple[Pipeline, KeyRange]], most: int) -> list[list[Task]]:
        values = {
            "pipeline_ids": [pipeline.pipeline_id for pipeline, _ in ranges],
            "lows": [keys.low for _, keys in ranges],
            "highs": [keys.high for _, keys in ranges],
            "versions": [keys.version for _, keys in ranges],
            "most": most,
        }
        found: list[list[Task]] = [[] for _ in ranges]
        with self._transaction() as connection:
            for row in questions.FIND_OWN.execute(connection, values, len(ranges)):
                found[row.n - 1].append(task_of(row, ranges[row.n - 1][0].name))
        return found

    def standing(
        self, pipeline: Pipeline, version: str, keys: Sequence[bytes]
    ) -> dict[bytes, Status]:
        rows = self._read(
            questions.KNOWN, pipeline_id=pipeline.pipeline_id, version=version, keys=list(keys)
        )
        return {bytes(row.task_input_id): Status(row.status) for row in rows}

    def look_alikes(
        self, pipeline: Pipeline, version: str | None, inputs: Sequence[str], most: int
    ) -> LookAlikes:
        rows = self._read(
            questions.LOOK_ALIKES,
            pipeline_id=pipeline.pipeline_id,
            version=version,
            inputs=list(inputs),
            most=most,
            most_bytes=MOST_COMPARED_BYTES,
        )
        (total,) = (row for row in rows if row.total)
        return LookAlikes(
            {row.n - 1: row.task_id for row in rows if not row.total},
            min(total.tasks, most) - total.large,
            complete=total.tasks <= most and not total.large,
        )

    def by_id(self, task_ids: Sequence[int]) -> list[Task]:
        chosen = select(schema.task, _P.name.label("pipeline")).where(
            _P.pipeline_id == _T.pipeline_id, _T.task_id.in_(task_ids)
        )
        return [task_of(row, row.pipeline) for row in self._read(chosen)]

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

    def outlines(
        self, wanted: TaskFilter, after: int, limit: int, most_bytes: int
    ) -> list[Outline]:
        """The bytes are counted by PostgreSQL, so that what is too much never gets here.

        What has been pruned has no input to be written out.
        """
        text = cast(_T.task_input, Text).label("text")
        page = (
            _narrowed(
                select(_T.task_id, _P.name, _P.uri, _T.version, _T.task_input_id, text, _T.status),
                wanted,
            )
            .where(_P.pipeline_id == _T.pipeline_id, _T.task_id > after)
            .where(_T.task_input.is_not(None))
            .order_by(_T.task_id)
            .limit(limit)
            .cte()
        )
        c, order = page.c, page.c.task_id
        so_far = func.sum(func.octet_length(c.text)).over(order_by=order, rows=(None, 0))
        first = func.row_number().over(order_by=order) == 1
        counted = select(page, so_far.label("so_far"), first.label("first")).subquery()
        c = counted.c
        key = func.encode(c.task_input_id, "hex")
        chosen = (
            select(c.task_id, c.name, c.uri, c.version, key, c.text, c.status)
            .where(or_(c.so_far <= most_bytes, c.first))
            .order_by(c.task_id)
        )
        return [Outline._make(row) for row in self._read(chosen)]

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
    if wanted.texts:
        kept = cast(_T.task_input, Text)
        query = query.where(or_(*(kept.icontains(one, autoescape=True) for one in wanted.texts)))
    if wanted.message:
        query = query.where(_last_message().ilike(_pattern(wanted.message), escape="\\"))
    if wanted.stale is not None:
        query = query.where(
            _T.status.in_([status.value for status in HELD]),
            or_(_T.lease_until.is_(None), _T.lease_until < func.now()),
            _T.updated_at <= func.now() - timedelta(seconds=wanted.stale),
        )
    return query


def _last_message() -> ScalarSelect[Any]:
    """What the last change of a task has to say for itself."""
    return (
        select(_E.message)
        .where(_E.task_id == _T.task_id, ~_E.refused)
        .order_by(_E.event_id.desc())
        .limit(1)
        .correlate(schema.task)
        .scalar_subquery()
    )


def _pattern(message: str) -> str:
    """Anywhere in the text, case aside; % stands for anything, and every other sign for itself."""
    return "%" + message.replace("\\", "\\\\").replace("_", "\\_") + "%"


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
        row.job_id,
        row.refused,
    )
