"""What PostgreSQL allows: porch's own statement from a bare loop; ``copy``: COPY without an index.

Keys and texts are prepared beforehand, and nothing is done with what comes back.
"""

from __future__ import annotations

import io
import os
import sys
import time
from typing import Any
from uuid import uuid4

sys.path.insert(0, os.environ["BENCH_PATH"])

import psycopg2
from drivers.ledger import VERSION, Ledger, batches, identified, written
from load import definitions as made
from load import known as known_of
from load import serve

from coordinator.model import Origin, Registration
from db.arrivals import SUBMIT, Batch

LEDGER = Ledger()


def bulk(definitions: int, known: float, seed: int) -> dict[str, Any]:
    """SUBMIT, a thousand definitions a statement, one after the other over one connection."""
    given = made(seed, definitions)
    prepared = [_values(some) for some in batches(identified(given))]
    beforehand = [_values(some) for some in batches(identified(known_of(given, known)))]
    text = written(SUBMIT.statement)
    new = 0
    with LEDGER.connected() as connection, connection.cursor() as cursor:
        for values in beforehand:
            cursor.execute(text, values)
        began = time.perf_counter()
        for values in prepared:
            cursor.execute(text, values)
            new += len(cursor.fetchall())
        seconds = time.perf_counter() - began
    return {"seconds": seconds, "done": definitions, "new": new, "kept": LEDGER.kept(given)}


def _values(some: Any) -> dict[str, Any]:
    origin = Origin(LEDGER.token_id, uuid4(), "bench")
    return SUBMIT.given(Batch([Registration(LEDGER.pipeline, VERSION, some, 0, origin)]).values())


def copy(definitions: int, known: float, seed: int) -> dict[str, Any]:
    """COPY keys and texts into a table without an index, in one transaction; ``known`` or not."""
    del known
    rows = "".join(
        f"\\\\x{one.key.hex()}\t{one.text}\n" for one in identified(made(seed, definitions))
    )
    with LEDGER.connected() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS bare (task_input_id bytea, task_input json)")
        cursor.execute("TRUNCATE bare")
        text = io.StringIO(rows)
        began = time.perf_counter()
        cursor.copy_expert("COPY bare FROM STDIN", text)
        seconds = time.perf_counter() - began
        return {"seconds": seconds, "done": cursor.rowcount}


if __name__ == "__main__":
    serve({"bulk": copy if sys.argv[1:] == ["copy"] else bulk}, "sql", psycopg2.__version__)
