"""The Merkle log: each head carries the frontier of its tree; tiles of leaf hashes; the index that searches read."""

import sqlalchemy as sa
from alembic import op

from aegis.adapters.migrations.frontiers import frontiers
from aegis.adapters.migrations.tenancy import guard

revision = "r0004"
down_revision = "r0003"
branch_labels = None
depends_on = None

_Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Add what proves the journal and what finds events in it; what was recorded before is taken into the tree."""
    op.add_column("head", sa.Column("frontier", sa.LargeBinary, nullable=False, server_default=sa.text("''")))
    op.add_column("head", sa.Column("first", sa.BigInteger, nullable=False, server_default=sa.text("0")))
    op.create_table(
        "tile",
        sa.Column("tenant", _Text, nullable=False),
        sa.Column("level", sa.BigInteger, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("hashes", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "level", "number"),
    )
    op.create_table(
        "posting",
        sa.Column("tenant", _Text, nullable=False),
        sa.Column("field", _Text, nullable=False),
        sa.Column("value", _Text, nullable=False),
        sa.Column("block", sa.BigInteger, nullable=False),
        sa.Column("places", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "field", "value", "block"),
        sqlite_with_rowid=False,
    )
    frontiers(op.get_bind())
    guard(("tile", "posting"))
