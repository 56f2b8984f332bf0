"""What the parts of the PostgreSQL ledger share: an engine, and how a transaction is run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, Row, select
from sqlalchemy.sql import Executable

from db.engine import BOUNDED
from db.translate import translated


def answers(engine: Engine) -> None:
    """Ask PostgreSQL for nothing. Raises LedgerAway."""
    with translated(), engine.connect() as connection:
        connection.execute(select(1))


class PostgresBase:
    """An engine and two ways to use it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._bounded = engine.execution_options(**{BOUNDED: True})
        self._joined = _Joined()

    @contextmanager
    def joined(self) -> Iterator[None]:
        """See ``coordinator.ledger``: what is called within is one transaction, and bounded."""
        with self._transaction() as connection:
            self._joined.connection = connection
            try:
                yield
            finally:
                self._joined.connection = None

    @contextmanager
    def _transaction(self, *, bounded: bool = True) -> Iterator[Connection]:
        """One transaction, committed at the end; errors are ours (see ``translated``).

        ``bounded``: it touches a number of rows that has nothing to do with how many there are.
        """
        if self._joined.connection is not None:
            yield self._joined.connection
            return
        engine = self._bounded if bounded else self.engine
        with translated(bounded=bounded), engine.begin() as connection:
            yield connection

    def _read(self, statement: Executable, **values: Any) -> list[Row[Any]]:
        """The rows of one statement that changes nothing."""
        with self._transaction(bounded=False) as connection:
            return list(connection.execute(statement, values))


class _Joined(threading.local):
    """The transaction that a thread has open for several methods."""

    connection: Connection | None = None
