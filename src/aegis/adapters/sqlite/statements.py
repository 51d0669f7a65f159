"""The SQL of the SQLite store.

Each call into SQLite gives up the interpreter's lock and has to win it back from a busy event loop, so the number of calls, not
their size, is what a group costs: a set of keys goes in as one JSON array, and rows are inserted many at a time.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from aegis.adapters.draft import Head
from aegis.adapters.instants import from_micros, to_micros
from aegis.journal.unit import Payload, Row
from aegis.model.event import Stored

EVENT = "e.tenant, e.seq, e.id, e.type, e.time, e.request_id, e.body, e.digest"
ROW = "s.tenant, s.kind, s.id, s.version, s.state, s.lookup, s.due, s.body"

# CROSS JOIN keeps the order: the few keys first, then one index look-up for each.
HEADS = """SELECT h.tenant, h.next, h.latest FROM json_each(?) k CROSS JOIN head h ON h.tenant = k.value"""
EVENTS = f"""SELECT {EVENT} FROM json_each(?) k CROSS JOIN event e
  ON e.id = json_extract(k.value, '$[1]') AND e.tenant = json_extract(k.value, '$[0]')"""  # noqa: S608 - built of constants
ROWS = f"""SELECT {ROW} FROM json_each(?) k CROSS JOIN state s
  ON s.tenant = json_extract(k.value, '$[0]') AND s.kind = json_extract(k.value, '$[1]') AND s.id = json_extract(k.value, '$[2]')"""  # noqa: S608 - as above

PUT_EVENTS = ("INSERT INTO event (tenant, seq, id, type, time, request_id, body, digest) VALUES ", 8, "")
PUT_PAYLOADS = ("INSERT INTO payload (tenant, event_id, name, key_id, nonce, ciphertext) VALUES ", 6, "")
PUT_ROWS = (
    "INSERT INTO state (tenant, kind, id, version, state, lookup, due, body) VALUES ",
    8,
    """ ON CONFLICT (tenant, kind, id) DO UPDATE SET version = excluded.version, state = excluded.state,
    lookup = excluded.lookup, due = excluded.due, body = excluded.body""",
)
PUT_HEADS = (
    "INSERT INTO head (tenant, next, latest) VALUES ",
    3,
    " ON CONFLICT (tenant) DO UPDATE SET next = excluded.next, latest = excluded.latest",
)
DELETE_ROW = "DELETE FROM state WHERE tenant = ? AND kind = ? AND id = ?"

NEWEST_KEY = """SELECT key_id, wrapped FROM data_key
  WHERE tenant = ? AND subject = ? AND wrapped IS NOT NULL ORDER BY ordinal DESC LIMIT 1"""
PUT_KEY = """INSERT INTO data_key (tenant, key_id, subject, ordinal, wrapped, created)
  SELECT ?1, ?2, ?3, COALESCE(MAX(ordinal), 0) + 1, ?4, ?5 FROM data_key WHERE tenant = ?1 AND subject = ?3"""
KEY_BY_ID = "SELECT wrapped FROM data_key WHERE tenant = ? AND key_id = ?"

NOISE = "SELECT reason, source, count, first, last FROM noise"
PUT_NOISE = """INSERT INTO noise (reason, source, count, first, last) VALUES (?, ?, ?, ?, ?)
  ON CONFLICT (reason, source) DO UPDATE SET count = excluded.count, first = excluded.first, last = excluded.last"""

EVENT_BY_ID = f"SELECT {EVENT} FROM event e WHERE e.id = ? AND e.tenant = ?"  # noqa: S608 - as above
PAYLOAD = "SELECT key_id, nonce, ciphertext FROM payload WHERE event_id = ? AND name = ? AND tenant = ?"
TENANTS = "SELECT tenant FROM head WHERE next > 0 ORDER BY tenant"
LATEST = "SELECT MAX(latest) FROM head"

_CHUNKS = (64, 16, 4, 1)
_TEXTS: dict[tuple[str, int], str] = {}


def inserts(statement: tuple[str, int, str], rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, list[Any]]]:
    """The few (SQL, parameters) that insert `rows`; texts come in four sizes, so that SQLite keeps them prepared."""
    at = 0
    while at < len(rows):
        size = next(size for size in _CHUNKS if size <= len(rows) - at)
        yield _many(statement, size), [value for row in rows[at : at + size] for value in row]
        at += size


def find(*, state: str | None, lookup: str | None) -> str:
    """Rows of a tenant and kind after an id; the words `<> ''` let SQLite see that a partial index holds all of them."""
    where = "s.tenant = :tenant AND s.kind = :kind AND s.id > :after"
    if state is not None:
        where += " AND s.state = :state" + (" AND s.state <> ''" if state else "")
    if lookup is not None:
        where += " AND s.lookup = :lookup" + (" AND s.lookup <> ''" if lookup else "")
    return f"SELECT {ROW} FROM state s WHERE {where} ORDER BY s.id LIMIT :limit"  # noqa: S608 - as above


def events(*, request_id: str | None, after: int, newest_first: bool) -> str:
    """Events of a tenant, of one request if asked, from one end or the other."""
    where = "e.tenant = :tenant"
    if request_id is not None:
        where += " AND e.request_id = :request_id" + (" AND e.request_id <> ''" if request_id else "")
    if not newest_first:
        where += " AND e.seq > :after"
    elif after >= 0:
        where += " AND e.seq < :after"
    order = "DESC" if newest_first else "ASC"
    return f"SELECT {EVENT} FROM event e WHERE {where} ORDER BY e.seq {order} LIMIT :limit"  # noqa: S608 - as above


def stored(columns: tuple[Any, ...]) -> Stored:
    """The event of a result row with the columns `EVENT`."""
    tenant, seq, event_id, kind, time, request_id, body, digest = columns
    return Stored(
        tenant=tenant, seq=seq, id=event_id, type=kind, time=from_micros(time), request_id=request_id, body=body, digest=digest
    )


def row(columns: tuple[Any, ...]) -> Row:
    """The row of a result row with the columns `ROW`."""
    tenant, kind, row_id, version, state, lookup, due, body = columns
    return Row(
        tenant=tenant,
        kind=kind,
        id=row_id,
        version=version,
        state=state,
        lookup=lookup,
        due=None if due is None else from_micros(due),
        body=body,
    )


def head(columns: tuple[Any, ...]) -> tuple[str, Head]:
    """Tenant and head of a result row."""
    return columns[0], Head(columns[1], columns[2])


def of_event(event: Stored) -> tuple[Any, ...]:
    """The columns of `PUT_EVENTS`."""
    return (event.tenant, event.seq, event.id, event.type, to_micros(event.time), event.request_id, event.body, event.digest)


def of_payload(tenant: str, payload: Payload) -> tuple[Any, ...]:
    """The columns of `PUT_PAYLOADS`."""
    return (tenant, payload.event_id, payload.name, payload.key_id, payload.nonce, payload.ciphertext)


def of_row(row: Row) -> tuple[Any, ...]:
    """The columns of `PUT_ROWS`."""
    due = None if row.due is None else to_micros(row.due)
    return (row.tenant, row.kind, row.id, row.version, row.state, row.lookup, due, row.body)


def _many(statement: tuple[str, int, str], count: int) -> str:
    before, width, behind = statement
    if (before, count) not in _TEXTS:
        one = "(" + ", ".join("?" * width) + ")"
        _TEXTS[before, count] = before + ", ".join([one] * count) + behind
    return _TEXTS[before, count]
