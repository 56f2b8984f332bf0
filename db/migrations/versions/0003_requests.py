"""Which request added a pipeline or version, so that one that comes again is told the same."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns: empty for what is there already."""
    for table in ("pipeline", "version"):
        op.execute(f"ALTER TABLE porch.{table} ADD COLUMN request_id uuid")
