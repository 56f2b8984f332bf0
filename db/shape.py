"""Whether the PostgreSQL that is there is fit for this release: settings, migrations, schema."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from importlib.resources import as_file, files
from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import CheckConstraint, Connection, Engine, PrimaryKeyConstraint, text
from sqlalchemy.exc import SAWarning

from coordinator.health import Check, Finding, Level
from db.schema import SCHEMA, metadata
from db.translate import translated

_VERSION_TABLE = {"version_table": "migration", "version_table_schema": SCHEMA}

_SERVER = text(
    """
    SELECT current_setting('server_version') AS version, pg_is_in_recovery() AS standby,
        current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS commit
    """
)

_CONSTRAINTS = text(
    """
    SELECT conname, convalidated FROM pg_constraint
    WHERE connamespace = CAST(CAST(:schema AS text) AS regnamespace)
    """
)

#: A build that was broken off leaves an index that is kept up to date, or not, and never used.
_UNFIT_INDEXES = text(
    """
    SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE c.relnamespace = CAST(CAST(:schema AS text) AS regnamespace)
        AND NOT (i.indisvalid AND i.indisready AND i.indislive)
    ORDER BY c.relname
    """
)


def shape(engine: Engine, *, whole: bool = True) -> list[Check]:
    """PostgreSQL, the migrations, and (``whole``) the tables, constraints and indexes that they
    should have made. Raises LedgerAway."""
    with translated(), engine.begin() as connection:
        server, migrations = _server(connection), _migrations(connection)
        if not whole:
            return [server, migrations]
        if migrations.findings and migrations.level is Level.WRONG:
            return [server, migrations, Check("schema", skipped="the migrations come first")]
        return [server, migrations, _schema(connection)]


def behind(engine: Engine) -> str | None:
    """What keeps this release from using a database, as the end of a sentence; None if nothing."""
    with engine.begin() as connection:
        check = _migrations(connection)
    if check.level is not Level.WRONG:
        return None
    at, needed = check.looked_at["at"] or "nothing", check.looked_at["needed"]
    return f"is at {at}, this release needs {needed}"


def _server(connection: Connection) -> Check:
    row = connection.execute(_SERVER).one()
    findings = []
    if row.standby:
        findings.append(Finding("this is a standby: workers need the primary", Level.WARNING))
    if row.fsync != "on":
        findings.append(Finding("fsync is off: a crash of its host loses work", Level.WARNING))
    if row.commit == "off":
        what = "synchronous_commit is off: a crash loses what was answered as accepted"
        findings.append(Finding(what, Level.WARNING))
    return Check.of("postgresql", {"version": row.version.split()[0]}, findings)


def _migrations(connection: Connection) -> Check:
    with as_file(files("db") / "migrations") as scripts:
        known = ScriptDirectory(str(scripts))
        head = known.get_current_head()
        revisions = {script.revision for script in known.walk_revisions()}
    at = MigrationContext.configure(connection, opts=_VERSION_TABLE).get_current_revision()
    findings = []
    if at is None or (at in revisions and at != head):
        what = f"the database is at {at or 'nothing'}, this release needs {head}"
        findings.append(Finding(what, look="porch-server migrate"))
    elif at not in revisions:
        what = f"the database is at {at}, which is newer than this release"
        findings.append(Finding(what, Level.WARNING))
    return Check.of("migrations", {"at": at, "needed": head}, findings)


def _schema(connection: Connection) -> Check:
    values = {"schema": SCHEMA}
    # Where our schema comes first in the search path, as it does for a role named like it, its
    # tables would be taken for tables without a schema, and ours for missing.
    connection.exec_driver_sql("SET LOCAL search_path = ''")
    connection.dialect.default_schema_name = "public"
    context = MigrationContext.configure(
        connection,
        opts={
            **_VERSION_TABLE,
            "include_schemas": True,
            "include_name": lambda name, kind, _: kind != "schema" or name == SCHEMA,
            "compare_server_default": True,
        },
    )
    with warnings.catch_warnings():
        # SQLAlchemy warns of what it finds and cannot describe: it is described here, or not ours.
        warnings.simplefilter("ignore", SAWarning)
        differences = compare_metadata(context, metadata)
    findings = [_finding(difference) for difference in _flat(differences)]
    there = {row.conname: row.convalidated for row in connection.execute(_CONSTRAINTS, values)}
    # Alembic compares the others.
    wanted = {
        str(constraint.name)
        for table in metadata.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint | PrimaryKeyConstraint)
    }
    findings += [Finding(f"constraint {name} is missing") for name in sorted(wanted - set(there))]
    findings += [
        Finding(f"constraint {name} has not been validated")
        for name, validated in sorted(there.items())
        if not validated
    ]
    findings += [
        Finding(f"index {name} is not valid", look=f"REINDEX INDEX {SCHEMA}.{name}")
        for (name,) in connection.execute(_UNFIT_INDEXES, values)
    ]
    looked_at = {
        "tables": len(metadata.tables),
        "constraints": sum(len(table.constraints) for table in metadata.tables.values()),
        "indexes": sum(len(table.indexes) for table in metadata.tables.values()),
    }
    return Check.of("schema", looked_at, findings)


def _flat(differences: list[Any]) -> Iterator[tuple[Any, ...]]:
    """Alembic tells changes of one column as a list in the list."""
    for difference in differences:
        yield from difference if isinstance(difference, list) else [difference]


def _finding(difference: tuple[Any, ...]) -> Finding:
    """What is missing is wrong; what an operator, or a newer release, has added is not."""
    verb, _, kind = difference[0].replace("fk", "foreign key").partition("_")
    if verb == "modify":
        _, _, table, column, _, there, wanted = difference
        return Finding(f"{kind} of {table}.{column} is {there}, not {wanted}")
    what = difference[-1]
    name = getattr(what, "name", what)
    if kind == "column":
        name = f"{difference[2]}.{name}"
    if verb == "add":
        return Finding(f"{kind} {name} is missing")
    return Finding(f"{kind} {name} is none of porch's", Level.WARNING)
