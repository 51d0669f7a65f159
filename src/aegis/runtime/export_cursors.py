"""The cursors of the pushing exporter: read, checked against the log, and moved by a person.

    row `export` of `_system`, by tenant     what the receiver has acknowledged

The exporter moves a cursor without an event, because exporting must not make more to export. A person who moves one decides that
the receiver gets events again, or never: that is an event, with their name and reason.
"""

import msgspec
from msgspec import Struct

from aegis.errors import ConfigError
from aegis.journal.export import cursor as cursors
from aegis.journal.export.cursor import Cursor
from aegis.journal.store import Store
from aegis.journal.unit import Committed, Put, Require, Unit
from aegis.model.event import SYSTEM_TENANT, Event, Stored
from aegis.runtime import ids
from aegis.runtime.clock import Clock
from aegis.runtime.record import text

KIND = "export"


class Move(Struct, frozen=True, kw_only=True):
    """The export of `tenant` is to go on at `to`, says a person."""

    tenant: str
    to: int
    by: str
    reason: str
    statement: str


async def resumed(store: Store, cursor: Cursor, tenant: str) -> None:
    """Check that an export of `tenant` can go on at `cursor`.

    Raises:
        ConfigError: As `journal.export.cursor.check` says.
    """
    head = (await store.heads()).get(tenant)
    size, first = (head.frontier.size, head.first) if head else (0, 0)
    cursors.check(cursor, tenant, size=size, first=first, before=await _before(store, tenant, cursor.next))


async def move(store: Store, clock: Clock, asked: Move) -> Cursor:
    """Put the cursor of a tenant somewhere else; every process follows with its next turn.

    Raises:
        ConfigError: There is no such place in the log, or the exporter moves the cursor at this moment.
    """
    before = await _before(store, asked.tenant, asked.to)
    cursor = cursors.start(asked.tenant, asked.to)
    moved = cursor.after(before) if before else cursor
    await resumed(store, moved, asked.tenant)
    row = (await store.rows(SYSTEM_TENANT, [(KIND, asked.tenant)])).get((KIND, asked.tenant))
    now = clock.now()
    data = {
        "on_tenant": asked.tenant,
        "from": _next(row.body) if row else 0,
        "to": asked.to,
        "by": asked.by,
        "reason": text(asked.reason),
        "statement": asked.statement,
    }
    event = Event(id=f"export_moved:{ids.uuid7(now)}", type="export_moved", tenant=SYSTEM_TENANT, time=now, data=data)
    unit = Unit(
        tenant=SYSTEM_TENANT,
        events=(event,),
        requires=(Require(kind=KIND, id=asked.tenant, version=row.version if row else 0),),
        writes=(Put(kind=KIND, id=asked.tenant, body=msgspec.json.encode(moved)),),
    )
    if not isinstance(await store.commit(unit), Committed):
        raise ConfigError("the cursor is being moved by an exporter at this moment: stop it, or try again")
    return moved


def missing(first: int, events: tuple[Stored, ...]) -> int | None:
    """The first `seq` that is missing among events that should begin with `first` and have no gaps."""
    return next((seq for seq, event in enumerate(events, first) if event.seq != seq), None)


async def _before(store: Store, tenant: str, seq: int) -> Stored | None:
    """The event before `seq`, if it is kept."""
    found = await store.events(tenant, after=seq - 2, limit=1) if seq else ()
    return found[0] if found and found[0].seq == seq - 1 else None


def _next(body: bytes) -> int:
    try:
        return msgspec.json.decode(body, type=Cursor).next
    except msgspec.DecodeError:
        return 0
