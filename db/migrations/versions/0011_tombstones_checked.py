"""The constraints of 0010 hold for the tasks of before as well."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Look at every task, under a lock that keeps nobody from claiming."""
    op.execute("SET LOCAL statement_timeout = 0")
    for name in ("task_pruned_check", "task_pruned_input_check", "task_pruned_events_check"):
        op.execute(f"ALTER TABLE porch.task VALIDATE CONSTRAINT {name}")
