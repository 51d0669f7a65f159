"""The row and the events that tell of a tenant's directory.

row     directory            the directory that the journal last told of, in canonical form   id: directory
row     directory-refused    a file that was not taken                                         id: that of its event
event   permissions_changed  {changes: [{who, what, before, after}], digest_before, digest_after, gateway}
event   directory_refused    {what: digest of the file, reason, detail, gateway}
"""

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

KIND, REFUSAL = "directory", "directory-refused"
CHANGED, REFUSED = "permissions_changed", "directory_refused"
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
    event = Event(id=_changed_id(version + 1), type=CHANGED, tenant=tenant, time=now, data=data)
    return Unit(
        tenant=tenant,
        events=(event,),
        requires=(Require(kind=KIND, id=KIND, version=version),),
        writes=(Put(kind=KIND, id=KIND, body=body, state="told"),),
    )


def refused(tenant: str, told: Told | None, what: str, reason: str, detail: str, *, now: datetime, instance: str) -> Unit:
    """The row and the event of a file that is not taken: one for each content that lies there after the same directory."""
    data = {"what": what, "reason": reason, "detail": text(detail, 512), "gateway": instance}
    event_id = f"directory-refused:{told.version if told else 0:010d}:{what.removeprefix('sha256:')[:32]}"
    event = Event(id=event_id, type=REFUSED, tenant=tenant, time=now, data=data)
    return Unit(tenant=tenant, events=(event,), writes=(Put(kind=REFUSAL, id=event_id, body=b"{}", state="told"),))


async def history(store: Store, tenant: str, most: int) -> list[Stored]:
    """The events about the tenant's directory, newest first."""
    told = await last(store, tenant)
    newest = told.version if told else 0
    names = [_changed_id(version) for version in range(newest, max(0, newest - most), -1)]
    names += [row.id for row in await store.find(tenant, REFUSAL, limit=100_000)]
    found = [event for name in names if (event := await store.event(tenant, name)) is not None]
    return sorted(found, key=lambda event: event.seq, reverse=True)[:most]


def _changed_id(version: int) -> str:
    return f"permissions:{version:010d}"


def _short(value: Any) -> Any:
    """Free text as an event may hold it."""
    if isinstance(value, dict):
        return {name: _short(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_short(inner) for inner in value]
    return text(value, LONGEST) if isinstance(value, str) else value
