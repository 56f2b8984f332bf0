"""Leases that run out, retries, jobs of schedulers, and reports that came too late."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_STATEMENTS = [
    """
    ALTER TABLE porch.pipeline
        ADD COLUMN retry_seconds integer
            CONSTRAINT pipeline_retry_check CHECK (retry_seconds > 0),
        ADD CONSTRAINT pipeline_retry_limit_check
            CHECK (retry_seconds IS NULL OR max_attempts IS NOT NULL)
    """,
    """
    ALTER TABLE porch.task
        ADD COLUMN job_id text,
        ADD COLUMN retry_at timestamptz,
        ADD CONSTRAINT task_retry_check CHECK (retry_at IS NULL OR status = 'FAILED')
    """,
    "CREATE INDEX task_lease ON porch.task (lease_until) WHERE lease_until IS NOT NULL",
    "CREATE INDEX task_retry ON porch.task (retry_at) WHERE retry_at IS NOT NULL",
    """
    ALTER TABLE porch.event
        ADD COLUMN job_id text,
        ADD COLUMN refused boolean NOT NULL DEFAULT false,
        DROP CONSTRAINT event_once_key,
        ADD CONSTRAINT event_once_key UNIQUE (task_id, request_id, to_status, refused)
    """,
]


def upgrade() -> None:
    """Add the columns, what must hold of them, and the indexes of the sweeper."""
    for statement in _STATEMENTS:
        op.execute(statement)
