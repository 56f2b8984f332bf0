"""What PostgreSQL is asked when porch is scraped, beside the counts of the overview."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Engine, text

from db import glances
from db.translate import translated

#: Of each pipeline and status, so many of the tasks that were registered first are looked at.
LOOKED_AT = 200


@dataclass(frozen=True, slots=True)
class Ages:
    """By pipeline, in seconds, where there is such a task; and the bytes of the database.

    ``pending``: how long the oldest PENDING task has been so. ``silent``: for how long nothing was
    heard of the task, of those that somebody holds, of which nothing was heard longest.
    """

    pending: Mapping[str, float]
    silent: Mapping[str, float]
    database_bytes: int


def _oldest(status: str) -> str:
    """Walks the index of what is not DONE, from the task registered first: see ``glances``."""
    return f"""(
        SELECT CAST(extract(epoch FROM now() - min(t.updated_at)) AS double precision)
        FROM (
            SELECT updated_at FROM porch.task
            WHERE (pipeline_id, status, task_id) > (p.pipeline_id, '{status}', 0)
                AND (pipeline_id, status) <= (p.pipeline_id, '{status}') AND status <> 'DONE'
            ORDER BY pipeline_id, status, task_id LIMIT {LOOKED_AT}
        ) t)"""  # noqa: S608 (put together of constants)


#: A task that is run again has waited since then, however long ago it was registered. What waits
#: longest is among those registered first: what was run again, or heard of, is only the younger
#: for it. So the answer is exact for so many tasks, and seldom too small for more.
AGES = text(
    f"""
    SELECT p.name, {_oldest("PENDING")} AS pending,
        greatest({_oldest("CLAIMED")}, {_oldest("RUNNING")}) AS silent
    FROM porch.pipeline p ORDER BY p.name
    """  # noqa: S608
)

SIZE = text("SELECT pg_database_size(current_database())")


def ages(engine: Engine) -> Ages:
    """What there is to tell, in milliseconds, however many tasks there are.

    Raises LedgerAway, TooSlow.
    """
    with translated(), engine.begin() as connection:
        connection.exec_driver_sql(glances.SETTINGS)
        rows = connection.execute(AGES).all()
        size = connection.execute(SIZE).scalar_one()
    return Ages(
        {row.name: max(0.0, row.pending) for row in rows if row.pending is not None},
        {row.name: max(0.0, row.silent) for row in rows if row.silent is not None},
        size,
    )
