"""An npg_porch database, on PostgreSQL or in an SQLite file: read only, in one snapshot.

Its releases up to 2.2 keep the version with the pipeline; 3.0 has a table ``version`` that tasks
point at. Which of them it is, is seen from the columns. Tasks and events are two streams in the
order of task_id, merged: its events have no index by task, and memory stays the same however many
there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import (
    Connection,
    Select,
    String,
    TableClause,
    cast,
    column,
    exists,
    func,
    inspect,
    or_,
    select,
    table,
    text,
)

from coordinator.errors import PorchError
from coordinator.moving_over import Change

_ROWS = 500
_FAR = timedelta(days=2)
_END = datetime.max.replace(tzinfo=UTC)

_COLUMNS = {
    "pipeline": {"pipeline_id", "name", "repository_uri"},
    "task": {"task_id", "job_descriptor", "definition", "state", "created"},
    "event": {"event_id", "task_id", "time", "change", "token_id"},
    "token": {"token_id", "token", "description", "pipeline_id", "date_issued", "date_revoked"},
}


class NoSource(PorchError):
    """The database to import from cannot be used."""

    code = "no_source"


class SourcePipeline(NamedTuple):
    """A pipeline there, with its versions."""

    pipeline_id: int
    name: str
    uri: str
    versions: tuple[str, ...]


class SourceToken(NamedTuple):
    """A token there. Its secret is not for showing."""

    token_id: int
    secret: str | None
    description: str | None
    pipeline_id: int | None
    issued: datetime | None
    revoked: datetime | None


class SourceTask(NamedTuple):
    """A task there; ``text``: its definition as it is kept."""

    task_id: int
    pipeline_id: int | None
    version: str | None
    descriptor: str | None
    text: str | None
    state: str | None
    created: datetime | None


class NpgPorch:
    """The open snapshot of a source."""

    def __init__(self, connection: Connection, schema: str | None, zone: ZoneInfo) -> None:
        self._connection, self._schema, self._zone = connection, schema, zone
        self._columns = self._inspected()
        self._now = datetime.now(UTC)
        #: Rows with a time that is none, or is after the snapshot: table, column and number.
        self.no_times: dict[tuple[str, str, int], str] = {}
        self.future_times: set[tuple[str, str, int]] = set()
        self.release = "3.0" if "version_id" in self._columns["task"] else "2.2"

    def counts(self) -> dict[str, int]:
        """How many rows each table has; where versions are a column, each pipeline has one."""
        tables = ["pipeline", "token", "task", "event"]
        found = {
            name: int(
                self._connection.execute(
                    select(func.count()).select_from(self._t(name))
                ).scalar_one()
            )
            for name in tables
        }
        found["version"] = sum(len(pipeline.versions) for pipeline in self.pipelines())
        return found

    def time_zone(self) -> str | None:
        """What a PostgreSQL source takes for local time; None for SQLite, whose times are UTC."""
        if self._connection.dialect.name != "postgresql":
            return None
        return str(self._connection.execute(text("SHOW timezone")).scalar_one())

    def pipelines(self) -> list[SourcePipeline]:
        """All pipelines, in the order of their registration."""
        p = self._t("pipeline")
        versions: dict[int, list[str]] = {}
        if "version" in self._columns["pipeline"]:
            for row in self._connection.execute(select(p.c.pipeline_id, p.c.version)):
                if row.version is not None:
                    versions.setdefault(row.pipeline_id, []).append(row.version)
        if "version" in self._columns:
            v = self._t("version")
            for row in self._connection.execute(select(v).order_by(v.c.version_id)):
                known = versions.setdefault(row.pipeline_id, [])
                if row.version not in known:
                    known.append(row.version)
        rows = self._connection.execute(
            select(p.c.pipeline_id, p.c.name, p.c.repository_uri).order_by(p.c.pipeline_id)
        )
        return [SourcePipeline(*row, tuple(versions.get(row.pipeline_id, ()))) for row in rows]

    def tokens(self) -> list[SourceToken]:
        """All tokens, in the order of their issue."""
        t = self._t("token")
        wanted = select(
            t.c.token_id, t.c.token, t.c.description, t.c.pipeline_id,
            t.c.date_issued, t.c.date_revoked,
        ).order_by(t.c.token_id)  # fmt: skip
        return [
            SourceToken(
                *row[:4],
                self._moment(row[4], "token", "date_issued", row[0]),
                self._revoked(row[5], row[0]),
            )
            for row in self._connection.execute(wanted)
        ]

    def tasks(self) -> Iterator[SourceTask]:
        """All tasks, oldest first."""
        for row in self._stream(self._tasks()):
            task_id, pipeline, version, descriptor, definition, state, created = row
            yield SourceTask(
                task_id, pipeline, version, descriptor, definition, state,
                self._moment(created, "task", "created", task_id),
            )  # fmt: skip

    def histories(self) -> Iterator[tuple[SourceTask, list[Change]]]:
        """All tasks, oldest first, each with its events."""
        e = self._t("event")
        wanted = (
            select(e.c.event_id, e.c.task_id, e.c.time, e.c.change, e.c.token_id)
            .where(e.c.task_id.is_not(None))
            .order_by(e.c.task_id, e.c.event_id)
        )
        events = iter(self._stream(wanted))
        event = next(events, None)
        for task in self.tasks():
            changes = []
            while event is not None and event.task_id <= task.task_id:
                if event.task_id == task.task_id:
                    at = self._moment(event.time, "event", "time", event.event_id)
                    changes.append(Change(event.event_id, at, event.change, event.token_id))
                event = next(events, None)
            yield task, changes

    def strays(self) -> list[int]:
        """Events of no task: nothing there forbids them."""
        e, t = self._t("event"), self._t("task")
        of_a_task = exists().where(t.c.task_id == e.c.task_id)
        wanted = select(e.c.event_id).where(or_(e.c.task_id.is_(None), ~of_a_task))
        return [row.event_id for row in self._connection.execute(wanted)]

    def _tasks(self) -> Select[Any]:
        t, columns = self._t("task"), self._columns["task"]
        pipeline: Any = t.c.pipeline_id if "pipeline_id" in columns else None
        version: Any = None
        joined: Any = t
        if "version" in self._columns["pipeline"]:
            p = self._t("pipeline")
            joined = joined.outerjoin(p, p.c.pipeline_id == t.c.pipeline_id)
            version = p.c.version
        if self.release == "3.0":
            v = self._t("version")
            joined = joined.outerjoin(v, v.c.version_id == t.c.version_id)
            version = v.c.version if version is None else func.coalesce(v.c.version, version)
            pipeline = (
                v.c.pipeline_id if pipeline is None else func.coalesce(v.c.pipeline_id, pipeline)
            )
        return (
            select(
                t.c.task_id, pipeline, version, t.c.job_descriptor,
                cast(t.c.definition, String), t.c.state, t.c.created,
            )
            .select_from(joined)
            .order_by(t.c.task_id)
        )  # fmt: skip

    def _t(self, name: str) -> TableClause:
        columns: list[Any] = [column(known) for known in sorted(self._columns[name])]
        return table(name, *columns, schema=self._schema)

    def _stream(self, wanted: Select[Any]) -> Any:
        options = {"stream_results": True, "yield_per": _ROWS}
        return self._connection.execute(wanted, execution_options=options)

    def _revoked(self, value: Any, token_id: int) -> datetime | None:
        """Revoked is revoked, whenever that was."""
        at = self._moment(value, "token", "date_revoked", token_id)
        return self._now if at is None and value is not None else at

    def _moment(self, value: Any, name: str, of: str, number: int) -> datetime | None:
        """Times there have no zone: see --timezone. None, and noted, for what is no time; nothing
        is later than the snapshot."""
        if value is None:
            return None
        try:
            at = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
            if at.replace(tzinfo=None) > self._now.replace(tzinfo=None) + _FAR:
                at = _END  # whatever the zone; "infinity" would go beyond what has a zone
            elif at.tzinfo is None:
                at = at.replace(tzinfo=self._zone).astimezone(UTC)
        except (ValueError, OverflowError):
            self.no_times[name, of, number] = str(value)[:40]
            return None
        if at > self._now:
            self.future_times.add((name, of, number))
            return self._now
        return at

    def odd_times(self) -> list[str]:
        """What to say of times that were not taken as they are there."""
        said = []
        if self.no_times:
            (name, of, number), value = min(self.no_times.items())
            said.append(
                f"{len(self.no_times):,} times are none, and were left out: the first is "
                f'"{value}", {of} of {name} {number}'
            )
        if self.future_times:
            name, of, number = min(self.future_times)
            said.append(
                f"{len(self.future_times):,} times are after the import began, which was taken "
                f"instead: the first is {of} of {name} {number}; is --timezone right?"
            )
        return said

    def _inspected(self) -> dict[str, set[str]]:
        looking = inspect(self._connection)
        where = f'schema "{self._schema}"' if self._schema else "file"
        if self._schema and self._schema not in looking.get_schema_names():
            raise NoSource(
                f"there is no {where} in the database to import from", self._other_schemas()
            )
        there = set(looking.get_table_names(schema=self._schema))
        missing = sorted(set(_COLUMNS) - there)
        if missing:
            raise NoSource(
                f"the {where} has no table {', '.join(missing)}: it is not npg_porch's",
                self._other_schemas(),
            )
        found = {
            name: {str(c["name"]) for c in looking.get_columns(name, schema=self._schema)}
            for name in [*_COLUMNS, *({"version"} & there)]
        }
        lacking = [f"{t}.{c}" for t, needed in _COLUMNS.items() for c in sorted(needed - found[t])]
        if "version_id" not in found["task"] and "version" not in found["pipeline"]:
            lacking.append("pipeline.version")
        if lacking:
            raise NoSource(
                f"the {where} lacks {', '.join(lacking)}",
                "npg_porch 1.0 to 3.0 can be imported; is it another release?",
            )
        return found

    def _other_schemas(self) -> str:
        if self._schema is None:
            return "name the file in which npg_porch keeps its tables"
        looking = inspect(self._connection)
        fitting = [
            name
            for name in looking.get_schema_names()
            if name not in {"porch", "information_schema"}
            and set(_COLUMNS) <= set(looking.get_table_names(schema=name))
        ]
        return f"try --schema {fitting[0]}" if fitting else "no schema there has these tables"
