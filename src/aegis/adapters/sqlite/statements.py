"""The SQL of the SQLite store.

Each call into SQLite gives up the interpreter's lock and has to win it back from a busy event loop, so the number of calls, not
their size, is what a group costs: a set of keys goes in as one JSON array, and rows are inserted many at a time.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from aegis.adapters.columns import ENTRY, EVENT, HEAD, ROW

# CROSS JOIN keeps the order: the few keys first, then one index look-up for each.
HEADS = f"SELECT {HEAD} FROM json_each(?) k CROSS JOIN head h ON h.tenant = k.value"  # noqa: S608 - built of constants
ALL_HEADS = f"SELECT {HEAD} FROM head h ORDER BY h.tenant"  # noqa: S608 - as above
EVENTS = f"""SELECT {EVENT} FROM json_each(?) k CROSS JOIN event e
  ON e.id = json_extract(k.value, '$[1]') AND e.tenant = json_extract(k.value, '$[0]')"""  # noqa: S608 - built of constants
ROWS = f"""SELECT {ROW} FROM json_each(?) k CROSS JOIN state s
  ON s.tenant = json_extract(k.value, '$[0]') AND s.kind = json_extract(k.value, '$[1]') AND s.id = json_extract(k.value, '$[2]')"""  # noqa: S608 - as above
ENTRIES = f"""SELECT {ENTRY} FROM json_each(?) k CROSS JOIN history w
  ON w.tenant = json_extract(k.value, '$[0]') AND w.id = json_extract(k.value, '$[1]')"""  # noqa: S608 - as above
TOUCH = "INSERT INTO temp.touched SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(?)"

PUT_EVENTS = ("INSERT INTO event (tenant, seq, id, type, time, request_id, body, digest) VALUES ", 8, "")
PUT_PAYLOADS = ("INSERT INTO payload (tenant, event_id, name, key_id, nonce, ciphertext) VALUES ", 6, "")
PUT_ROWS = (
    "INSERT INTO state (tenant, kind, id, version, state, lookup, due, body) VALUES ",
    8,
    """ ON CONFLICT (tenant, kind, id) DO UPDATE SET version = excluded.version, state = excluded.state,
    lookup = excluded.lookup, due = excluded.due, body = excluded.body""",
)
PUT_HEADS = (
    "INSERT INTO head (tenant, next, latest, frontier) VALUES ",
    4,
    " ON CONFLICT (tenant) DO UPDATE SET next = excluded.next, latest = excluded.latest, frontier = excluded.frontier",
)
PUT_ENTRIES = (
    "INSERT INTO history (tenant, id, tool, at, phase, agent, run, subject, fields) VALUES ",
    9,
    """ ON CONFLICT (tenant, id) DO UPDATE SET tool = excluded.tool, at = excluded.at, phase = excluded.phase,
    agent = excluded.agent, run = excluded.run, subject = excluded.subject, fields = excluded.fields""",
)
SETTLE = """UPDATE history SET phase = k.phase FROM (SELECT json_extract(value, '$[0]') tenant, json_extract(value, '$[1]') id,
  json_extract(value, '$[2]') phase FROM json_each(?)) k WHERE history.tenant = k.tenant AND history.id = k.id"""
FORGET = """DELETE FROM history WHERE rowid IN (
  SELECT w.rowid FROM head h CROSS JOIN history w ON w.tenant = h.tenant AND w.at < ? LIMIT ?)"""
DELETE_ROW = "DELETE FROM state WHERE tenant = ? AND kind = ? AND id = ?"

NEWEST_KEY = """SELECT key_id, wrapped FROM data_key
  WHERE tenant = ? AND subject = ? AND wrapped IS NOT NULL ORDER BY ordinal DESC LIMIT 1"""
PUT_KEY = """INSERT INTO data_key (tenant, key_id, subject, ordinal, wrapped, created)
  SELECT ?1, ?2, ?3, COALESCE(MAX(ordinal), 0) + 1, ?4, ?5 FROM data_key WHERE tenant = ?1 AND subject = ?3"""
KEYS = "SELECT key_id, wrapped FROM data_key WHERE tenant = ? AND key_id > ? AND wrapped IS NOT NULL ORDER BY key_id LIMIT ?"
REWRAP = "UPDATE data_key SET wrapped = ? WHERE tenant = ? AND key_id = ? AND wrapped = ?"
RAISE_FIRST = "UPDATE head SET first = ? WHERE tenant = ?"
SHEDDING = """SELECT e.seq, e.id FROM head h CROSS JOIN event e ON e.tenant = h.tenant AND e.seq < h.first
  WHERE h.tenant = ? ORDER BY e.seq LIMIT ?"""
SHED_PAYLOADS = "DELETE FROM payload WHERE tenant = ? AND event_id IN (SELECT value FROM json_each(?))"
SHED_EVENTS = "DELETE FROM event WHERE tenant = ? AND seq <= ?"
PAYLOADS_OF = """SELECT p.event_id, p.name, p.key_id, p.nonce, p.ciphertext FROM event e
  CROSS JOIN payload p ON p.event_id = e.id AND p.tenant = e.tenant
  WHERE e.tenant = ? AND e.seq >= ? AND e.seq < ? ORDER BY e.seq, p.name"""

# Whether a key stands is told without reading it.
KEYS_STANDING = """SELECT d.tenant, d.key_id, d.wrapped IS NOT NULL FROM json_each(?) k CROSS JOIN data_key d
  ON d.tenant = json_extract(k.value, '$[0]') AND d.key_id = json_extract(k.value, '$[1]')"""
DESTROY_KEY = "UPDATE data_key SET wrapped = NULL WHERE tenant = ? AND key_id = ?"
SEALED = "SELECT COUNT(*) FROM payload WHERE tenant = ? AND key_id = ?"
KEY_BY_ID = "SELECT wrapped FROM data_key WHERE tenant = ? AND key_id = ?"

PUT_TILES = ("INSERT INTO tile (tenant, level, number, hashes) VALUES ", 4, " ON CONFLICT DO NOTHING")
TILES = """SELECT t.level, t.number, t.hashes FROM json_each(?2) k CROSS JOIN tile t
  ON t.tenant = ?1 AND t.level = json_extract(k.value, '$[0]') AND t.number = json_extract(k.value, '$[1]')"""
TILES_FROM = "SELECT number, hashes FROM tile WHERE tenant = ? AND level = ? AND number >= ? ORDER BY number LIMIT ?"

NOISE = "SELECT reason, source, count, first, last FROM noise"
PUT_NOISE = """INSERT INTO noise (reason, source, count, first, last) VALUES (?, ?, ?, ?, ?)
  ON CONFLICT (reason, source) DO UPDATE SET count = excluded.count, first = excluded.first, last = excluded.last"""

EVENT_BY_ID = f"SELECT {EVENT} FROM event e WHERE e.id = ? AND e.tenant = ?"  # noqa: S608 - as above
PAYLOAD = "SELECT key_id, nonce, ciphertext FROM payload WHERE event_id = ? AND name = ? AND tenant = ?"
TENANTS = "SELECT tenant FROM head WHERE next > 0 ORDER BY tenant"
LATEST = "SELECT MAX(latest) FROM head"

_CHUNKS = (64, 16, 4, 1)
_TEXTS: dict[tuple[tuple[str, int, str], int], str] = {}


def inserts(statement: tuple[str, int, str], rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, list[Any]]]:
    """The few (SQL, parameters) that take all `rows`; texts come in four sizes, so that SQLite keeps them prepared."""
    at = 0
    while at < len(rows):
        size = next(size for size in _CHUNKS if size <= len(rows) - at)
        yield _many(statement, size), [value for row in rows[at : at + size] for value in row]
        at += size


def _many(statement: tuple[str, int, str], count: int) -> str:
    before, width, behind = statement
    if (statement, count) not in _TEXTS:
        one = "(" + ", ".join("?" * width) + ")"
        _TEXTS[statement, count] = before + ", ".join([one] * count) + behind
    return _TEXTS[statement, count]
