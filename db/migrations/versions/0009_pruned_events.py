"""Up to which event something has been pruned: who reads the feed on from before is told."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column, empty where nothing has been pruned since."""
    op.execute("ALTER TABLE porch.pruning ADD COLUMN event_id bigint")
