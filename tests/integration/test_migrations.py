"""The migrations: what they make is what the code expects, however often and by whomever."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, create_engine, make_url, text

from config.embedded import EmbeddedUrls
from coordinator.errors import LedgerAway
from db import schema
from db.migrate import upgrade
from tests.factories import unique


@pytest.fixture
def empty_url(servers: EmbeddedUrls) -> Iterator[str]:
    """The URL of a database in which nothing is."""
    name = unique("empty").replace("-", "_")
    url = make_url(servers.database_url)
    server = create_engine(url.set(database="postgres"), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield url.set(database=name).render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    server.dispose()


@pytest.fixture
def migrated(empty_url: str) -> Iterator[Engine]:
    upgrade(empty_url)
    engine = create_engine(empty_url)
    yield engine
    engine.dispose()


def differences(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_schemas": True,
                "include_name": lambda name, kind, _: kind != "schema" or name == schema.SCHEMA,
                "version_table": "migration",
                "version_table_schema": schema.SCHEMA,
                "compare_server_default": True,
            },
        )
        return compare_metadata(context, schema.metadata)


def constraints(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        found = connection.execute(
            text(
                "SELECT conname FROM pg_constraint "
                "WHERE connamespace = 'porch'::regnamespace AND contype <> 'n'"
                " AND conrelid <> 'porch.migration'::regclass"
            )
        )
        return {name for (name,) in found}


def test_the_migrated_schema_is_the_one_that_the_code_knows(migrated: Engine) -> None:
    assert differences(migrated) == []


def test_every_constraint_has_the_name_that_the_code_knows(migrated: Engine) -> None:
    known = {
        str(constraint.name)
        for table in schema.metadata.tables.values()
        for constraint in table.constraints
    }
    assert constraints(migrated) == known


def test_migrating_again_changes_nothing(migrated: Engine, empty_url: str) -> None:
    with migrated.begin() as connection:
        connection.execute(text("INSERT INTO porch.pipeline (name, uri) VALUES ('p', 'u')"))
    upgrade(empty_url)
    with migrated.connect() as connection:
        assert connection.execute(text("SELECT name FROM porch.pipeline")).scalar_one() == "p"


def test_many_may_migrate_at_once(empty_url: str) -> None:
    together = Barrier(4)

    def migrate(_: int) -> None:
        together.wait()
        upgrade(empty_url)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrate, range(4)))
    engine = create_engine(empty_url)
    assert differences(engine) == []
    engine.dispose()


def test_a_database_that_is_away_is_told_as_such() -> None:
    with pytest.raises(LedgerAway):
        upgrade("postgresql+psycopg2://u:p@127.0.0.1:1/none")
