"""How long inputs and histories of finished tasks are kept, and what has been pruned."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_STATEMENTS = [
    # A day at least: messages that come again look for the events of what they did.
    """
    ALTER TABLE porch.pipeline
        ADD COLUMN keep_done_seconds integer
            CONSTRAINT pipeline_keep_done_check CHECK (keep_done_seconds >= 86400),
        ADD COLUMN keep_failed_seconds integer
            CONSTRAINT pipeline_keep_failed_check CHECK (keep_failed_seconds >= 86400),
        ADD COLUMN keep_cancelled_seconds integer
            CONSTRAINT pipeline_keep_cancelled_check CHECK (keep_cancelled_seconds >= 86400)
    """,
    """
    ALTER TABLE porch.task
        ALTER COLUMN task_input DROP NOT NULL,
        ADD COLUMN pruned_at timestamptz,
        ADD COLUMN pruned_events integer,
        ADD CONSTRAINT task_pruned_check
            CHECK (pruned_at IS NULL OR status IN ('DONE', 'FAILED', 'CANCELLED')),
        ADD CONSTRAINT task_pruned_input_check
            CHECK ((task_input IS NULL) = (pruned_at IS NOT NULL)),
        ADD CONSTRAINT task_pruned_events_check CHECK (pruned_events >= 0)
    """,
    # As task_finished and task_failed are: what is pruned is walked from the oldest on.
    """
    CREATE INDEX task_cancelled ON porch.task (pipeline_id, updated_at, task_id)
        WHERE status = 'CANCELLED'
    """,
    """
    CREATE TABLE porch.pruning (
        pipeline_id bigint NOT NULL,
        status text NOT NULL,
        pruned_to timestamptz,
        tasks bigint NOT NULL,
        events bigint NOT NULL,
        CONSTRAINT pruning_pkey PRIMARY KEY (pipeline_id, status),
        CONSTRAINT pruning_pipeline_fkey FOREIGN KEY (pipeline_id) REFERENCES porch.pipeline,
        CONSTRAINT pruning_status_check CHECK (status IN ('DONE', 'FAILED', 'CANCELLED'))
    )
    """,
]


def upgrade() -> None:
    """Add the columns, empty for what is there already, an index of few rows, and the table."""
    for statement in _STATEMENTS:
        op.execute(statement)
