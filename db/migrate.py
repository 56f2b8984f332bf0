"""Bringing a database to the schema that this release needs."""

from __future__ import annotations

from importlib.resources import as_file, files

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from db.engine import make_engine
from db.roles import grant
from db.translate import translated

# Any number that nothing else locks: it makes migrations started at once queue behind each other.
_LOCK = 0x706F726368


def upgrade(database_url: str) -> None:
    """Migrate to the newest schema; nothing happens if it is there already.

    Where the server has porch's roles, they have their rights afterwards (see ``db.roles``). Safe
    when several processes start it at once. Raises LedgerAway if PostgreSQL cannot be reached.
    """
    engine = make_engine(database_url)
    with as_file(files("db") / "migrations") as scripts, translated(), engine.begin() as connection:
        connection.execute(text("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        config = Config()
        config.set_main_option("script_location", str(scripts).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        grant(connection)
    engine.dispose()
