"""Tokens are found by the hash of their hash: over a broker they are only proved."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index; there are few tokens."""
    op.execute("CREATE UNIQUE INDEX token_name ON porch.token (sha256(digest))")
