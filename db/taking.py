"""The ledger's method that claims one task by its number, and its statement."""

from __future__ import annotations

from typing import Any

from coordinator.errors import InternalError
from coordinator.model import Origin, Outcome, Pipeline
from coordinator.status import Status
from db.base import PostgresBase
from db.prepared import Prepared

#: Hands out one task that is PENDING when its row is locked, whatever it was when the statement
#: began: of many at once, the first is handed it and the others see what it has become. As in
#: CLAIM, the pipeline is locked before the task, and the claim's row is what keeps one request_id
#: from claiming twice. Claimed and started in one step, it has both events, in their order.
TAKE = Prepared(
    "porch_take",
    """
    WITH target AS MATERIALIZED (
        SELECT pipeline_id, lease_seconds FROM porch.pipeline
        WHERE pipeline_id = :pipeline_id FOR KEY SHARE
    ), locked AS MATERIALIZED (
        SELECT t.task_id, t.pipeline_id, t.status, t.attempt, target.lease_seconds
        FROM porch.task t JOIN target USING (pipeline_id)
        WHERE t.task_id = :task_id
        FOR NO KEY UPDATE OF t
    ), asked AS MATERIALIZED (
        INSERT INTO porch.claim (pipeline_id, request_id)
        SELECT pipeline_id, CAST(:request_id AS uuid) FROM locked WHERE status = 'PENDING'
        ON CONFLICT ON CONSTRAINT claim_pkey DO NOTHING
        RETURNING request_id
    ), taken AS (
        UPDATE porch.task t
        SET status = CAST(:to AS text), attempt = t.attempt + 1, updated_at = now(),
            lease_until = now() + make_interval(secs => l.lease_seconds), job_id = NULL
        FROM locked l, asked
        WHERE t.task_id = l.task_id
        RETURNING t.task_id, t.status, t.attempt
    ), noted AS (
        INSERT INTO porch.event
            (task_id, from_status, to_status, attempt, token_id, request_id, host)
        SELECT taken.task_id, step.from_status, step.to_status, taken.attempt,
            CAST(:token_id AS bigint), CAST(:request_id AS uuid), CAST(:host AS text)
        FROM taken CROSS JOIN (VALUES (1, 'PENDING', 'CLAIMED'), (2, 'CLAIMED', 'RUNNING'))
            AS step (n, from_status, to_status)
        WHERE step.n = 1 OR taken.status = 'RUNNING'
        ORDER BY step.n
    )
    SELECT COALESCE(taken.status, l.status) AS status,
        COALESCE(taken.attempt, l.attempt) AS attempt,
        CASE WHEN taken.task_id IS NOT NULL THEN l.lease_seconds END AS lease,
        taken.task_id IS NOT NULL AS changed,
        EXISTS (
            SELECT FROM porch.event e
            WHERE e.task_id = l.task_id AND e.request_id = CAST(:request_id AS uuid)
                AND e.to_status = :to AND NOT e.refused
        ) AS repeated
    FROM locked l LEFT JOIN taken USING (task_id)
    """,
)


class TakingLedger(PostgresBase):
    """Take: see ``coordinator.ledger`` for what it promises."""

    def take(self, pipeline: Pipeline, task_id: int, to: Status, origin: Origin) -> Outcome:
        values: dict[str, Any] = {
            "pipeline_id": pipeline.pipeline_id,
            "task_id": task_id,
            "to": to.value,
            "token_id": origin.token_id,
            "request_id": str(origin.request_id),
            "host": origin.host,
        }
        with self._transaction() as connection:
            row = TAKE.execute(connection, values).first()
        if row is None:
            raise InternalError(f"task {task_id} is gone: was the database restored?")
        return Outcome(Status(row.status), row.attempt, row.changed, row.repeated, row.lease)
