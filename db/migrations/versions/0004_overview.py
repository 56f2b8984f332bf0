"""Indexes for what operators look at: finished work, failures, and what happened when."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_STATEMENTS = [
    "CREATE INDEX task_done ON porch.task (pipeline_id, task_id) WHERE status = 'DONE'",
    """
    CREATE INDEX task_finished ON porch.task (pipeline_id, updated_at, task_id)
        WHERE status = 'DONE'
    """,
    """
    CREATE INDEX task_failed ON porch.task (pipeline_id, updated_at, task_id)
        WHERE status = 'FAILED'
    """,
    """
    CREATE INDEX event_throughput ON porch.event (at)
        WHERE (from_status IS NULL OR to_status IN ('DONE', 'FAILED')) AND NOT refused
    """,
]


def upgrade() -> None:
    """Make the indexes."""
    for statement in _STATEMENTS:
        op.execute(statement)
