"""The migrations: what they make is what the code expects, however often and by whomever."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from threading import Barrier
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Engine, create_engine, event, make_url, text

from config.embedded import EmbeddedUrls
from coordinator.errors import LedgerAway
from db import schema
from db.engine import LOCK_TIMEOUT_MS
from db.migrate import upgrade
from tests.factories import unique
from tests.house import wait_until

#: The newest schema of a release: what comes later meets databases that are in use, and large.
RELEASED = "0005"
#: Tables of which each task has a row, or several.
LARGE = r"TABLE porch\.(task|event|claim)\b|ON porch\.(task|event|claim)\b"


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


def upgrade_to(engine: Engine, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(files("db") / "migrations"))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


@pytest.fixture
def in_use(empty_url: str) -> Iterator[Engine]:
    """A database of the last release."""
    engine = create_engine(empty_url)
    upgrade_to(engine, RELEASED)
    yield engine
    engine.dispose()


def waiting(engine: Engine, statement: str) -> list[int]:
    """Who waits for somebody in a statement that has these words."""
    with engine.connect() as connection:
        found = connection.execute(
            text(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                " AND wait_event_type = 'Lock' AND query LIKE :statement"
            ),
            {"statement": f"%{statement}%"},
        )
        return [pid for (pid,) in found]


def claim(engine: Engine) -> None:
    """Takes the lock that a claim takes, and waits no longer for it."""
    with engine.begin() as connection:
        connection.execute(text(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}"))
        connection.execute(text("LOCK TABLE porch.task IN ROW EXCLUSIVE MODE"))


def test_claims_go_on_while_a_migration_waits_for_whoever_reads(
    in_use: Engine, empty_url: str
) -> None:
    with ThreadPoolExecutor(1) as pool:
        with in_use.begin() as backup:
            backup.execute(text("SELECT FROM porch.task"))
            migrating = pool.submit(upgrade, empty_url)
            wait_until(lambda: waiting(in_use, "ALTER TABLE porch.task"))
            claim(in_use)
            assert not migrating.done()
        migrating.result(30)
    assert differences(in_use) == []


def test_a_migration_that_is_broken_off_is_gone_on_with(in_use: Engine, empty_url: str) -> None:
    upgrade_to(in_use, "0011")
    build = "CREATE INDEX CONCURRENTLY"
    with ThreadPoolExecutor(1) as pool, in_use.begin() as claiming:
        claiming.execute(text("LOCK TABLE porch.task IN ROW EXCLUSIVE MODE"))
        migrating = pool.submit(upgrade, empty_url)
        wait_until(lambda: waiting(in_use, build))
        claim(in_use)
        with in_use.begin() as operator:
            operator.execute(
                text("SELECT pg_terminate_backend(:pid)"), {"pid": waiting(in_use, build)[0]}
            )
        with pytest.raises(LedgerAway):
            migrating.result(30)
    assert unfit(in_use) == ["task_cancelled"]
    upgrade(empty_url)
    assert unfit(in_use) == []
    assert differences(in_use) == []


def unfit(engine: Engine) -> list[str]:
    """Indexes that nothing uses, and constraints that hold for new rows only."""
    with engine.connect() as connection:
        found = connection.execute(
            text(
                "SELECT relname FROM pg_index JOIN pg_class ON oid = indexrelid"
                " WHERE NOT indisvalid UNION ALL"
                " SELECT conname FROM pg_constraint WHERE NOT convalidated"
            )
        )
        return [name for (name,) in found]


def test_no_migration_reads_a_large_table_under_a_lock_that_claims_wait_for(in_use: Engine) -> None:
    said: list[str] = []

    @event.listens_for(in_use, "before_cursor_execute")
    def note(_: object, __: object, statement: str, *___: object) -> None:
        said.append(" ".join(statement.split()))

    upgrade_to(in_use, "head")
    large = [statement for statement in said if re.search(LARGE, statement)]
    assert large
    for statement in large:
        if "INDEX" in statement:
            assert "CONCURRENTLY" in statement
        for constraint in re.findall(r"ADD (?:CONSTRAINT|CHECK|FOREIGN).*?(?=, ADD|$)", statement):
            assert constraint.endswith("NOT VALID")
        assert not re.search(r"SET NOT NULL|ALTER COLUMN \w+ TYPE", statement)


def test_a_database_that_is_away_is_told_as_such() -> None:
    with pytest.raises(LedgerAway):
        upgrade("postgresql+psycopg2://u:p@127.0.0.1:1/none")
