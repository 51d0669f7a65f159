"""Brings the keys of this host to the verifier, and writes down what changed in them.

A change of `public.json` is in force before it is recorded: a key that must be out is not kept in because the store does not
answer, and nothing is decided while it does not. Each tenant's journal then tells of the tenant's own keys, each with what was
before and what is now; the first such event of a tenant tells what was trusted from the beginning. Its commit requires that the row
stands as it was read, so that of several processes exactly one tells of a change.

Where the host has a root, the system's journal remembers it and the version that it signed. A start with another root, or with an
older version, is refused until a person accepts it.

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
PINNED = "root"
ATTEMPTS = 8
MAX_WHY = 1000
_ACCEPT = "if that is meant, a person says so with `aegis keys root accept`"


class Ring(Protocol):
    """The keys of this host."""

    version: int
    root: str

    @property
    def keys(self) -> KeySet:
        """The public keys that are in force: this `version`, signed by this `root` (its digest); 0 and empty without a root."""

    def refresh(self) -> bool:
        """Look at the file; whether others are in force now. Raises `ConfigError` when the file is not good."""


class Key(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a journal tells of a public key of its tenant."""

    kid: str
    key_class: str = msgspec.field(name="class")
    owner: str = ""
    not_before: str
    not_after: str = ""


class Pin(Struct, frozen=True, kw_only=True):
    """The root, by its digest, and the version of the keys that was in force last."""

    root: str
    version: int


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
        self._pinned: Pin | None = None
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
            await self._hold()
            for tenant in self._snapshot:
                await self._record(tenant.name)

    async def accept(self, by: str, statement: str) -> Pin:
        """Take the root and the version that lie here for the right ones from now on, on a person's word."""
        row = await self._row()
        now = Pin(root=self._ring.root, version=self._ring.version)
        if not isinstance(await self._store.commit(self._pin(row, now, {"by": by, "statement": statement})), Committed):
            raise ConfigError("others are changing the root at this moment: try again")
        return now

    async def _hold(self) -> None:
        """Hold root and version against what was in force before, wherever that was.

        Raises:
            ConfigError: The root is another one, or the version went back.
        """
        now = Pin(root=self._ring.root, version=self._ring.version)
        if now == self._pinned:
            return
        for _ in range(ATTEMPTS):
            row = await self._row()
            before = msgspec.json.decode(row.body, type=Pin) if row else Pin(root="", version=0)
            if before.root not in ("", now.root):
                raise ConfigError(f"root.json is not the root that was in force: {_ACCEPT}")
            if now.version < before.version:
                raise ConfigError(f"public.json is version {now.version}; version {before.version} was in force: {_ACCEPT}")
            if (
                now == before
                or (row is None and not now.root)
                or isinstance(await self._store.commit(self._pin(row, now, {})), Committed)
            ):
                self._pinned = now
                return

    async def _row(self) -> Row | None:
        return (await self._store.rows(SYSTEM_TENANT, [(KIND, PINNED)])).get((KIND, PINNED))

    def _pin(self, row: Row | None, pin: Pin, more: dict[str, Any]) -> Unit:
        now = self._clock.now()
        data = {"root": pin.root, "version": pin.version, "gateway": self._instance, **more}
        event = Event(id=f"keys-pinned:{ids.uuid7(now)}", type="keys_pinned", tenant=SYSTEM_TENANT, time=now, data=data)
        return Unit(
            tenant=SYSTEM_TENANT,
            events=(event,),
            requires=(Require(kind=KIND, id=PINNED, version=row.version if row else 0),),
            writes=(Put(kind=KIND, id=PINNED, body=msgspec.json.encode(pin)),),
        )

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
