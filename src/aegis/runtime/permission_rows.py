"""The row and the events that tell of a tenant's directory.

row     directory            the directory that the journal last told of, in canonical form   id: directory
event   permissions_changed  {changes: [{who, what, before, after}], digest_before, digest_after, gateway}
event   directory_refused    {what: digest of the file, reason, detail, gateway}
"""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from aegis.crypto.digest import sha256
from aegis.identity.directory import Directory
from aegis.identity.permissions import canonical, changes
from aegis.journal.store import Store
from aegis.journal.unit import Put, Require, Unit
from aegis.model.event import Event, Stored
from aegis.runtime.record import text

KIND = "directory"
CHANGED, REFUSED = "permissions_changed", "directory_refused"
PAGE = 1000
LONGEST = 256


class Told(Struct, frozen=True, kw_only=True):
    """The directory that the journal last told of; none in a row that cannot be read."""

    directory: Directory | None
    digest: str
    version: int


async def last(store: Store, tenant: str) -> Told | None:
    """What the journal last told of."""
    row = (await store.rows(tenant, [(KIND, KIND)])).get((KIND, KIND))
    if row is None:
        return None
    try:
        found = msgspec.json.decode(row.body, type=Directory)
    except msgspec.DecodeError:
        found = None
    return Told(directory=found, digest=sha256(row.body), version=row.version)


def changed(tenant: str, told: Told | None, directory: Directory, *, now: datetime, instance: str) -> Unit:
    """The row of a directory and the event of what changed in it, if nobody wrote the row since it was read."""
    version, body = told.version if told else 0, canonical(directory)
    data = {
        "changes": [_short(msgspec.to_builtins(each)) for each in changes(told.directory if told else None, directory)],
        "digest_before": told.digest if told else "",
        "digest_after": sha256(body),
        "gateway": instance,
    }
    event = Event(id=f"permissions:{version + 1:010d}", type=CHANGED, tenant=tenant, time=now, data=data)
    return Unit(
        tenant=tenant,
        events=(event,),
        requires=(Require(kind=KIND, id=KIND, version=version),),
        writes=(Put(kind=KIND, id=KIND, body=body, state="told"),),
    )


def refused(tenant: str, told: Told | None, what: str, reason: str, detail: str, *, now: datetime, instance: str) -> Event:
    """The event of a file that is not taken: one for each content that lies there after the same directory."""
    data = {"what": what, "reason": reason, "detail": text(detail, 512), "gateway": instance}
    event_id = f"directory-refused:{told.version if told else 0:010d}:{what.removeprefix('sha256:')[:32]}"
    return Event(id=event_id, type=REFUSED, tenant=tenant, time=now, data=data)


async def history(store: Store, tenant: str) -> AsyncIterator[Stored]:
    """Every event about the tenant's directory, newest first."""
    after = -1
    while page := await store.events(tenant, after=after, limit=PAGE, newest_first=True):
        for event in page:
            if event.type in (CHANGED, REFUSED):
                yield event
        after = page[-1].seq
        if after == 0:
            return


def _short(value: Any) -> Any:
    """Free text as an event may hold it."""
    if isinstance(value, dict):
        return {name: _short(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_short(inner) for inner in value]
    return text(value, LONGEST) if isinstance(value, str) else value
