"""How far each outlet of the feed of status messages has come."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_STATEMENTS = [
    """
    CREATE TABLE porch.feed_position (
        name text NOT NULL,
        event_id bigint NOT NULL,
        moved_at timestamptz NOT NULL DEFAULT now(),
        failing_since timestamptz,
        said text,
        CONSTRAINT feed_position_pkey PRIMARY KEY (name)
    )
    """,
]


def upgrade() -> None:
    """Add the table, empty: what has been is not told anew."""
    for statement in _STATEMENTS:
        op.execute(statement)
