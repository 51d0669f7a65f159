"""Brings the contracts that lie in the folders to this process, and keeps those from serving that nobody vouches for.

Each turn looks at the files and at the pins of all tenants. What changed is taken in once it has stood still for a turn, and all of
a folder at once. For each version of a tool

- the pinned content serves, if enough publishers have signed it and, where that is demanded, a person has approved it;
- another content under the same version is quarantined: the version is denied, and everything that the process shows and compiles
  stays with what was pinned, so that no agent reads what nobody has approved;
- a version that was never seen is pinned first, and then serves.

Where contracts change, sets in files are compiled with them before they serve. A document that is wrong, a set that does not
compile any more, versions that do not say how they differ: the old contracts go on, and an event and the log say so.
"""

import asyncio
import logging
from collections.abc import Hashable, Mapping
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from aegis.errors import AegisError, StoreError
from aegis.journal.store import Store
from aegis.journal.unit import Unit
from aegis.model.contract import Contract
from aegis.model.event import SYSTEM_TENANT, Event
from aegis.model.provenance import Folder, Objection
from aegis.runtime import ids
from aegis.runtime.clock import Clock
from aegis.runtime.pins import Pin, Pins, name
from aegis.runtime.record import text
from aegis.runtime.rollout import Rollout
from aegis.runtime.standing import Standing, differing, outdated, pinned_contract, standings, still_demands
from aegis.runtime.tenant import Snapshot, Tenant

log = logging.getLogger("aegis.tools")
EVERY_SECONDS = 0.25
TURNS_TO_RETRY = 8
LOOKS = 400
"""Folders that one turn looks at, at most: of more tenants each has its turn, and one that has just changed is looked at again."""
DOCUMENTS, SERVING = "documents", "serving"


class Shelf(Protocol):
    """The folders of the tenants on this host."""

    def stamp(self, tenant: str, now: datetime) -> Hashable:
        """Something that changes when a file of the folder does, or when another key may sign."""

    def folder(self, tenant: str, now: datetime) -> Folder:
        """What lies there; raises an `AegisError` when a document is wrong."""


class Fitting(Struct, frozen=True, kw_only=True):
    """What a tenant is to serve: contracts, what stands against each by digest, and contracts that calls under way still need."""

    contracts: tuple[Contract, ...]
    standing: Mapping[str, Objection | None]
    former: tuple[Contract, ...] = ()


class Hands(Protocol):
    """What the host does with contracts, because it knows all the parts that read them."""

    def hold(self, tenant: Tenant, standing: Mapping[str, Objection | None]) -> Tenant:
        """The tenant with other objections to the contracts that it has."""

    def fit(self, tenant: Tenant, wanted: Fitting) -> Tenant:
        """The tenant with other contracts; raises an `AegisError` when they cannot be served together."""

    def learn(self, tenant: str, contracts: tuple[Contract, ...]) -> None:
        """Be ready to speak to these tools, and to compile bundles that were built with these contracts."""


class _Seen:
    """What this process knows about the folder of one tenant."""

    def __init__(self, stamp: Hashable, serving: tuple[Contract, ...]) -> None:
        self.stamp = stamp
        self.looked = stamp
        self.folder: Folder | None = None
        self.serving = serving
        self.differing: frozenset[str] | None = None
        self.refused: dict[str, str] = {}
        self.turns = 0
        self.open = False

    def settled(self, stamp: Hashable) -> bool:
        """Whether the files are others than those that were read, and stood like that a turn ago."""
        before, self.looked = self.looked, stamp
        return stamp != self.stamp and stamp == before

    @property
    def moving(self) -> bool:
        """Whether the files were others at the last look, and have to stand still for a turn."""
        return self.looked != self.stamp

    def due(self) -> bool:
        """Whether to try again: the store did not take everything, or what could not be served may fit the policies by now."""
        self.turns += 1
        return self.open or (SERVING in self.refused and self.turns % TURNS_TO_RETRY == 0)


class Toolbox:
    """Follows the folders of a snapshot. `stamps` are those of the files that it was made from."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        snapshot: Snapshot,
        shelf: Shelf,
        hands: Hands,
        rollout: Rollout,
        instance: str,
        stamps: Mapping[str, Hashable],
    ) -> None:
        self.pins = Pins(store, clock, instance)
        self._store = store
        self._clock = clock
        self._snapshot = snapshot
        self._shelf = shelf
        self._hands = hands
        self._rollout = rollout
        self._instance = instance
        self._seen = {tenant.name: _Seen(stamps.get(tenant.name), tuple(tenant.by_digest.values())) for tenant in snapshot}
        self._unrecorded: list[Event] = []
        self._at = 0
        self._turn = asyncio.Lock()

    async def recall(self) -> None:
        """Know the contracts that are or were pinned and lie here no longer: versions of the registry may be built with them."""
        await self.pins.refresh()
        former = await self.pins.former()
        for tenant in self._seen:
            missing = {pin.digest for pin in self.pins.of(tenant).values()} - self._tenant(tenant).by_digest.keys()
            texts = {**former.get(tenant, {}), **await self.pins.texts(tenant, missing)}
            self._hands.learn(tenant, tuple(each for each in map(pinned_contract, texts.values()) if each is not None))

    async def start(self) -> None:
        """Pin what was never seen, before the first call; what does not stand does not serve when this returns."""
        async with self._turn:
            await self.pins.refresh()
            now = self._clock.now()
            for tenant, seen in self._seen.items():
                seen.folder = await asyncio.to_thread(self._shelf.folder, tenant, now)
            await self.pins.first(each for seen in self._seen.values() if seen.folder for each in seen.folder.manifests)
            for tenant, seen in self._seen.items():
                await self._settle(tenant, seen)

    async def refresh(self) -> None:
        """One turn: what is new serves, is quarantined or refused when this returns."""
        async with self._turn:
            await self._write_down()
            changed = await self.pins.refresh()
            stamps = await asyncio.to_thread(self._stamps, self._next())
            for tenant in changed & self._seen.keys():
                self._seen[tenant].open = True  # whatever fails below, a later turn looks again
            for tenant, seen in self._seen.items():
                if tenant in stamps and seen.settled(stamps[tenant]):
                    await self._look(tenant, seen, stamps[tenant])
                elif seen.due():
                    await self._settle(tenant, seen)

    def refused(self) -> dict[str, tuple[str, ...]]:
        """By tenant, why what lies in its folder is not served."""
        return {tenant: tuple(seen.refused.values()) for tenant, seen in self._seen.items() if seen.refused}

    def demanding(self, tenant: str) -> bool:
        """Whether the tenant has a document, as last read, that says what it demands."""
        seen = self._seen.get(tenant)
        return seen is not None and seen.folder is not None and seen.folder.trust.stated

    def _next(self) -> list[str]:
        """The tenants to look at in this turn."""
        names = list(self._seen)
        at, self._at = self._at, (self._at + LOOKS) % max(len(names), 1)
        turn = (names + names)[at : at + min(LOOKS, len(names))]
        return list(dict.fromkeys([*turn, *(tenant for tenant, seen in self._seen.items() if seen.moving)]))

    def _stamps(self, tenants: list[str]) -> dict[str, Hashable]:
        now = self._clock.now()
        return {tenant: self._shelf.stamp(tenant, now) for tenant in tenants}

    async def _look(self, tenant: str, seen: _Seen, stamp: Hashable) -> None:
        """Take in what lies in the folder now."""
        now = self._clock.now()
        try:
            found = await asyncio.to_thread(self._shelf.folder, tenant, now)
            still_demands(tenant, seen.folder, found)
        except Exception as error:
            seen.stamp = stamp
            await self._refuse(tenant, seen, DOCUMENTS, error)
            return
        if await asyncio.to_thread(self._shelf.stamp, tenant, now) != stamp:
            return  # changed while it was read: a later turn looks again
        await self.pins.first(found.manifests)
        seen.stamp, seen.folder = stamp, found
        seen.refused.pop(DOCUMENTS, None)
        await self._settle(tenant, seen)

    async def _settle(self, tenant: str, seen: _Seen) -> None:
        """Bring what serves in line with the folder and the pins: first what denies, then what is new, then the record of it."""
        if seen.folder is None:
            return
        seen.open = True
        base, pins = self._tenant(tenant), self.pins.of(tenant)
        # A version of the registry may be built with a contract before that serves here.
        self._hands.learn(tenant, tuple(each.contract for each in seen.folder.manifests))
        stood = standings(seen.folder, pins, await self._pinned(base, seen.folder, pins))
        wanted = {each.contract.digest: each.objection for each in stood}
        going = {each.digest: outdated(each, pins) for each in seen.serving if each.digest not in wanted}
        self._snapshot.put(self._hands.hold(base, {**going, **wanted}), base=base)
        if {each.digest for each in seen.serving} != wanted.keys() or SERVING in seen.refused:
            await self._fit(tenant, seen, tuple(each.contract for each in stood), wanted)
        await self._record(seen, stood, pins)
        seen.open = False

    async def _fit(
        self, tenant: str, seen: _Seen, contracts: tuple[Contract, ...], standing: Mapping[str, Objection | None]
    ) -> None:
        """Serve these contracts, or go on with those that serve."""
        known = {**self._tenant(tenant).by_digest, **{each.digest: each for each in contracts}}
        former = tuple(each for digest, each in known.items() if digest not in standing)
        wanted = Fitting(contracts=contracts, standing=standing, former=former)
        self._hands.learn(tenant, contracts)
        try:
            by_digest = {each.digest: each for each in contracts}
            await self._rollout.recontract(tenant, by_digest, lambda base: self._hands.fit(base, wanted))
        except StoreError:
            raise
        except Exception as error:
            await self._refuse(tenant, seen, SERVING, error)
            return
        seen.serving = contracts
        seen.refused.pop(SERVING, None)
        log.info("contracts changed: %s", ", ".join(sorted(map(name, contracts))), extra={"tenant": tenant})

    async def _pinned(self, base: Tenant, folder: Folder, pins: Mapping[str, Pin]) -> dict[str, Contract]:
        """The contracts that stand for versions whose files say something else now, by digest."""
        others = {pin.digest for pin, _ in differing(folder, pins)}
        found = {digest: base.by_digest[digest] for digest in others if digest in base.by_digest}
        for digest, stated in (await self.pins.texts(base.name, others - found.keys())).items():
            read = pinned_contract(stated)
            if read is not None and read.digest == digest:
                found[digest] = read
        return found

    async def _record(self, seen: _Seen, stood: list[Standing], pins: Mapping[str, Pin]) -> None:
        """Write down which versions were found changed, and which are again what they were."""
        for each in stood:
            pin = pins.get(name(each.contract))
            here = seen.differing is None or name(each.contract) in seen.differing
            if pin is not None and pin.found != each.found and (each.found or here):
                await self.pins.report(pin, each.found)
                log.warning("%s %s", "quarantined:" if each.found else "restored:", pin.name, extra={"tenant": pin.tenant})
        seen.differing = frozenset(name(each.contract) for each in stood if each.found)

    async def _refuse(self, tenant: str, seen: _Seen, what: str, error: Exception) -> None:
        """What serves goes on serving; each new reason is an event."""
        detail = str(error) if isinstance(error, AegisError) else type(error).__name__
        if seen.refused.get(what) == detail:
            return
        seen.refused[what] = detail
        log.error("contracts refused: %s", detail, extra={"tenant": tenant}, exc_info=not isinstance(error, AegisError))
        now = self._clock.now()
        data = {"on_tenant": tenant, "what": what, "detail": text(detail, 2000), "gateway": self._instance}
        self._unrecorded.append(
            Event(id=f"contracts_refused:{ids.uuid7(now)}", type="contracts_refused", tenant=SYSTEM_TENANT, time=now, data=data)
        )
        await self._write_down()

    async def _write_down(self) -> None:
        """Record what was refused; what the store does not take now is recorded at a later turn."""
        while self._unrecorded:
            await self._store.commit(Unit(tenant=SYSTEM_TENANT, events=(self._unrecorded[0],)))
            self._unrecorded.pop(0)

    def _tenant(self, tenant: str) -> Tenant:
        found = self._snapshot.get(tenant)
        assert found is not None, "tenants are never taken out of a snapshot"
        return found
