"""Journal, payloads, rows, data keys and the bounded system journal."""

import sqlalchemy as sa
from alembic import op

revision = "r0001"
down_revision = None
branch_labels = None
depends_on = None

_Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    """Create every table of the first release."""
    op.create_table(
        "head",
        sa.Column("tenant", _Text, nullable=False),
        sa.Column("next", sa.BigInteger, nullable=False),
        sa.Column("latest", sa.BigInteger),
        sa.PrimaryKeyConstraint("tenant"),
    )
    _journal()
    _state()
    op.create_table(
        "noise",
        sa.Column("reason", _Text, nullable=False),
        sa.Column("source", _Text, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("first", sa.BigInteger, nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("reason", "source"),
    )


def _journal() -> None:
    op.create_table(
        "event",
        sa.Column("tenant", _Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("id", _Text, nullable=False),
        sa.Column("type", _Text, nullable=False),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("request_id", _Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("digest", _Text, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "seq"),
    )
    op.create_index("event_id", "event", ["id", "tenant"], unique=True)
    _partial("event_request", "event", ["request_id", "tenant", "seq"], "request_id <> ''")
    op.create_table(
        "payload",
        sa.Column("tenant", _Text, nullable=False),
        sa.Column("event_id", _Text, nullable=False),
        sa.Column("name", _Text, nullable=False),
        sa.Column("key_id", _Text, nullable=False),
        sa.Column("nonce", sa.LargeBinary, nullable=False),
        sa.Column("ciphertext", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("event_id", "name", "tenant"),
    )
    op.create_table(
        "data_key",
        sa.Column("tenant", _Text, nullable=False),
        sa.Column("key_id", _Text, nullable=False),
        sa.Column("subject", _Text, nullable=False),
        sa.Column("ordinal", sa.BigInteger, nullable=False),
        sa.Column("wrapped", sa.LargeBinary),
        sa.Column("created", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "key_id"),
    )
    op.create_index("data_key_subject", "data_key", ["tenant", "subject", "ordinal"], unique=True)


def _state() -> None:
    op.create_table(
        "state",
        sa.Column("tenant", _Text, nullable=False),
        sa.Column("kind", _Text, nullable=False),
        sa.Column("id", _Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("state", _Text, nullable=False),
        sa.Column("lookup", _Text, nullable=False),
        sa.Column("due", sa.BigInteger),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "kind", "id"),
    )
    _partial("state_by_state", "state", ["tenant", "kind", "state", "id"], "state <> ''")
    _partial("state_by_lookup", "state", ["tenant", "kind", "lookup", "id"], "lookup <> ''")


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
