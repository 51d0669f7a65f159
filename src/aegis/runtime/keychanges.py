"""Brings the keys of this host to the verifier, and writes down what changed in them.

A change of `public.json` is in force before it is recorded: a key that must be out is not kept in because the store does not
answer, and nothing is decided while it does not. Each tenant's journal then tells of the tenant's own keys, each with what was
before and what is now; the first such event of a tenant tells what was trusted from the beginning. Its commit requires that the row
stands as it was read, so that of several processes exactly one tells of a change.

A file that cannot be trusted leaves the set that was good in force. That is an event of the system's journal and, for as long as it
lasts, a trouble of `/readyz`; it is never an empty set.
"""

import asyncio
from datetime import datetime
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from aegis.errors import ConfigError
from aegis.identity.keyset import KeyEntry, KeySet
from aegis.identity.verify import Verifier
from aegis.journal.store import Store
from aegis.journal.unit import Committed, Put, Require, Row, Unit
from aegis.model.event import SYSTEM_TENANT, Event, instant
from aegis.runtime import ids
from aegis.runtime.clock import Clock
from aegis.runtime.record import text
from aegis.runtime.tenant import Snapshot

KIND = ROW = "public-keys"
ATTEMPTS = 8
MAX_WHY = 1000


class Ring(Protocol):
    """The keys of this host."""

    @property
    def keys(self) -> KeySet:
        """The public keys that are in force."""

    def refresh(self) -> bool:
        """Look at the file; whether others are in force now. Raises `ConfigError` when the file is not good."""


class Key(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a journal tells of a public key of its tenant."""

    kid: str
    key_class: str = msgspec.field(name="class")
    owner: str = ""
    not_before: str
    not_after: str = ""


class KeyChanges:
    """Follows the keys for every tenant of a snapshot."""

    def __init__(self, *, store: Store, clock: Clock, snapshot: Snapshot, ring: Ring, verifier: Verifier, instance: str) -> None:
        self._store = store
        self._clock = clock
        self._snapshot = snapshot
        self._ring = ring
        self._verifier = verifier
        self._instance = instance
        self._told: dict[str, tuple[Key, ...]] = {}
        self._refused = ""
        self._turn = asyncio.Lock()

    async def refresh(self) -> None:
        """One turn: what is new in the file is in force when this returns, and recorded.

        Raises:
            ConfigError: The file is not good; what was in force still is.
        """
        async with self._turn:
            try:
                await asyncio.to_thread(self._ring.refresh)
            except ConfigError as error:
                await self._refuse(str(error))
                raise
            finally:
                self._verifier.swap(self._ring.keys)  # others may have looked at the file, and found it changed
            self._refused = ""
            for tenant in self._snapshot:
                await self._record(tenant.name)

    async def _record(self, tenant: str) -> None:
        """Write down what the journal does not tell yet; what the store does not take now is written at a later turn."""
        now = tuple(_key(entry) for entry in self._ring.keys.entries() if entry.tenant == tenant)
        if self._told.get(tenant) == now:
            return
        ref = (KIND, ROW)
        for _ in range(ATTEMPTS):
            row = (await self._store.rows(tenant, [ref])).get(ref)
            before = _read(row)
            if before != now:
                unit = self._change(tenant, row.version if row else 0, before, now)
                if not isinstance(await self._store.commit(unit), Committed):
                    continue
            self._told[tenant] = now
            return

    def _change(self, tenant: str, version: int, before: tuple[Key, ...], now: tuple[Key, ...]) -> Unit:
        data = {"changes": changes(before, now), "gateway": self._instance}
        event = Event(id=f"keys-changed:{version + 1}", type="keys_changed", tenant=tenant, time=self._clock.now(), data=data)
        return Unit(
            tenant=tenant,
            events=(event,),
            requires=(Require(kind=KIND, id=ROW, version=version),),
            writes=(Put(kind=KIND, id=ROW, body=msgspec.json.encode(now)),),
        )

    async def _refuse(self, why: str) -> None:
        if why == self._refused:
            return
        now = self._clock.now()
        data = {"why": text(why, MAX_WHY), "gateway": self._instance}
        event = Event(id=f"keys-refused:{ids.uuid7(now)}", type="keys_refused", tenant=SYSTEM_TENANT, time=now, data=data)
        await self._store.commit(Unit(tenant=SYSTEM_TENANT, events=(event,)))
        self._refused = why


def changes(before: tuple[Key, ...], now: tuple[Key, ...]) -> list[dict[str, Any]]:
    """Each key that is not as it was, with what was told of it and what is now; `None` when there was or is no such key."""
    old, new = {key.kid: key for key in before}, {key.kid: key for key in now}
    order = [key.kid for key in (*before, *(key for key in now if key.kid not in old))]
    return [
        {"kid": kid, "before": _told(old.get(kid)), "after": _told(new.get(kid))} for kid in order if old.get(kid) != new.get(kid)
    ]


def _read(row: Row | None) -> tuple[Key, ...]:
    try:
        return msgspec.json.decode(row.body, type=tuple[Key, ...]) if row else ()
    except msgspec.DecodeError:
        return ()  # what a damaged row told is told again


def _told(key: Key | None) -> dict[str, Any] | None:
    return {name: value for name, value in msgspec.to_builtins(key).items() if name != "kid"} if key else None


def _key(entry: KeyEntry) -> Key:
    return Key(
        kid=entry.kid,
        key_class=entry.key_class,
        owner=entry.owner,
        not_before=_when(entry.not_before),
        not_after=_when(entry.not_after),
    )


def _when(time: datetime | None) -> str:
    return instant(time) if time else ""
