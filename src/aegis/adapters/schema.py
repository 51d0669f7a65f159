"""The tables of journal and state, one description for both dialects.

The revisions below `migrations/versions` build them and a test compares the two; nothing creates tables from here. Times are
microseconds since 1970 in UTC. Where ids are ordered by time, indexes begin with the id and not with the tenant: the newest ids
of all tenants then share a page, and a group of units of many tenants dirties few of them.
"""

from sqlalchemy import BigInteger, Column, Index, LargeBinary, MetaData, PrimaryKeyConstraint, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

REVISION = "r0004"
"""The revision that this code reads and writes: the head of the history below `migrations/versions`."""

# Ids are ordered by code point in both dialects, whatever the locale of the database.
_Text = Text().with_variant(Text(collation="C"), "postgresql")
_Json = Text().with_variant(JSONB(), "postgresql")

metadata = MetaData()

head = Table(
    "head",
    metadata,
    Column("tenant", _Text, nullable=False),
    Column("next", BigInteger, nullable=False),
    Column("latest", BigInteger),
    Column("frontier", LargeBinary, nullable=False, server_default=text("''")),
    Column("first", BigInteger, nullable=False, server_default=text("0")),
    PrimaryKeyConstraint("tenant"),
)
"""Where each tenant's journal ends: the next `seq`, the greatest time of its events, and the frontier of the Merkle tree over them.

Every writer locks it first. `first` is the first `seq` whose event is kept: retention drops those below it."""

event = Table(
    "event",
    metadata,
    Column("tenant", _Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("id", _Text, nullable=False),
    Column("type", _Text, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("request_id", _Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("digest", _Text, nullable=False),
    PrimaryKeyConstraint("tenant", "seq"),
    Index("event_id", "id", "tenant", unique=True),
    Index(
        "event_request",
        "request_id",
        "tenant",
        "seq",
        sqlite_where=text("request_id <> ''"),
        postgresql_where=text("request_id <> ''"),
    ),
)
"""The journal. `body` are the canonical bytes; the other columns repeat what is inside them."""

payload = Table(
    "payload",
    metadata,
    Column("tenant", _Text, nullable=False),
    Column("event_id", _Text, nullable=False),
    Column("name", _Text, nullable=False),
    Column("key_id", _Text, nullable=False),
    Column("nonce", LargeBinary, nullable=False),
    Column("ciphertext", LargeBinary, nullable=False),
    PrimaryKeyConstraint("event_id", "name", "tenant"),
)
"""Sealed bytes beside events."""

state = Table(
    "state",
    metadata,
    Column("tenant", _Text, nullable=False),
    Column("kind", _Text, nullable=False),
    Column("id", _Text, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("state", _Text, nullable=False),
    Column("lookup", _Text, nullable=False),
    Column("due", BigInteger),
    Column("body", LargeBinary, nullable=False),
    PrimaryKeyConstraint("tenant", "kind", "id"),
    Index(
        "state_by_state", "tenant", "kind", "state", "id", sqlite_where=text("state <> ''"), postgresql_where=text("state <> ''")
    ),
    Index(
        "state_by_lookup",
        "tenant",
        "kind",
        "lookup",
        "id",
        sqlite_where=text("lookup <> ''"),
        postgresql_where=text("lookup <> ''"),
    ),
)
"""Rows: the state that readers of the journal need quickly."""

data_key = Table(
    "data_key",
    metadata,
    Column("tenant", _Text, nullable=False),
    Column("key_id", _Text, nullable=False),
    Column("subject", _Text, nullable=False),
    Column("ordinal", BigInteger, nullable=False),
    Column("wrapped", LargeBinary),
    Column("created", BigInteger, nullable=False),
    PrimaryKeyConstraint("tenant", "key_id"),
    Index("data_key_subject", "tenant", "subject", "ordinal", unique=True),
)
"""Data keys. `wrapped` is null once the key was destroyed: the row stays, so that erasure and loss can be told apart."""

noise = Table(
    "noise",
    metadata,
    Column("reason", _Text, nullable=False),
    Column("source", _Text, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
    PrimaryKeyConstraint("reason", "source"),
)
"""The bounded system journal."""


def _pinned(column: str) -> Index:
    where = text(f"{column} <> ''")
    return Index(f"history_{column}", "tenant", column, "at", sqlite_where=where, postgresql_where=where)


history = Table(
    "history",
    metadata,
    Column("tenant", _Text, nullable=False),
    Column("id", _Text, nullable=False),
    Column("tool", _Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("phase", _Text, nullable=False),
    Column("agent", _Text, nullable=False),
    Column("run", _Text, nullable=False),
    Column("subject", _Text, nullable=False),
    Column("fields", _Json, nullable=False),
    PrimaryKeyConstraint("id", "tenant"),
    Index("history_at", "tenant", "at"),
    Index("history_tool", "tenant", "tool", "at"),
    _pinned("agent"),
    _pinned("run"),
    _pinned("subject"),
)
"""What is remembered of past calls. `phase` is the one column that changes, and so it stands in no index."""

tile = Table(
    "tile",
    metadata,
    Column("tenant", _Text, nullable=False),
    Column("level", BigInteger, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("hashes", LargeBinary, nullable=False),
    PrimaryKeyConstraint("tenant", "level", "number"),
)
"""Complete tiles of the Merkle tree: 256 hashes each, leaves on level 0, roots of the tiles below on the others (tlog-tiles)."""

posting = Table(
    "posting",
    metadata,
    Column("tenant", _Text, nullable=False),
    Column("field", _Text, nullable=False),
    Column("value", _Text, nullable=False),
    Column("block", BigInteger, nullable=False),
    Column("places", LargeBinary, nullable=False),
    PrimaryKeyConstraint("tenant", "field", "value", "block"),
    sqlite_with_rowid=False,
)
"""The index of searches: which events of a block of the journal hold a value. It lies in the order of its key."""
