"""The ledger's method that lets time do its work, and its statements."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import text

from coordinator.model import Swept
from db.base import PostgresBase

#: Takes back tasks whose lease has run out: PENDING again, or FAILED where the pipeline allows no
#: further attempt. SKIP LOCKED: any number of sweepers pass each other, and one that a heartbeat
#: holds at this moment is left alone; PostgreSQL looks at the row again when it has the lock. The
#: policy of now is what counts: where there is no lease any more, it is struck off, and no more.
TAKE_BACK = text(
    """
    WITH due AS MATERIALIZED (
        SELECT t.task_id, t.status AS from_status, t.lease_until, p.max_attempts,
            CASE WHEN p.lease_seconds IS NULL THEN t.status
                WHEN t.attempt >= p.max_attempts THEN 'FAILED' ELSE 'PENDING' END AS to_status
        FROM porch.task t JOIN porch.pipeline p USING (pipeline_id)
        WHERE t.lease_until < now()
        ORDER BY t.lease_until
        LIMIT :most
        FOR NO KEY UPDATE OF t SKIP LOCKED
    ), moved AS (
        UPDATE porch.task t
        SET status = d.to_status, lease_until = NULL,
            updated_at = CASE WHEN d.to_status = d.from_status THEN t.updated_at ELSE now() END
        FROM due d
        WHERE t.task_id = d.task_id
        RETURNING t.task_id, t.attempt, t.status, d.from_status, d.lease_until, d.max_attempts
    ), noted AS (
        INSERT INTO porch.event (task_id, from_status, to_status, attempt, request_id, message)
        SELECT task_id, from_status, status, attempt, CAST(:request_id AS uuid),
            'lease ran out at '
                || to_char(lease_until AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC'
                || CASE status WHEN 'FAILED'
                    THEN ', in the last of ' || max_attempts || ' attempts' ELSE '' END
        FROM moved WHERE status <> from_status ORDER BY task_id
    )
    SELECT count(*) AS due, count(*) FILTER (WHERE status = 'PENDING') AS taken_back,
        count(*) FILTER (WHERE status = 'FAILED') AS failed
    FROM moved
    """
)

#: Makes failed tasks PENDING again whose backoff is over, as far as the policy of now allows.
RETRY = text(
    """
    WITH due AS MATERIALIZED (
        SELECT t.task_id, p.max_attempts,
            p.retry_seconds IS NOT NULL AND t.attempt < p.max_attempts AS allowed
        FROM porch.task t JOIN porch.pipeline p USING (pipeline_id)
        WHERE t.retry_at <= now()
        ORDER BY t.retry_at
        LIMIT :most
        FOR NO KEY UPDATE OF t SKIP LOCKED
    ), moved AS (
        UPDATE porch.task t
        SET status = CASE WHEN d.allowed THEN 'PENDING' ELSE t.status END, retry_at = NULL,
            updated_at = CASE WHEN d.allowed THEN now() ELSE t.updated_at END
        FROM due d
        WHERE t.task_id = d.task_id
        RETURNING t.task_id, t.attempt, d.max_attempts, d.allowed
    ), noted AS (
        INSERT INTO porch.event (task_id, from_status, to_status, attempt, request_id, message)
        SELECT task_id, 'FAILED', 'PENDING', attempt, CAST(:request_id AS uuid),
            'tried again: attempt ' || attempt + 1 || ' of ' || max_attempts
        FROM moved WHERE allowed ORDER BY task_id
    )
    SELECT count(*) AS due, count(*) FILTER (WHERE allowed) AS retried FROM moved
    """
)


class SweepingLedger(PostgresBase):
    """Sweep: see ``coordinator.ledger`` for what it promises."""

    def sweep(self, request_id: UUID, most: int) -> Swept:
        values: dict[str, Any] = {"request_id": str(request_id), "most": most}
        with self._transaction() as connection:
            taken = connection.execute(TAKE_BACK, values).one()
        with self._transaction() as connection:
            again = connection.execute(RETRY, values).one()
        more = most in (taken.due, again.due)
        return Swept(taken.taken_back, taken.failed, again.retried, more)
