"""What is remembered of past calls."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "r0002"
down_revision = "r0001"
branch_labels = None
depends_on = None

_Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_Json = sa.Text().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    """Create the history; it begins empty, because the journal's arguments are sealed."""
    op.create_table(
        "history",
        sa.Column("tenant", _Text, nullable=False),
        sa.Column("id", _Text, nullable=False),
        sa.Column("tool", _Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("phase", _Text, nullable=False),
        sa.Column("agent", _Text, nullable=False),
        sa.Column("run", _Text, nullable=False),
        sa.Column("subject", _Text, nullable=False),
        sa.Column("fields", _Json, nullable=False),
        sa.PrimaryKeyConstraint("id", "tenant"),
    )
    op.create_index("history_at", "history", ["tenant", "at"])
    op.create_index("history_tool", "history", ["tenant", "tool", "at"])
    for column in ("agent", "run", "subject"):
        where = sa.text(f"{column} <> ''")
        op.create_index(f"history_{column}", "history", ["tenant", column, "at"], sqlite_where=where, postgresql_where=where)
