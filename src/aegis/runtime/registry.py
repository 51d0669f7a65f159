"""The registry of policy bundles: immutable signed versions of each tenant, and which of them decides.

A version is written once. What decides is a row of the system tenant, so that one reading tells a process about all tenants. Each
change stands in the journal; the event of an activation bears its counter in its id, so that a row which somebody put back to an
older state contradicts the journal. Nothing here is believed: whoever reads verifies the envelopes (`runtime.candidates`).
"""

import base64
from collections.abc import Callable
from datetime import datetime

import msgspec

from aegis.errors import BundleError, ConfigError
from aegis.journal.store import Store
from aegis.journal.unit import Committed, Row, Unit
from aegis.model.event import SYSTEM_TENANT, Event
from aegis.policy.bundle.archive import MAX_PACKED
from aegis.policy.bundle.statement import Activation, Release
from aegis.runtime.clock import Clock
from aegis.runtime.record import text
from aegis.runtime.registry_rows import (
    ACTIVE,
    CHANGE,
    HEAD,
    PART,
    VERSION,
    Active,
    Signed,
    Version,
    activated,
    event_id,
    ordinal,
    part_id,
    pushed,
)

ATTEMPTS = 8


class Registry:
    """The versions and activations in one store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def push(self, tenant: str, packed: bytes, made: Callable[[int, datetime], Signed], *, statement: str = "") -> Release:
        """Store a version under the next number; `made` signs its release for the number that it gets.

        Raises:
            BundleError: `size`.
            ConfigError: Others push at the same moment.
        """
        if len(packed) > MAX_PACKED:
            raise BundleError("size", f"a bundle has at most {MAX_PACKED} bytes, found {len(packed)}")
        for _ in range(ATTEMPTS):
            number, now = await self.last(tenant) + 1, self._clock.now()
            signed = made(number, now)
            if isinstance(await self._store.commit(pushed(signed, packed, now, statement)), Committed):
                found: Release = signed.statement
                return found
        raise ConfigError(f"others are pushing versions of tenant `{tenant}` at this moment: try again")

    async def last(self, tenant: str) -> int:
        """The number of the newest version; 0 when there is none."""
        row = (await self._store.rows(tenant, [(HEAD, HEAD)])).get((HEAD, HEAD))
        return row.version if row else 0

    async def versions(self, tenant: str, *, after: int = 0, limit: int = 1000) -> tuple[Version, ...]:
        """Versions in order of their number, after the number `after`."""
        rows = await self._store.find(tenant, VERSION, after=ordinal(after), limit=limit)
        return tuple(msgspec.json.decode(row.body, type=Version) for row in rows)

    async def version(self, tenant: str, number: int) -> Version | None:
        """One version."""
        ref = (VERSION, ordinal(number))
        row = (await self._store.rows(tenant, [ref])).get(ref)
        return msgspec.json.decode(row.body, type=Version) if row else None

    async def packed(self, tenant: str, number: int) -> bytes:
        """The bundle of a version, as it was pushed.

        Raises:
            BundleError: `missing`.
        """
        found = await self.version(tenant, number)
        refs = [(PART, part_id(number, index)) for index in range(found.parts if found else 0)]
        rows = await self._store.rows(tenant, refs)
        if found is None or len(rows) != len(refs):
            raise BundleError("missing", f"version {number} of tenant `{tenant}` is not in the registry, or not whole")
        try:
            return b"".join(base64.b64decode(msgspec.json.decode(rows[ref].body, type=str), validate=True) for ref in refs)
        except (ValueError, msgspec.DecodeError):
            raise BundleError("missing", f"version {number} of tenant `{tenant}` is damaged in the registry") from None

    async def activate(self, tenant: str, made: Callable[[Active | None, datetime], Signed], *, statement: str = "") -> Activation:
        """Make an activation the newest; `made` signs it, knowing the one before.

        Raises:
            ConfigError: Others change what is active at the same moment.
        """
        for _ in range(ATTEMPTS):
            former, now = await self.active_of(tenant), self._clock.now()
            signed = made(former, now)
            if isinstance(await self._store.commit(activated(signed, former, now, statement)), Committed):
                found: Activation = signed.statement
                return found
        raise ConfigError(f"others are changing what is active for tenant `{tenant}` at this moment: look at it and try again")

    async def marks(self) -> dict[str, int]:
        """For every tenant that has an activation, in one reading, the version of its row: another number means a change."""
        rows = await self._store.find(SYSTEM_TENANT, ACTIVE, state="active", limit=100_000)
        return {row.id: row.version for row in rows}

    async def active_of(self, tenant: str) -> Active | None:
        """The newest activation of one tenant."""
        ref = (ACTIVE, tenant)
        row = (await self._store.rows(SYSTEM_TENANT, [ref])).get(ref)
        return _active(row) if row else None

    async def changes(self, tenant: str) -> tuple[Active, ...]:
        """Every activation of a tenant, oldest first."""
        rows = await self._store.find(SYSTEM_TENANT, CHANGE, lookup=tenant, limit=100_000)
        return tuple(msgspec.json.decode(row.body, type=Active) for row in rows)

    async def journaled(self, tenant: str, counter: int) -> bool:
        """Whether the journal tells of an activation with this counter."""
        return await self._store.event(SYSTEM_TENANT, event_id(tenant, counter)) is not None

    async def refused(self, tenant: str, what: str, reason: str, detail: str, instance: str) -> None:
        """Record, once for each process, that it refuses to serve `what` (an activation or the files)."""
        now = self._clock.now()
        data = {"on_tenant": tenant, "what": what, "reason": reason, "detail": text(detail, 512), "gateway": instance}
        event = Event(
            id=f"policy-refused:{tenant}:{what}:{instance}", type="policy_refused", tenant=SYSTEM_TENANT, time=now, data=data
        )
        await self._store.commit(Unit(tenant=SYSTEM_TENANT, events=(event,)))


def _active(row: Row) -> Active:
    """What a row says, of the tenant that it stands under; one that cannot be read is signed by nobody."""
    try:
        found = msgspec.json.decode(row.body, type=Active)
    except msgspec.DecodeError:
        found = Active(tenant=row.id, counter=0, envelope="")
    return msgspec.structs.replace(found, tenant=row.id, version=row.version)
