"""What was taken back: everything issued to somebody before an instant, one token with all that hangs on it, or one key.

Rows of the system tenant, as halts are, so that one reading tells every process on every host, which then refuses within a second.
A token is refused for as long as anything that hangs on it can live, and so are epochs: older rows are no longer read. A key is
refused for good: `public.json` may come back from a copy that still lists it.
"""

from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from aegis.journal.store import Store
from aegis.journal.unit import Put, Row, Unit
from aegis.model.event import SYSTEM_TENANT, Event
from aegis.runtime import ids
from aegis.runtime.clock import Clock
from aegis.runtime.record import text

KIND, TOKEN, KEY = "revocation", "revoked_token", "revoked_key"
NEEDED = timedelta(days=1)  # longer than anything lives that was handed on
PAGE = 1000


class Revocation(Struct, frozen=True, kw_only=True):
    """Whose tokens, and until when issued. `who` is empty for everybody of the tenant."""

    tenant: str
    who: str
    before: datetime
    reason: str
    by: str


class RevokedToken(Struct, frozen=True, kw_only=True):
    """One token of a tenant, by its `jti`."""

    tenant: str
    token_id: str
    reason: str
    by: str


class RevokedKey(Struct, frozen=True, kw_only=True):
    """One public key, whatever it is for."""

    tenant: str
    kid: str
    reason: str
    by: str


class Revocations:
    """What was revoked, and still matters."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def recent(self) -> tuple[Revocation, ...]:
        """Epochs that began lately."""
        return tuple(msgspec.json.decode(row.body, type=Revocation) for row in await self._rows(KIND, self._since()))

    async def tokens(self) -> frozenset[tuple[str, str]]:
        """Tokens that were revoked lately, by tenant and `jti`."""
        found = (msgspec.json.decode(row.body, type=RevokedToken) for row in await self._rows(TOKEN, self._since()))
        return frozenset((each.tenant, each.token_id) for each in found)

    async def keys(self) -> frozenset[str]:
        """The ids of all keys that were ever revoked."""
        return frozenset(row.id for row in await self._rows(KEY, ""))

    async def add(self, revocation: Revocation, *, statement: str = "") -> None:
        """Begin an epoch; durable when this returns."""
        put = Put(kind=KIND, id=self._timed(), body=msgspec.json.encode(revocation), state="active", lookup=revocation.tenant)
        await self._commit(put, revocation, {"who": revocation.who}, statement)

    async def add_token(self, revoked: RevokedToken, *, statement: str = "") -> None:
        """Revoke a token and everything below it; durable when this returns."""
        put = Put(kind=TOKEN, id=self._timed(), body=msgspec.json.encode(revoked), state="active", lookup=revoked.token_id)
        await self._commit(put, revoked, {"token": text(revoked.token_id)}, statement)

    async def add_key(self, revoked: RevokedKey, *, statement: str = "") -> None:
        """Revoke a key for good; durable when this returns."""
        put = Put(kind=KEY, id=revoked.kid, body=msgspec.json.encode(revoked), state="active", lookup=revoked.tenant)
        await self._commit(put, revoked, {"key": text(revoked.kid)}, statement)

    async def _rows(self, kind: str, after: str) -> list[Row]:
        found: list[Row] = []
        while page := await self._store.find(SYSTEM_TENANT, kind, state="active", after=after, limit=PAGE):
            found += page
            after = page[-1].id
            if len(page) < PAGE:
                break
        return found

    async def _commit(self, put: Put, said: Revocation | RevokedToken | RevokedKey, what: dict[str, Any], statement: str) -> None:
        now = self._clock.now()
        data = {"on_tenant": said.tenant, **what, "reason": text(said.reason), "by": said.by, "statement": statement}
        event = Event(id=f"revoked:{ids.uuid7(now)}", type="revoked", tenant=SYSTEM_TENANT, time=now, data=data)
        await self._store.commit(Unit(tenant=SYSTEM_TENANT, events=(event,), writes=(put,)))

    def _timed(self) -> str:
        now = self._clock.now()
        return f"{now:%Y%m%dT%H%M%S}-{ids.uuid7(now)}"

    def _since(self) -> str:
        return f"{self._clock.now() - NEEDED:%Y%m%dT%H%M%S}"
