"""One envelope for everything that the journal holds.

The body of an event is what `canon` turns into bytes: its position `seq` and its tenant are inside, so a row cannot be moved.
Types and fields are only ever added; a meaning that changes gets a new type.
"""

from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from aegis.crypto.canonical import canon

VERSION = 1
SYSTEM_TENANT = "_system"


class Event(Struct, frozen=True, kw_only=True):
    """Something that happened, before the journal gives it a place.

    `id` is unique in its tenant: committing an id that exists returns the stored event. `data` holds public fields and digests
    only, never an argument or a result; those are sealed beside the event (`journal.unit.Payload`).
    """

    id: str
    type: str
    tenant: str
    time: datetime
    request_id: str = ""
    data: dict[str, Any] = {}


class Stored(Struct, frozen=True, kw_only=True):
    """An event at its place. `body` are the canonical bytes; `digest` is over them."""

    tenant: str
    seq: int
    id: str
    type: str
    time: datetime
    request_id: str
    body: bytes
    digest: str


def origin(tenant: str) -> str:
    """Name of a tenant's log, as checkpoints will carry it."""
    return f"aegis.{tenant}/audit/1"


def encode(event: Event, seq: int) -> bytes:
    """Canonical bytes of `event` at `seq` (from 0, without gaps)."""
    return canon(
        {
            **event.data,
            "v": VERSION,
            "origin": origin(event.tenant),
            "tenant": event.tenant,
            "seq": seq,
            "id": event.id,
            "type": event.type,
            "time": instant(event.time),
            "request_id": event.request_id,
        }
    )


def instant(time: datetime) -> str:
    """RFC 3339 in UTC with microseconds, so that text order is time order."""
    return (
        time.astimezone(UTC).isoformat(timespec="microseconds")[: -len("+00:00")] + "Z"
    )  # `%Y` would not fill years up to four digits
