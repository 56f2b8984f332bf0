"""What administrators did: noted with what they did, in the same transaction, and read back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select, text
from sqlalchemy.dialects import postgresql

from coordinator.model import Origin
from coordinator.views import AdminAction, AdminEvent
from db import schema
from db.base import PostgresBase

#: Policies that were set to what they were are noted for when the request comes again, and are no
#: event.
ADMIN_EVENTS = text(
    """
    SELECT e.admin_event_id, e.at, e.action, e.token_id, k.description AS token, e.host,
        p.name AS pipeline, e.subject_id, e.detail
    FROM porch.admin_event e
        LEFT JOIN porch.token k USING (token_id)
        LEFT JOIN porch.pipeline p ON p.pipeline_id = e.pipeline_id
    WHERE e.admin_event_id > :after AND (e.action <> 'set_policy' OR e.detail <> '{}')
    ORDER BY e.admin_event_id
    LIMIT :limit
    """
)


def note(
    connection: Connection,
    action: AdminAction,
    origin: Origin,
    detail: Mapping[str, Any],
    *,
    pipeline_id: int | None = None,
    subject_id: int | None = None,
) -> None:
    """Note what is being done; nothing if the same request has noted it before."""
    adding = (
        postgresql.insert(schema.admin_event)
        .values(
            action=action,
            token_id=origin.token_id or None,
            request_id=origin.request_id,
            host=origin.host,
            pipeline_id=pipeline_id,
            subject_id=subject_id,
            detail=dict(detail),
        )
        .on_conflict_do_nothing(constraint="admin_event_once_key")
    )
    connection.execute(adding)


def is_noted(connection: Connection, action: AdminAction, origin: Origin) -> bool:
    """Whether the same request has noted it before."""
    e = schema.admin_event.c
    noted = select(e.admin_event_id).where(e.request_id == origin.request_id, e.action == action)
    return connection.execute(noted).first() is not None


class AdminEventLedger(PostgresBase):
    """The events of administration: see ``coordinator.ledger``."""

    def admin_events(self, after: int, limit: int) -> list[AdminEvent]:
        rows = self._read(ADMIN_EVENTS, after=after, limit=limit)
        return [AdminEvent(**row._mapping) for row in rows]
