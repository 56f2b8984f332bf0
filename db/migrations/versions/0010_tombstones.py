"""Tasks may lose their input and their history, and be given their input back."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_STATEMENTS = [
    # Who claims waits behind this one; where it gets no lock, it is tried again.
    "SET LOCAL lock_timeout = '2s'",
    # Not valid: to look at every task would keep all others out for as long. 0011 looks.
    """
    ALTER TABLE porch.task
        ALTER COLUMN task_input DROP NOT NULL,
        ADD COLUMN pruned_at timestamptz,
        ADD COLUMN restored_at timestamptz,
        ADD COLUMN pruned_events integer,
        ADD CONSTRAINT task_pruned_check
            CHECK (pruned_at IS NULL OR status IN ('DONE', 'FAILED', 'CANCELLED')) NOT VALID,
        ADD CONSTRAINT task_pruned_input_check
            CHECK ((task_input IS NULL) = (pruned_at IS NOT NULL)) NOT VALID,
        ADD CONSTRAINT task_pruned_events_check CHECK (pruned_events >= 0) NOT VALID
    """,
]


def upgrade() -> None:
    """Add the columns, empty for what is there already: no task is read, or written."""
    for statement in _STATEMENTS:
        op.execute(statement)
