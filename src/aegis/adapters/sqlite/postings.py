"""The index of searches in SQLite, and the events that it points at."""

import sqlite3
from collections.abc import Callable, Sequence

import orjson

from aegis.adapters import columns
from aegis.adapters.columns import EVENT
from aegis.adapters.sqlite import statements
from aegis.journal.postings import Posting
from aegis.journal.store import PostingKey
from aegis.journal.terms import Term
from aegis.model.event import Stored

AT_ONCE = 256
"""So many postings are one transaction: units that wait are committed between one and the next."""

LOOKED_AT = 2000

_PUT = (
    "INSERT INTO posting (tenant, field, value, block, places) VALUES ",
    5,
    " ON CONFLICT (tenant, field, value, block) DO UPDATE SET places = excluded.places",
)
# CROSS JOIN keeps the order: the few keys first, then one range of the index for each.
_HELD = """SELECT p.block, p.field, p.value, p.places FROM json_each(?2) k CROSS JOIN posting p ON p.tenant = ?1
  AND p.field = json_extract(k.value, '$[0]') AND p.value = json_extract(k.value, '$[1]') AND p.block >= ?3 AND p.block < ?4"""
_AT = f"SELECT {EVENT} FROM json_each(?2) k CROSS JOIN event e ON e.tenant = ?1 AND e.seq = k.value"  # noqa: S608 - built of constants
_NEXT = """SELECT field, value, block FROM posting WHERE tenant = ? AND (field, value, block) > (?, ?, ?)
  ORDER BY field, value, block LIMIT ?"""
_DROP = """DELETE FROM posting WHERE tenant = ? AND (field, value, block) > (?, ?, ?) AND (field, value, block) <= (?, ?, ?)
  AND block < ?"""

Execute = Callable[..., sqlite3.Cursor]


def at(db: sqlite3.Connection, *, tenant: str, places: Sequence[int]) -> tuple[Stored, ...]:
    """The events at these places."""
    return tuple(map(columns.stored, db.execute(_AT, (tenant, orjson.dumps(list(places)).decode()))))


def held(db: sqlite3.Connection, *, tenant: str, keys: str, blocks: range) -> dict[int, dict[Term, bytes]]:
    """What is held of terms, given in JSON, in these blocks."""
    found: dict[int, dict[Term, bytes]] = {}
    for block, field, value, places in db.execute(_HELD, (tenant, keys, blocks.start, blocks.stop)):
        found.setdefault(block, {})[field, value] = places
    return found


def put(execute: Execute, tenant: str, found: Sequence[Posting]) -> None:
    """Write postings."""
    rows = [(tenant, each.field, each.value, each.block, each.places) for each in found]
    for text, values in statements.inserts(_PUT, rows):
        execute(text, values)


def drop(execute: Execute, tenant: str, below: int, after: PostingKey) -> PostingKey | None:
    """Remove postings of blocks below this one among the next few; the last of these."""
    looked = execute(_NEXT, (tenant, *after, LOOKED_AT)).fetchall()
    if not looked:
        return None
    field, value, block = looked[-1]
    execute(_DROP, (tenant, *after, field, value, block, below))
    return field, value, block
