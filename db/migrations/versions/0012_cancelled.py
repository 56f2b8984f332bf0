"""CANCELLED tasks in the order in which they are pruned, as task_finished and task_failed are."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_STATEMENTS = [
    "SET statement_timeout = 0",
    # Of a build that was broken off; it waits for the end of one that goes on without its client.
    "DROP INDEX CONCURRENTLY IF EXISTS porch.task_cancelled",
    """
    CREATE INDEX CONCURRENTLY task_cancelled ON porch.task (pipeline_id, updated_at, task_id)
        WHERE status = 'CANCELLED'
    """,
    "RESET statement_timeout",
]


def upgrade() -> None:
    """Build the index while others claim; what was left of an earlier try is built anew."""
    with op.get_context().autocommit_block():
        for statement in _STATEMENTS:
            op.execute(statement)
