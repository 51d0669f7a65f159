"""The SQL of the PostgreSQL store: a whole group in each statement, as arrays, so that a group is two round trips."""

from collections.abc import Sequence
from typing import Any

from aegis.adapters.columns import ENTRY, EVENT, HEAD, ROW

# Heads are locked in order of tenant, whatever the order of units, so that two groups never wait for each other.
NEW_HEADS = """INSERT INTO head (tenant, next, latest) SELECT k, 0, NULL FROM unnest(%b::text[]) k ORDER BY k
  ON CONFLICT DO NOTHING"""
LOCK_HEADS = f"SELECT {HEAD} FROM head h WHERE h.tenant = ANY(%b::text[]) ORDER BY h.tenant FOR UPDATE"  # noqa: S608 - constants
ALL_HEADS = f"SELECT {HEAD} FROM head h ORDER BY h.tenant"  # noqa: S608 - as above
EVENTS = f"""SELECT {EVENT} FROM unnest(%b::text[], %b::text[]) k (tenant, id)
  JOIN event e ON e.id = k.id AND e.tenant = k.tenant"""  # noqa: S608 - built of constants
ROWS = f"""SELECT {ROW} FROM unnest(%b::text[], %b::text[], %b::text[]) k (tenant, kind, id)
  JOIN state s ON s.tenant = k.tenant AND s.kind = k.kind AND s.id = k.id"""  # noqa: S608 - as above
# Before a table has statistics an index that begins with the tenant looks as good as the primary key, which begins with the id: so
# entries are found by their id, and the tenant is written so that no index is looked for.
ENTRIES = f"""SELECT {ENTRY}::text FROM unnest(%b::text[], %b::text[]) k (tenant, id)
  JOIN history w ON w.id = k.id AND w.tenant || '' = k.tenant"""  # noqa: S608 - as above

PUT_EVENTS = """INSERT INTO event (tenant, seq, id, type, time, request_id, body, digest)
  SELECT * FROM unnest(%b::text[], %b::bigint[], %b::text[], %b::text[], %b::bigint[], %b::text[], %b::bytea[], %b::text[])"""
PUT_PAYLOADS = """INSERT INTO payload (tenant, event_id, name, key_id, nonce, ciphertext)
  SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::text[], %b::bytea[], %b::bytea[])"""
PUT_ROWS = """INSERT INTO state (tenant, kind, id, version, state, lookup, due, body)
  SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::bigint[], %b::text[], %b::text[], %b::bigint[], %b::bytea[])
  ON CONFLICT (tenant, kind, id) DO UPDATE SET version = excluded.version, state = excluded.state, lookup = excluded.lookup,
    due = excluded.due, body = excluded.body"""
PUT_HEADS = """UPDATE head SET next = k.next, latest = k.latest, frontier = k.frontier
  FROM unnest(%b::text[], %b::bigint[], %b::bigint[], %b::bytea[]) k (tenant, next, latest, frontier)
  WHERE head.tenant = k.tenant"""
PUT_TILES = """INSERT INTO tile (tenant, level, number, hashes)
  SELECT * FROM unnest(%b::text[], %b::bigint[], %b::bigint[], %b::bytea[]) ON CONFLICT DO NOTHING"""
TILES = """SELECT t.level, t.number, t.hashes FROM unnest(%b::bigint[], %b::bigint[]) k (level, number)
  JOIN tile t ON t.tenant = %b AND t.level = k.level AND t.number = k.number"""
TILES_FROM = "SELECT number, hashes FROM tile WHERE tenant = %s AND level = %s AND number >= %s ORDER BY number LIMIT %s"
PUT_ENTRIES = """INSERT INTO history (tenant, id, tool, at, phase, agent, run, subject, fields)
  SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::bigint[],
    %b::text[], %b::text[], %b::text[], %b::text[], %b::jsonb[])
  ON CONFLICT (tenant, id) DO UPDATE SET tool = excluded.tool, at = excluded.at, phase = excluded.phase, agent = excluded.agent,
    run = excluded.run, subject = excluded.subject, fields = excluded.fields"""
SETTLE = """UPDATE history SET phase = k.phase FROM unnest(%b::text[], %b::text[], %b::text[]) k (tenant, id, phase)
  WHERE history.id = k.id AND history.tenant || '' = k.tenant"""
# What a group is writing at this moment is left for the next time. The outer condition holds for a row that has just been replaced.
FORGET = """DELETE FROM history USING (SELECT w.tenant, w.id FROM head h CROSS JOIN LATERAL (SELECT tenant, id FROM history
    WHERE tenant = h.tenant AND at < %(before)s ORDER BY at LIMIT %(most)s FOR UPDATE SKIP LOCKED) w LIMIT %(most)s) k
  WHERE history.id = k.id AND history.tenant || '' = k.tenant AND history.at + 0 < %(before)s"""
DELETE_ROWS = """DELETE FROM state USING unnest(%b::text[], %b::text[], %b::text[]) k (tenant, kind, id)
  WHERE state.tenant = k.tenant AND state.kind = k.kind AND state.id = k.id"""

NEWEST_KEY = """SELECT key_id, wrapped FROM data_key
  WHERE tenant = %s AND subject = %s AND wrapped IS NOT NULL ORDER BY ordinal DESC LIMIT 1"""
LOCK_KEYS = "SELECT pg_advisory_xact_lock(%s)"
PUT_KEY = """INSERT INTO data_key (tenant, key_id, subject, ordinal, wrapped, created)
  SELECT %(tenant)s, %(key_id)s, %(subject)s, COALESCE(MAX(ordinal), 0) + 1, %(wrapped)s, %(created)s
  FROM data_key WHERE tenant = %(tenant)s AND subject = %(subject)s"""
KEYS = """SELECT key_id, wrapped FROM data_key
  WHERE tenant = %s AND key_id > %s AND wrapped IS NOT NULL ORDER BY key_id LIMIT %s"""
REWRAP = "UPDATE data_key SET wrapped = %s WHERE tenant = %s AND key_id = %s AND wrapped = %s"
RAISE_FIRST = """UPDATE head SET first = k.first FROM unnest(%b::text[], %b::bigint[]) k (tenant, first)
  WHERE head.tenant = k.tenant"""
SHED = """WITH gone AS (DELETE FROM event e USING (SELECT o.seq FROM head h JOIN event o ON o.tenant = h.tenant AND o.seq < h.first
      WHERE h.tenant = %(tenant)s ORDER BY o.seq LIMIT %(most)s) k
    WHERE e.tenant = %(tenant)s AND e.seq = k.seq RETURNING e.id),
  emptied AS (DELETE FROM payload p USING gone WHERE p.event_id = gone.id AND p.tenant = %(tenant)s RETURNING 1)
  SELECT COUNT(*) FROM gone"""
PAYLOADS_OF = """SELECT p.event_id, p.name, p.key_id, p.nonce, p.ciphertext FROM event e
  JOIN payload p ON p.event_id = e.id AND p.tenant || '' = e.tenant
  WHERE e.tenant = %s AND e.seq >= %s AND e.seq < %s ORDER BY e.seq, p.name"""
KEYS_STANDING = """SELECT d.tenant, d.key_id, d.wrapped IS NOT NULL FROM unnest(%b::text[], %b::text[]) k (tenant, key_id)
  JOIN data_key d ON d.tenant = k.tenant AND d.key_id = k.key_id"""
DESTROY_KEYS = """UPDATE data_key SET wrapped = NULL FROM unnest(%b::text[], %b::text[]) k (tenant, key_id)
  WHERE data_key.tenant = k.tenant AND data_key.key_id = k.key_id"""
SEALED = "SELECT COUNT(*) FROM payload WHERE tenant = %s AND key_id = %s"
KEY_BY_ID = "SELECT wrapped FROM data_key WHERE tenant = %s AND key_id = %s"

LOCK_NOISE = "LOCK TABLE noise IN SHARE ROW EXCLUSIVE MODE"
NOISE = "SELECT reason, source, count, first, last FROM noise"
PUT_NOISE = """INSERT INTO noise (reason, source, count, first, last)
  SELECT * FROM unnest(%b::text[], %b::text[], %b::bigint[], %b::bigint[], %b::bigint[])
  ON CONFLICT (reason, source) DO UPDATE SET count = excluded.count, first = excluded.first, last = excluded.last"""

EVENT_BY_ID = f"SELECT {EVENT} FROM event e WHERE e.id = %s AND e.tenant = %s"  # noqa: S608 - as above
PAYLOAD = "SELECT key_id, nonce, ciphertext FROM payload WHERE event_id = %s AND name = %s AND tenant = %s"
TENANTS = "SELECT tenant FROM head WHERE next > 0 ORDER BY tenant"
LATEST = "SELECT MAX(latest) FROM head"
SIZE = "SELECT pg_database_size(current_database())"

LET_GO = "SELECT pg_advisory_unlock_all()"
HOLD = "SELECT pg_try_advisory_lock(%s)"
_HELD = """FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND ((classid::bigint << 32) | objid::bigint) = %s"""
ALIVE = f"SELECT EXISTS (SELECT 1 {_HELD})"
END_FORMER = f"SELECT pg_terminate_backend(pid) {_HELD} AND pid = %s"


def arrays(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    """`rows` turned into one array for each column."""
    return [list(column) for column in zip(*rows, strict=True)]
