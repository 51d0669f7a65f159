"""Revocation: what was issued before an instant to an agent, a person or a tenant is refused, by every process within a second.

Rows of the system tenant, as halts are. A row is needed for as long as the longest token lives; after that the tokens that it is
about have expired by themselves, so only recent ones are read.
"""

from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from aegis.journal.store import Store
from aegis.journal.unit import Put, Unit
from aegis.model.event import SYSTEM_TENANT, Event
from aegis.runtime import ids
from aegis.runtime.clock import Clock
from aegis.runtime.record import text

KIND = "revocation"
NEEDED = timedelta(minutes=20)


class Revocation(Struct, frozen=True, kw_only=True):
    """Whose tokens, and until when issued. `who` is empty for everybody of the tenant."""

    tenant: str
    who: str
    before: datetime
    reason: str
    by: str


class Revocations:
    """What was revoked lately."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def recent(self) -> tuple[Revocation, ...]:
        """Revocations that can still matter."""
        since = self._clock.now() - NEEDED
        rows = await self._store.find(SYSTEM_TENANT, KIND, state="active", after=f"{since:%Y%m%dT%H%M%S}", limit=100_000)
        return tuple(msgspec.json.decode(row.body, type=Revocation) for row in rows)

    async def add(self, revocation: Revocation, *, statement: str = "") -> None:
        """Revoke; durable when this returns."""
        now = self._clock.now()
        row_id = f"{now:%Y%m%dT%H%M%S}-{ids.uuid7(now)}"
        data = {
            "on_tenant": revocation.tenant,
            "who": revocation.who,
            "reason": text(revocation.reason),
            "by": revocation.by,
            "statement": statement,
        }
        await self._store.commit(
            Unit(
                tenant=SYSTEM_TENANT,
                events=(Event(id=f"revoked:{row_id}", type="revoked", tenant=SYSTEM_TENANT, time=now, data=data),),
                writes=(Put(kind=KIND, id=row_id, body=msgspec.json.encode(revocation), state="active", lookup=revocation.tenant),),
            )
        )
