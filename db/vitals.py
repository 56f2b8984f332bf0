"""What of a database can be seen in a moment: whether it takes more, and how its pipelines stand.

Each question reads some thousand rows at most, by an index, however many there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from psycopg2 import errorcodes
from sqlalchemy import Engine, Row, text
from sqlalchemy.exc import DBAPIError

from coordinator.commands import command
from coordinator.health import Check, Finding, Level
from db.engine import BOUNDED
from db.glances import SETTINGS
from db.translate import translated

#: Seconds without a sign of life after which held work is told, and PENDING work that nobody takes.
SILENT = 3600
#: FAILED within an hour, and no fewer than were DONE.
_MANY_FAILED = 10
#: Tasks of a pipeline that are counted; what more there are does not matter.
_MOST = 2_000

#: A table that is never committed: what it would take to keep a mebibyte more, tried for real.
_ROOM = text(
    """
    SET LOCAL temp_tablespaces = '';
    CREATE TEMPORARY TABLE porch_room ON COMMIT DROP AS
        SELECT repeat('porch', 384) AS filler FROM generate_series(1, 512)
    """
)

#: Where its data are, if this user may know.
_WHERE = text("SELECT setting FROM pg_settings WHERE name = 'data_directory'")

_OWNER = text(
    """
    SELECT k.token_id, k.description, p.name AS pipeline
    FROM porch.token k LEFT JOIN porch.pipeline p USING (pipeline_id)
    WHERE sha256(k.digest) = :name
    """
)

_SETTINGS = text(SETTINGS)

#: Each pipeline: what waits, what is held, and what ended lately; see ``glances`` for why it is
#: written so. The oldest of what waits is the first that
#: was registered: what was re-run since counts from then.
_PIPELINES = text(
    """
    SELECT p.name, pending.n AS pending, held.n AS held, late.failed, late.done,
        extract(epoch FROM now() - pending.since) AS waited,
        extract(epoch FROM now() - held.heard) AS unheard,
        extract(epoch FROM now() - greatest(held.heard, ended.at, failed.at)) AS still
    FROM porch.pipeline p
    CROSS JOIN LATERAL (
        SELECT count(*) AS n, (array_agg(updated_at ORDER BY task_id))[1] AS since FROM (
            SELECT task_id, updated_at FROM porch.task t
            WHERE t.pipeline_id = p.pipeline_id AND t.status = 'PENDING'
            ORDER BY t.pipeline_id, t.status, t.task_id LIMIT :most) w) pending
    CROSS JOIN LATERAL (
        SELECT count(*) AS n, max(updated_at) AS heard FROM (
            SELECT updated_at FROM porch.task t
            WHERE t.pipeline_id = p.pipeline_id AND t.status IN ('CLAIMED', 'RUNNING')
            LIMIT :most) h) held
    LEFT JOIN LATERAL (
        SELECT updated_at AS at FROM porch.task t
        WHERE (t.pipeline_id, t.updated_at, t.task_id)
                < (p.pipeline_id, CAST('infinity' AS timestamptz), 9223372036854775807)
            AND t.pipeline_id >= p.pipeline_id AND t.status = 'DONE'
        ORDER BY t.pipeline_id DESC, t.updated_at DESC, t.task_id DESC LIMIT 1) ended ON true
    LEFT JOIN LATERAL (
        SELECT updated_at AS at FROM porch.task t
        WHERE (t.pipeline_id, t.updated_at, t.task_id)
                < (p.pipeline_id, CAST('infinity' AS timestamptz), 9223372036854775807)
            AND t.pipeline_id >= p.pipeline_id AND t.status = 'FAILED'
        ORDER BY t.pipeline_id DESC, t.updated_at DESC, t.task_id DESC LIMIT 1) failed ON true
    CROSS JOIN LATERAL (
        SELECT
            (SELECT count(*) FROM (SELECT FROM porch.task t WHERE t.pipeline_id = p.pipeline_id
                AND t.status = 'FAILED' AND t.updated_at > now() - interval '1 hour'
                LIMIT :most) f) AS failed,
            (SELECT count(*) FROM (SELECT FROM porch.task t WHERE t.pipeline_id = p.pipeline_id
                AND t.status = 'DONE' AND t.updated_at > now() - interval '1 hour'
                LIMIT :most) d) AS done) late
    ORDER BY still DESC NULLS LAST, p.name
    """
)


def room(engine: Engine) -> tuple[str | None, str | None]:
    """What keeps PostgreSQL from keeping more, in its words, if anything does; and where its data
    are, if it may be known. Nothing is left behind. Raises LedgerAway."""
    try:
        with engine.connect() as connection:
            where = connection.execute(_WHERE).scalar()
            connection.execute(_ROOM)
            connection.rollback()
    except DBAPIError as error:
        state = getattr(error.orig, "pgcode", None)
        if state == errorcodes.DISK_FULL:
            return str(error.orig).splitlines()[0], None
        if state in (errorcodes.INSUFFICIENT_PRIVILEGE, errorcodes.READ_ONLY_SQL_TRANSACTION):
            return None, where
        with translated():
            raise
    return None, where


def owner(engine: Engine, name: bytes) -> Row[Any] | None:
    """``token_id``, ``pipeline`` and ``description`` of a token by its name, see ``proofs``.

    None if there is none, or this role may not ask. Raises LedgerAway.
    """
    try:
        with engine.connect() as connection:
            return connection.execute(_OWNER, {"name": name}).one_or_none()
    except DBAPIError as error:
        if getattr(error.orig, "pgcode", None) == errorcodes.INSUFFICIENT_PRIVILEGE:
            return None
        with translated():
            raise


def pipelines(engine: Engine) -> Check:
    """How each pipeline stands: what waits and nobody takes, what is held and silent, what fails.

    Raises LedgerAway, or TooSlow.
    """
    bounded = engine.execution_options(**{BOUNDED: True})
    with translated(), bounded.connect() as connection:
        connection.execute(_SETTINGS)
        rows = list(connection.execute(_PIPELINES, {"most": _MOST}))
    looked_at = {
        "pipelines": len(rows),
        "PENDING": sum(row.pending for row in rows),
        "held": sum(row.held for row in rows),
        "FAILED in the last hour": sum(row.failed for row in rows),
    }
    return Check.of("pipelines", looked_at, [one for row in rows for one in _findings(row)])


def _findings(row: Row[Any]) -> Iterator[Finding]:
    name, listed = row.name, command("porch", "list", "--pipeline", row.name)
    if row.held and not row.pending and row.unheard > SILENT:
        yield Finding(
            f"{name}: all claimed and silent: nothing is PENDING, {_number(row.held)} are held, "
            f"and of none has anything been heard for {_age(row.unheard)}",
            Level.WARNING,
            f"{listed} --stale 1h, then porch release what nobody runs",
            "claimed-and-silent",
        )
    still = row.waited if row.still is None else min(row.waited or 0.0, row.still)
    if row.pending and still > SILENT:
        yield Finding(
            f"{name}: nobody claims: {_number(row.pending)} are PENDING, the oldest for "
            f"{_age(row.waited)}, and nothing has been claimed or reported for {_age(still)}",
            Level.WARNING,
            "is its batch script (porch drain, porch claim) running? with a token that is good?",
            "oldest-pending",
        )
    if row.failed >= max(_MANY_FAILED, row.done):
        yield Finding(
            f"{name}: failures are rising: {_number(row.failed)} FAILED within an hour, "
            f"{_number(row.done)} DONE",
            Level.WARNING,
            f"{listed} --status FAILED --since 1h",
            "failures-rising",
        )


def _number(counted: int) -> str:
    return f"{counted:,}" if counted < _MOST else f"{counted:,} or more"


def _age(seconds: float) -> str:
    minutes = int(seconds) // 60
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"
