"""The large tables without their indexes for a while, which are then made as they were."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, text

#: Kept while rows come in: they come in the order of these, and foreign keys hang on one.
_KEPT = ("task_pkey", "event_pkey")
#: An index whose keys come in no order is never as full as one that has just been built: its pages
#: have been split, and are between half and quite full.
_SPLIT = ("task_once_key", "event_once_key", "event_of_claim", "claim_pkey")
_SPLIT_FILL = 70

_SHAPE = text(
    """
    SELECT 'index' AS kind, c.relname AS name, concat_ws(' ', pg_get_indexdef(c.oid), c.reloptions,
            i.indisvalid, i.indisunique, i.indisprimary, i.indimmediate) AS definition
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE c.relnamespace = CAST('porch' AS regnamespace)
    UNION ALL
    SELECT 'constraint', conname, concat_ws(' ', pg_get_constraintdef(oid), convalidated)
    FROM pg_constraint WHERE connamespace = CAST('porch' AS regnamespace)
    UNION ALL
    SELECT 'table', relname, concat_ws(' ', relpersistence, reloptions) FROM pg_class
    WHERE relnamespace = CAST('porch' AS regnamespace) AND relkind = 'r'
    """
)

_INDEXES = text(
    """
    SELECT c.relname AS name, CAST(CAST(i.indrelid AS regclass) AS text) AS table,
        pg_get_indexdef(c.oid) AS definition, k.contype AS constrained
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
        LEFT JOIN pg_constraint k ON k.conindid = c.oid AND k.contype IN ('u', 'p')
    WHERE i.indrelid IN (CAST('porch.task' AS regclass), CAST('porch.event' AS regclass),
            CAST('porch.claim' AS regclass))
        AND c.relname <> ALL (:kept)
    ORDER BY pg_relation_size(i.indrelid) DESC, c.relname
    """
)


@contextmanager
def unindexed(
    connection: Connection, engine: Engine, progress: Callable[[str], None]
) -> Iterator[None]:
    """Without the indexes that cost more than they help while all is written."""
    indexes = connection.execute(_INDEXES, {"kept": list(_KEPT)}).all()
    for index in indexes:
        if index.constrained:
            connection.execute(text(f"ALTER TABLE {index.table} DROP CONSTRAINT {index.name}"))
        else:
            connection.execute(text(f"DROP INDEX porch.{index.name}"))
    yield

    for index in indexes:
        _build(engine, index)
        progress(f"index {index.name}")


def _build(engine: Engine, index: Any) -> None:
    """Make an index, and a constraint of it if it was one, as full as use would have made it."""
    definition = index.definition
    split = index.name in _SPLIT and "WITH (" not in definition
    if split:
        columns, where, condition = definition.partition(" WHERE ")
        definition = f"{columns} WITH (fillfactor = {_SPLIT_FILL}){where}{condition}"
    with engine.connect() as connection:
        connection.execute(text("SET maintenance_work_mem = '1GB'"))
        connection.execute(text(definition))
        if index.constrained:
            kind = {"u": "UNIQUE", "p": "PRIMARY KEY"}[index.constrained]
            added = f"ADD CONSTRAINT {index.name} {kind} USING INDEX {index.name}"
            connection.execute(text(f"ALTER TABLE {index.table} {added}"))
        if split:
            connection.execute(text(f"ALTER INDEX porch.{index.name} RESET (fillfactor)"))


def shape(connection: Connection) -> set[tuple[str, str, str]]:
    """Every index, constraint and table of porch, and how it is made."""
    return {(row.kind, row.name, row.definition) for row in connection.execute(_SHAPE)}
