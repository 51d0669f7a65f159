"""Brings what is active to this process: verify, compile, try, then swap one reference.

Each turn looks at the activations of all tenants at once. One that is new is taken only if a publisher of the tenant signed it, its
counter is above the one that was seen here, the journal tells of it and of no later one, and the versions that it names are good
(`runtime.candidates`). Otherwise it is refused: that is recorded and shown, and what served goes on serving. If nothing served
(a start), everything of the tenant is denied.

A tenant without any activation is ruled by its files, which are watched: once a change has stood still for a turn it is served if
it loads, and refused in the same way if it does not. From the first enforced activation on the registry decides, and files do not.

Compiling happens in a thread. The last three generations of a tenant are kept, so that going back is immediate.
"""

import asyncio
import logging
from collections.abc import Callable, Hashable, Mapping
from enum import StrEnum

from msgspec import Struct

from aegis.crypto.digest import sha256
from aegis.errors import AegisError, BundleError, StoreError
from aegis.journal.store import Store
from aegis.model.contract import Contract
from aegis.policy.bundle.statement import Activation, Pin
from aegis.runtime.candidates import Candidates, Desk
from aegis.runtime.clock import Clock
from aegis.runtime.registry import Registry
from aegis.runtime.registry_rows import Active
from aegis.runtime.ruling import ruled
from aegis.runtime.tenant import Ruling, Snapshot, Tenant

log = logging.getLogger("aegis.policy")
EVERY_SECONDS = 0.25
GENERATIONS = 3


class Source(StrEnum):
    """Who says what decides for a tenant."""

    FILES = "files"
    REGISTRY = "registry"
    NOBODY = "nobody"


class Status(Struct, frozen=True, kw_only=True):
    """What rules a tenant in this process, and what it refuses to serve. Numbers of versions; 0 is none, or the files."""

    tenant: str
    source: Source
    enforced: int = 0
    shadow: int = 0
    name: str = ""
    digest: str = ""
    counter: int = 0
    refused: tuple[str, ...] = ()


class _Seen:
    """What this process knows about one tenant. `version` is that of the last row looked at, `counter` the activation served."""

    def __init__(self, stamp: Hashable) -> None:
        self.started = False
        self.source = Source.FILES
        self.version = 0
        self.counter = 0
        self.stamp = stamp
        self.looked = stamp
        self.refused: dict[str, str] = {}
        self.generations: dict[Pin, Ruling] = {}

    def settled(self, stamp: Hashable) -> bool:
        """Whether the files are others than those in force, and stood like that a turn ago: half a file may be a valid set."""
        before, self.looked = self.looked, stamp
        return stamp != self.stamp and stamp == before


class Rollout:
    """Follows the registry and the files for every tenant of a snapshot. `stamps` are those of the files that it was made from."""

    def __init__(
        self, *, store: Store, clock: Clock, snapshot: Snapshot, desk: Desk, instance: str, stamps: Mapping[str, Hashable]
    ) -> None:
        self.registry = Registry(store, clock)
        self.candidates = Candidates(self.registry, clock, desk)
        self._snapshot = snapshot
        self._desk = desk
        self._instance = instance
        self._seen = {tenant.name: _Seen(stamps.get(tenant.name)) for tenant in snapshot}
        self._unrecorded: list[tuple[str, str, str, str]] = []
        self._turn = asyncio.Lock()

    async def refresh(self) -> None:
        """One turn: what is new is served or refused when this returns."""
        async with self._turn:
            await self._record()
            marks = await self.registry.marks()
            for name, seen in self._seen.items():
                if not seen.started or marks.get(name, 0) != seen.version:
                    await self._follow(name, seen)
            watched = [name for name, seen in self._seen.items() if seen.source is Source.FILES]
            stamps = await asyncio.to_thread(self._desk.stamps, watched)
            for name in watched:
                if self._seen[name].settled(stamps[name]):
                    await self._try_files(name, self._seen[name], stamps[name])

    def status(self) -> tuple[Status, ...]:
        """What rules each tenant here."""
        return tuple(_status(tenant, self._seen[tenant.name]) for tenant in self._snapshot)

    def source(self, name: str) -> Source:
        """Who says what decides for a tenant."""
        return self._seen[name].source

    def _tenant(self, name: str) -> Tenant:
        found = self._snapshot.get(name)
        assert found is not None, "tenants are never taken out of a snapshot"
        return found

    async def _follow(self, name: str, seen: _Seen) -> None:
        active = await self.registry.active_of(name)
        if active is not None and active.version != seen.version:
            await self._try_activation(name, seen, active)
        elif active is None and (seen.version or await self.registry.journaled(name, 1)):
            await self._refuse(
                name, seen, "activation", "gone", BundleError("rollback", "the activation is gone from the registry")
            )
        seen.started = True

    async def _try_activation(self, name: str, seen: _Seen, active: Active) -> None:
        base = self._tenant(name)
        try:
            activation = await self._verified(name, seen, active)
            rulings = [await self._ruling(name, seen, pin) for pin in (activation.enforced, activation.shadow)]
            made = await asyncio.to_thread(self._made, base, *rulings)
        except StoreError:
            raise  # the store may answer at the next turn: nothing is held against the activation
        except Exception as error:
            if (await self.registry.active_of(name)) == active:  # else it was overtaken, and the next turn looks at the newer one
                seen.version = active.version
                await self._refuse(name, seen, "activation", str(active.counter), error)
            return
        seen.version, seen.counter = active.version, activation.counter
        seen.refused.pop("activation", None)
        if activation.enforced is not None:
            seen.source = Source.REGISTRY
            seen.refused.pop("files", None)
        elif seen.source is not Source.REGISTRY:
            seen.source = Source.FILES
        self._snapshot.put(made, base=base)
        log.info("policy activated: %s", _told(activation), extra={"tenant": name})

    def _made(self, tenant: Tenant, enforced: Ruling | None, shadow: Ruling | None) -> Tenant:
        """The tenant under these sets. Where the registry enforces none, the files go on deciding, if there are any."""
        if enforced is None:
            enforced = tenant.enforced or (self.candidates.files(tenant.name) if self._desk.has_files(tenant.name) else None)
        return ruled(tenant, enforced, shadow)

    async def _verified(self, tenant: str, seen: _Seen, active: Active) -> Activation:
        found = self.candidates.activation(active)
        if found.counter <= seen.counter:
            raise BundleError("rollback", f"expected a counter above {seen.counter}, which was seen here, found {found.counter}")
        if await self.registry.journaled(tenant, found.counter + 1):
            raise BundleError("rollback", f"counter {found.counter} is not the newest: the journal tells of a later activation")
        if found.enforced is None and seen.source is Source.REGISTRY:
            raise BundleError("activation", "it would enforce nothing, although a version is enforced")
        if not await self.registry.journaled(tenant, found.counter):
            raise BundleError("rollback", f"the journal tells of no activation with counter {found.counter}")
        return found

    async def _ruling(self, tenant: str, seen: _Seen, pin: Pin | None) -> Ruling | None:
        if pin is None:
            return None
        found = seen.generations.pop(pin, None) or await self.candidates.version(tenant, pin)
        seen.generations[pin] = found  # the newest last
        while len(seen.generations) > GENERATIONS:
            del seen.generations[next(iter(seen.generations))]
        return found

    async def _try_files(self, name: str, seen: _Seen, stamp: Hashable) -> None:
        seen.stamp, base = stamp, self._tenant(name)
        try:
            found = await asyncio.to_thread(self.candidates.files, name)
            if (await asyncio.to_thread(self._desk.stamps, [name]))[name] != stamp:
                return  # changed while it was read: a later turn looks again
            made = await asyncio.to_thread(ruled, base, found, base.shadow)
        except Exception as error:
            await self._refuse(name, seen, "files", sha256(repr(stamp).encode())[7:23], error)
            return
        mended = seen.refused.pop("files", None)
        served = self._tenant(name).enforced
        if served is None or (served.ref, served.data) != (found.ref, found.data):
            self._snapshot.put(made, base=base)
            log.info("policy files changed: %s", found.ref.digest, extra={"tenant": name})
        elif mended:
            log.info("policy files are mended, and say what serves: %s", found.ref.digest, extra={"tenant": name})

    async def recontract(self, name: str, contracts: Mapping[str, Contract], change: Callable[[Tenant], Tenant]) -> None:
        """Serve a tenant with other contracts: what `change` makes of it, under its set in files compiled with `contracts`.

        A version of the registry stays as it is: it was compiled with exactly the contracts that it was built with.

        Raises:
            AegisError: They cannot be served together; then everything stays as it was.
        """
        async with self._turn:
            base, former = self._tenant(name), self._desk.contracts(name)
            self._desk.take(name, contracts)
            try:
                made = await asyncio.to_thread(self._recontracted, base, change)
            except BaseException:
                self._desk.take(name, former)
                raise
            self._snapshot.put(made, base=base)
            if base.enforced is not None and base.enforced.number == 0:
                self._seen[name].refused.pop("files", None)

    def _recontracted(self, base: Tenant, change: Callable[[Tenant], Tenant]) -> Tenant:
        enforced = base.enforced
        if enforced is not None and enforced.number == 0:
            enforced = self.candidates.files(base.name)
        return ruled(change(base), enforced, base.shadow)

    async def _refuse(self, name: str, seen: _Seen, what: str, which: str, error: Exception) -> None:
        """What serves goes on serving. A tenant that starts with an activation that nobody can trust is denied everything."""
        reason = str(error.reason) if isinstance(error, BundleError) else str(getattr(error, "code", type(error).__name__))
        detail = str(error) if isinstance(error, AegisError) else type(error).__name__
        told = f"{what} {which}: {reason}: {detail}"
        if seen.refused.get(what) == told:
            return
        seen.refused[what] = told
        log.error("policy refused: %s", told, extra={"tenant": name, "code": reason})
        if what == "activation" and not seen.started:
            seen.source = Source.NOBODY
            base = self._tenant(name)
            self._snapshot.put(await asyncio.to_thread(ruled, base, None, None), base=base)
        self._unrecorded.append((name, f"{what}-{which}", reason, detail))
        await self._record()

    async def _record(self) -> None:
        """Record what was refused; what the store does not take now is recorded at a later turn."""
        while self._unrecorded:
            await self.registry.refused(*self._unrecorded[0], self._instance)
            self._unrecorded.pop(0)


def _told(made: Activation) -> str:
    named = ((name, pin) for name, pin in (("enforced", made.enforced), ("in shadow", made.shadow)) if pin)
    return ", ".join([f"activation {made.counter}", *(f"version {pin.number} {name}" for name, pin in named)])


def _status(tenant: Tenant, seen: _Seen) -> Status:
    enforced, shadow = tenant.enforced, tenant.shadow
    return Status(
        tenant=tenant.name,
        source=seen.source,
        enforced=enforced.number if enforced else 0,
        shadow=shadow.number if shadow else 0,
        name=tenant.policy.name,
        digest=tenant.policy.digest,
        counter=seen.counter,
        refused=tuple(seen.refused[what] for what in sorted(seen.refused)),
    )
