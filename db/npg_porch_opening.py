"""Opens the database of an npg_porch, to read it and nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zoneinfo import ZoneInfo

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from db.npg_porch_source import NoSource, NpgPorch

_PG_BOUNDS = text("SET LOCAL statement_timeout = 0; SET LOCAL cursor_tuple_fraction = 1")
_URL_CURE = "write postgresql://user:password@host:5432/database, or sqlite:////path/to/file"


@contextmanager
def opened(url: str, schema: str, zone: ZoneInfo) -> Iterator[NpgPorch]:
    """The source, as it is at this instant. Raises NoSource."""
    engine = _engine(url)
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "postgresql":
                connection.execution_options(
                    isolation_level="REPEATABLE READ", postgresql_readonly=True
                )
                connection.execute(_PG_BOUNDS)
            else:
                connection.exec_driver_sql("BEGIN")
            yield NpgPorch(
                connection, schema if engine.dialect.name == "postgresql" else None, zone
            )
    except DBAPIError as error:
        said = (str(error.orig).strip().splitlines() or [type(error.orig).__name__])[0]
        raise NoSource(
            f"the database to import from cannot be read: {said}", "is the URL of --from right?"
        ) from error
    finally:
        engine.dispose()


def _engine(url: str) -> Engine:
    try:
        made = make_url(url.replace("postgres://", "postgresql://", 1))
        kind = made.get_backend_name()
        if kind == "postgresql":
            made = made.set(drivername="postgresql+psycopg2")
            return create_engine(made, pool_size=1, connect_args={"connect_timeout": 10})
        if kind == "sqlite":
            return create_engine(_read_only(made))
    except (ArgumentError, NoSuchModuleError, ValueError):
        pass  # its own words repeat the URL, and the password in it
    raise NoSource("the URL of --from is neither PostgreSQL's nor SQLite's", _URL_CURE)


def _read_only(url: URL) -> URL:
    path = Path(url.database or "")
    if not path.is_file():
        raise NoSource(f'there is no file "{path}" to import from', _URL_CURE)
    if not os.access(path, os.R_OK):
        raise NoSource(f'the file "{path}" may not be read', "run this as its owner")
    quoted = path.absolute().as_uri()
    return URL.create("sqlite+pysqlite", database=quoted, query={"mode": "ro", "uri": "true"})
