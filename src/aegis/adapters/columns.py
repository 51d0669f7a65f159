"""Result rows to values and back, and the two readings whose text depends on what is asked: the same in both dialects."""

import re
from collections.abc import Iterable
from typing import Any

import orjson

from aegis.adapters.draft import Head
from aegis.adapters.instants import from_micros, to_micros
from aegis.crypto.merkle import Frontier
from aegis.journal.store import TreeHead
from aegis.journal.unit import Payload, Row
from aegis.model.event import Stored
from aegis.model.history import Entry, Phase

HEAD = "h.tenant, h.next, h.latest, h.frontier, h.first"
HEAD_WIDTH = 5
EVENT = "e.tenant, e.seq, e.id, e.type, e.time, e.request_id, e.body, e.digest"
ROW = "s.tenant, s.kind, s.id, s.version, s.state, s.lookup, s.due, s.body"
ENTRY = "w.tenant, w.id, w.tool, w.at, w.phase, w.agent, w.run, w.subject, w.fields"


def find(*, state: str | None, lookup: str | None) -> str:
    """Rows of a tenant and kind after an id; the words `<> ''` let the database see that a partial index holds all of them."""
    where = "s.tenant = :tenant AND s.kind = :kind AND s.id > :after"
    if state is not None:
        where += " AND s.state = :state" + (" AND s.state <> ''" if state else "")
    if lookup is not None:
        where += " AND s.lookup = :lookup" + (" AND s.lookup <> ''" if lookup else "")
    return f"SELECT {ROW} FROM state s WHERE {where} ORDER BY s.id LIMIT :limit"  # noqa: S608 - built of constants


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


def percent(text: str) -> str:
    """`text` with its `:name` parameters in the style of psycopg."""
    return re.sub(r":(\w+)", r"%(\1)s", text)


def stored(columns: tuple[Any, ...]) -> Stored:
    """The event of a result row with the columns `EVENT`."""
    tenant, seq, event_id, kind, time, request_id, body, digest = columns
    return Stored(
        tenant=tenant, seq=seq, id=event_id, type=kind, time=from_micros(time), request_id=request_id, body=body, digest=digest
    )


def payload(columns: tuple[Any, ...]) -> Payload:
    """The payload of a result row: event id, name, key id, nonce, ciphertext."""
    event_id, name, key_id, nonce, ciphertext = columns
    return Payload(event_id=event_id, name=name, key_id=key_id, nonce=nonce, ciphertext=ciphertext)


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
    """Tenant and head of a result row with the columns `HEAD`."""
    tenant, end, latest, frontier, first = columns
    return tenant, Head(end, latest, frontier, first)


def of_head(tenant: str, head: Head) -> tuple[Any, ...]:
    """The columns `HEAD`, but for `first`, which only retention moves."""
    return (tenant, head.next, head.latest, head.frontier)


def tree_heads(rows: Iterable[tuple[Any, ...]]) -> dict[str, TreeHead]:
    """Where each log ends, of result rows with the columns `HEAD`."""
    return {tenant: TreeHead(frontier=Frontier(found.next, found.frontier), first=found.first) for tenant, found in map(head, rows)}


def of_event(event: Stored) -> tuple[Any, ...]:
    """The columns `EVENT`."""
    return (event.tenant, event.seq, event.id, event.type, to_micros(event.time), event.request_id, event.body, event.digest)


def of_payload(tenant: str, payload: Payload) -> tuple[Any, ...]:
    """Tenant, event id, name, key id, nonce, ciphertext."""
    return (tenant, payload.event_id, payload.name, payload.key_id, payload.nonce, payload.ciphertext)


def of_row(row: Row) -> tuple[Any, ...]:
    """The columns `ROW`."""
    due = None if row.due is None else to_micros(row.due)
    return (row.tenant, row.kind, row.id, row.version, row.state, row.lookup, due, row.body)


def entry(columns: tuple[Any, ...]) -> tuple[str, Entry]:
    """Tenant and entry of a result row with the columns `ENTRY`; `fields` is the text of the JSON."""
    tenant, entry_id, tool, at, phase, agent, run, subject, fields = columns
    found = Entry(
        id=entry_id,
        tool=tool,
        at=from_micros(at),
        phase=Phase(phase),
        agent=agent,
        run=run,
        subject=subject,
        fields=orjson.loads(fields),
    )
    return tenant, found


def of_entry(tenant: str, entry: Entry) -> tuple[Any, ...]:
    """The columns `ENTRY`."""
    at, fields = to_micros(entry.at), orjson.dumps(entry.fields).decode()
    return (tenant, entry.id, entry.tool, at, entry.phase.value, entry.agent, entry.run, entry.subject, fields)
