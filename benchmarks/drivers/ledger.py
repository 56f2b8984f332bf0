"""A ledger with a pipeline to measure on, for those of our drivers that speak to PostgreSQL.

The database may be empty, or one that has been filled before.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any
from uuid import uuid4

import psycopg2
from load import definition
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.sql import Executable

from config.wiring import issue_admin_token, make_coordinator
from coordinator import access
from coordinator.identity import Identified, Limits, identify
from coordinator.requests import Caller
from db.migrate import upgrade

PIPELINE, VERSION, URI = "bench", "1.0", "https://example.org/bench"

#: As porch's own connections (``db.engine.BOUNDED``): without it, the plans made while a table is
#: young read all of it, and a limit would be none.
OPTIONS = "-c enable_seqscan=off"

#: Definitions of one statement, as the client sends them in one message.
BATCH = 1_000


class Ledger:
    """A migrated ledger with the pipeline and a token for it."""

    def __init__(self) -> None:
        self._url = os.environ["DATABASE_URL"]
        self.database_url = self._url.replace("postgresql:", "postgresql+psycopg2:", 1)
        upgrade(self.database_url)
        self.admin_token = issue_admin_token(self.database_url, "benchmark")
        self._porch = make_coordinator(self.database_url)
        ledger = self._porch.ledger
        if ledger.pipeline(PIPELINE) is None:
            self._porch.register_pipeline(
                Caller(self.admin_token, uuid4()), PIPELINE, uri=URI, version=VERSION
            )
        self.pipeline = ledger.pipeline(PIPELINE)
        self.pipeline_id = self.pipeline.pipeline_id
        self.token = access.new_secret()
        digest = access.digest(self.token)
        self.token_id = ledger.add_token(digest, self.pipeline, "benchmark").token_id

    def fill(self, tasks: int, seed: int) -> dict[str, Any]:
        """Make so many PENDING tasks."""
        for first in range(0, tasks, BATCH):
            some = [definition(seed, i) for i in range(first, min(first + BATCH, tasks))]
            self._porch.submit(Caller(self.token, uuid4()), some)
        return {"done": tasks}

    def kept(self, given: Sequence[dict[str, Any]]) -> int:
        """How many of the definitions PostgreSQL has, whatever it was that answered."""
        kept = 0
        with self.connected() as connection, connection.cursor() as cursor:
            for some in batches(identified(given)):
                cursor.execute(
                    "SELECT count(*) FROM porch.task"
                    " WHERE pipeline_id = %s AND task_input_id = ANY (%s)",
                    (self.pipeline_id, [one.key for one in some]),
                )
                kept += cursor.fetchone()[0]
        return kept

    @contextmanager
    def connected(self) -> Iterator[Any]:
        """A bare connection, each statement a transaction of its own."""
        with closing(psycopg2.connect(self._url, options=OPTIONS)) as connection:
            connection.autocommit = True
            yield connection


def identified(given: Sequence[dict[str, Any]]) -> list[Identified]:
    """Definitions with their keys."""
    limits = Limits()
    return [identify(one, limits) for one in given]


def batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Items as they go into one statement each."""
    for first in range(0, len(items), BATCH):
        yield items[first : first + BATCH]


def written(statement: Executable, literal: Callable[[str], str] | None = None) -> str:
    """The text of one of porch's statements, as psycopg2 takes it.

    ``literal``: what to write in the place of each value, instead of psycopg2's placeholders.
    """
    compiled = statement.compile(dialect=PGDialect_psycopg2())
    if literal is None:
        return str(compiled)
    return str(compiled) % {name: literal(name) for name in compiled.params}
