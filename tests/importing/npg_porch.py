"""Databases as npg_porch has them, built by the tests: on PostgreSQL and in SQLite files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, text

#: When the first thing happens there; each event a minute after the one before.
BEGAN = datetime(2025, 3, 1, 12, 0, 0, 250_000)

_PIPELINE = {
    "2.2": "name varchar UNIQUE NOT NULL, repository_uri varchar NOT NULL, version varchar",
    "3.0": "name varchar UNIQUE NOT NULL, repository_uri varchar NOT NULL",
}
_OF_TASK = {"2.2": "pipeline_id integer", "3.0": "version_id integer"}


class Old:
    """An npg_porch of one release, to fill."""

    def __init__(self, url: str, release: str, schema: str | None = None) -> None:
        self.url, self.release = url, release
        self.engine: Engine = create_engine(url)
        self._dot = f"{schema}." if schema else ""
        self._minutes = 0
        serial = "serial PRIMARY KEY" if self.engine.dialect.name == "postgresql" else None
        number = serial or "integer PRIMARY KEY AUTOINCREMENT"
        with self.engine.begin() as connection:
            if schema:
                connection.execute(text(f"CREATE SCHEMA {schema}"))
            tables = {
                "pipeline": f"pipeline_id {number}, {_PIPELINE[release]}",
                "task": f"task_id {number}, {_OF_TASK[release]}, job_descriptor varchar,"
                " definition json, state varchar, prefix varchar, created timestamp",
                "event": f"event_id {number}, task_id integer, time timestamp, change varchar,"
                " token_id integer NOT NULL",
                "token": f"token_id {number}, token varchar(32) UNIQUE, description varchar NOT"
                " NULL, pipeline_id integer, date_issued timestamp, date_revoked timestamp",
            }
            if release == "3.0":
                tables["version"] = (
                    f"version_id {number}, version varchar NOT NULL, pipeline_id integer NOT NULL,"
                    " UNIQUE (version, pipeline_id)"
                )
            for name, columns in tables.items():
                connection.execute(text(f"CREATE TABLE {self._dot}{name} ({columns})"))

    def close(self) -> None:
        self.engine.dispose()

    def add(self, table: str, connection: Connection | None = None, **values: Any) -> int:
        """A row; its number."""
        if connection is None:
            with self.engine.begin() as fresh:
                return self.add(table, fresh, **values)
        names = ", ".join(values)
        given = ", ".join(f":{name}" for name in values)
        sqlite = self.engine.dialect.name == "sqlite"
        row = {k: str(v) if sqlite and isinstance(v, datetime) else v for k, v in values.items()}
        statement = f"INSERT INTO {self._dot}{table} ({names}) VALUES ({given})"
        found = connection.execute(text(f"{statement} RETURNING {table}_id"), row)
        return int(found.scalar_one())

    def pipeline(self, name: str, *versions: str, uri: str = "https://example.org/p") -> int:
        """A pipeline; the number that its tasks point at, which for 3.0 is that of its first
        version."""
        self.names = {**getattr(self, "names", {}), name: 0}
        if self.release == "2.2":
            number = self.add("pipeline", name=name, repository_uri=uri, version=versions[0])
            self.names[name] = number
            return number
        self.names[name] = self.add("pipeline", name=name, repository_uri=uri)
        numbers = [self.add("version", version=v, pipeline_id=self.names[name]) for v in versions]
        return numbers[0]

    def token(
        self, secret: str | None, pipeline: str | None, *, revoked: bool = False, about: str = "t"
    ) -> int:
        """A token."""
        return self.add(
            "token",
            token=secret,
            description=about,
            pipeline_id=self.names[pipeline] if pipeline else None,
            date_issued=BEGAN,
            date_revoked=BEGAN + timedelta(days=1) if revoked else None,
        )

    def task(
        self, target: int, definition: Any, state: str | None, changes: Sequence[str], token: int
    ) -> int:
        """A task with its history, each change a minute after the one before."""
        with self.engine.begin() as connection:
            return self._task(connection, target, definition, state, changes, token)

    def tasks(
        self, target: int, states: Iterable[tuple[Any, str, Sequence[str]]], token: int
    ) -> None:
        """Many tasks, in one transaction."""
        with self.engine.begin() as connection:
            for definition, state, changes in states:
                self._task(connection, target, definition, state, changes, token)

    def _task(
        self,
        connection: Connection,
        target: int,
        definition: Any,
        state: str | None,
        changes: Sequence[str],
        token: int,
    ) -> int:
        written = definition if isinstance(definition, str) else json.dumps(definition)
        pointer = "pipeline_id" if self.release == "2.2" else "version_id"
        number = self.add(
            "task",
            connection,
            **{pointer: target},
            job_descriptor=f"{hash(written):x}",
            definition=written,
            state=state,
            created=BEGAN,
        )
        for change in changes:
            self._minutes += 1
            at = BEGAN + timedelta(minutes=self._minutes)
            self.add("event", connection, task_id=number, time=at, change=change, token_id=token)
        return number


def changed(status: str) -> str:
    """What npg_porch notes for a change of status."""
    return f"Task changed, new status {status}"


#: A life as most tasks have it, by the status it ends in.
LIVES = {
    "PENDING": ["Created"],
    "CLAIMED": ["Created", "Task claimed"],
    "RUNNING": ["Created", "Task claimed", changed("RUNNING")],
    "DONE": ["Created", "Task claimed", changed("RUNNING"), changed("DONE")],
    "FAILED": ["Created", "Task claimed", changed("RUNNING"), changed("FAILED")],
    "CANCELLED": ["Created", changed("CANCELLED")],
}
