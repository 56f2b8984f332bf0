"""How long inputs and histories of finished tasks are kept, and what has been pruned.

The tables that grow are changed by 0010 to 0012: each such table in a transaction of its own, and
what takes long without a lock that anybody waits for.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_STATEMENTS = [
    # Who claims waits behind this one; where it gets no lock, it is tried again.
    "SET LOCAL lock_timeout = '2s'",
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
    """Add the columns, empty for what is there already, and the table."""
    for statement in _STATEMENTS:
        op.execute(statement)
