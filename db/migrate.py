"""Bringing a database to the schema that this release needs."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files

from alembic import command
from alembic.config import Config
from psycopg2 import errorcodes
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError, PendingRollbackError

from db.engine import make_engine
from db.roles import grant
from db.translate import translated

logger = logging.getLogger("porch")

# Any number that nothing else locks: it makes migrations started at once queue behind each other.
_LOCK = 0x706F726368
#: Seconds until a lock that somebody else holds is asked for again.
_PAUSE = 0.25
#: The same, where those who claim have queued up behind the asking, and are to have their turn.
_TURN = 2.0


def upgrade(database_url: str) -> None:
    """Migrate to the newest schema; nothing happens if it is there already.

    Each migration is a transaction, so that none keeps the locks of another; what was broken off is
    gone on with. Where the server has porch's roles, they have their rights afterwards (see
    ``db.roles``). Safe when several processes start it at once. Raises LedgerAway if PostgreSQL
    cannot be reached.
    """
    engine = make_engine(database_url, limited=False)
    try:
        with as_file(files("db") / "migrations") as scripts, translated(), _alone(engine):
            config = Config()
            config.set_main_option("script_location", str(scripts).replace("%", "%%"))
            while not _upgraded(engine, config):
                logger.warning("the migration waits for a lock that a long transaction holds")
                time.sleep(_TURN)
            with engine.begin() as connection:
                grant(connection)
    finally:
        engine.dispose()


def _upgraded(engine: Engine, config: Config) -> bool:
    """Whether all went through: False where a migration asked for a lock for long enough."""
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except PendingRollbackError as masked:
            # Alembic ends what it runs without a transaction by a commit, also on a connection that
            # was lost: that is the error before this one.
            raise masked.__context__ or masked from None
        except OperationalError as error:
            if getattr(error.orig, "pgcode", None) != errorcodes.LOCK_NOT_AVAILABLE:
                raise
            return False
    return True


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    """Holds the lock of all migrations, in a transaction of its own: it works through PgBouncer.

    Nobody waits for it inside of a statement, and whoever holds it has no snapshot: an index that
    is built concurrently waits for the end of everybody who has one.
    """
    with engine.connect() as connection:
        connection.execution_options(isolation_level="READ COMMITTED")
        while not connection.execute(
            text("SELECT pg_try_advisory_xact_lock(:lock)"), {"lock": _LOCK}
        ).scalar():
            connection.rollback()
            time.sleep(_PAUSE)
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        yield
