"""Databases of a test's own, copied from a template."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import create_engine, make_url, text

from tests.factories import unique


@contextmanager
def copy_of(template: str | None, server: str) -> Iterator[str]:
    """The URL of a copy of a database to which nobody is connected; None: of an empty one."""
    name = unique("db").replace("-", "_")
    source = "template1" if template is None else make_url(template).database
    engine = create_engine(make_url(server).set(database="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {source}"))
    yield make_url(server).set(database=name).render_as_string(hide_password=False)
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()
