"""Tokens that expire, are rotated, and tell when they were used last; what administrators did."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_STATEMENTS = [
    """
    ALTER TABLE porch.token
        ADD COLUMN expires_at timestamptz,
        ADD COLUMN used_at timestamptz,
        ADD COLUMN replaced_by bigint CONSTRAINT token_replaced_fkey REFERENCES porch.token
    """,
    """
    CREATE TABLE porch.admin_event (
        admin_event_id bigint GENERATED ALWAYS AS IDENTITY,
        at timestamptz NOT NULL DEFAULT clock_timestamp(),
        action text NOT NULL,
        token_id bigint,
        request_id uuid NOT NULL,
        host text,
        pipeline_id bigint,
        subject_id bigint,
        detail jsonb NOT NULL,
        CONSTRAINT admin_event_pkey PRIMARY KEY (admin_event_id),
        CONSTRAINT admin_event_once_key UNIQUE (request_id, action),
        CONSTRAINT admin_event_token_fkey FOREIGN KEY (token_id) REFERENCES porch.token,
        CONSTRAINT admin_event_subject_fkey FOREIGN KEY (subject_id) REFERENCES porch.token,
        CONSTRAINT admin_event_pipeline_fkey FOREIGN KEY (pipeline_id) REFERENCES porch.pipeline,
        CONSTRAINT admin_event_action_check CHECK (action IN ('register', 'add_version',
            'set_policy', 'issue_token', 'revoke_token', 'rotate_token'))
    )
    """,
]


def upgrade() -> None:
    """Add the columns, empty for what is there already, and the table."""
    for statement in _STATEMENTS:
        op.execute(statement)
