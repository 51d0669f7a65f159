"""An archive in the place of the journal: what was let go of is explained, and decided anew, as if it were still there.

Everything but events and payloads comes from the store beside it, above all the data keys: what was erased is erased in archives
too. Whoever opens an archive verifies it first. It is held in memory whole.
"""

from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from aegis.adapters import archivefiles
from aegis.crypto.digest import sha256
from aegis.errors import ConfigError
from aegis.journal.store import Store
from aegis.journal.unit import Payload
from aegis.model.event import Stored


class Archived:
    """A store whose events of one tenant are those of an archive, and of all other tenants none."""

    def __init__(self, store: Store, path: Path) -> None:
        self._store = store
        self._events = [_stored(path, body) for body in archivefiles.events(path)]
        self._by_id = {(event.tenant, event.id): event for event in self._events}
        self._payloads = {(each.event_id, each.name): each for each in archivefiles.payloads(path)}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def event(self, tenant: str, event_id: str) -> Stored | None:
        """The event of this id."""
        return self._by_id.get((tenant, event_id))

    async def events(
        self,
        tenant: str,
        *,
        request_id: str | None = None,
        after: int = -1,
        limit: int = 1000,
        newest_first: bool = False,
    ) -> tuple[Stored, ...]:
        """As the store gives them."""
        past = newest_first and after >= 0
        found = (
            event
            for event in (reversed(self._events) if newest_first else self._events)
            if event.tenant == tenant
            and request_id in (None, event.request_id)
            and (event.seq < after if past else newest_first or event.seq > after)
        )
        return tuple(event for event, _ in zip(found, range(limit), strict=False))

    async def payload(self, tenant: str, event_id: str, name: str) -> Payload | None:
        """What was sealed beside an event."""
        return self._payloads.get((event_id, name)) if (tenant, event_id) in self._by_id else None


def _stored(path: Path, body: bytes) -> Stored:
    try:
        told = msgspec.json.decode(body)
        return Stored(
            tenant=told["tenant"],
            seq=told["seq"],
            id=told["id"],
            type=told["type"],
            time=datetime.fromisoformat(told["time"]),
            request_id=told["request_id"],
            body=body,
            digest=sha256(body),
        )
    except (ValueError, LookupError, TypeError):
        raise ConfigError(f"`{path}` holds a line that is no event: `aegis-verify` names it") from None
