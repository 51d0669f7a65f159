"""Brings what is active to this process: verify, compile, try, then swap one reference.

Each turn reads the activations of all tenants at once. One that is new is taken only if all of this holds: a publisher of the
tenant signed it; its counter is not below one that was seen here, and the journal tells of no later one; the release and the bundle
that it names are signed, whole and of this tenant; the set compiles to what was signed, with the contracts that are at hand; its
tests pass. Otherwise it is refused: that is recorded and shown, and what served goes on serving. If nothing served (a start),
everything of the tenant is denied.

A tenant without any activation is ruled by its files, which are watched: a change that loads is served within a second, one that
does not is refused in the same way. From the first enforced activation on the registry decides and the files do not.

Compiling happens in a thread. The last three generations of a tenant are kept, so that going back is immediate.
"""

import asyncio
import logging
from collections.abc import Hashable, Iterable, Mapping
from enum import StrEnum
from typing import Any, Protocol

from msgspec import Struct

from aegis.crypto.digest import sha256
from aegis.errors import AegisError, BundleError, StoreError
from aegis.identity.keyset import KeySet
from aegis.journal.store import Store
from aegis.model.decision import PolicyRef
from aegis.policy.bundle.bundle import Bundle, load
from aegis.policy.bundle.statement import Activation, Pin, Release, read_activation, read_release
from aegis.policy.ir import Policy
from aegis.runtime.clock import Clock
from aegis.runtime.registry import Active, Registry
from aegis.runtime.ruling import ruled
from aegis.runtime.tenant import Ruling, Snapshot, Tenant

log = logging.getLogger("aegis.policy")
EVERY_SECONDS = 0.25
GENERATIONS = 3


class Desk(Protocol):
    """What the host knows about policies: its files, its contracts, its keys, and how a set is tried."""

    def stamps(self, tenants: Iterable[str]) -> dict[str, Hashable]:
        """For each tenant something that changes when its files do."""

    def from_files(self, tenant: str) -> tuple[Policy, dict[str, Any]]:
        """The set of the tenant's files; raises an `AegisError` when it is wrong."""

    def compiled(self, bundle: Bundle) -> tuple[Policy, dict[str, Any]]:
        """The set in a bundle; raises an `AegisError` when it does not compile."""

    def failures(self, policy: Policy, data: Mapping[str, Any]) -> list[str]:
        """The tests of the set that fail."""

    def keys(self) -> KeySet:
        """The public keys, as they are now."""


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
        self.refused: dict[str, str] = {}
        self.generations: dict[Pin, Ruling] = {}


class Rollout:
    """Follows the registry and the files for every tenant of a snapshot. `stamps` are those of the files that it was made from."""

    def __init__(
        self, *, store: Store, clock: Clock, snapshot: Snapshot, desk: Desk, instance: str, stamps: Mapping[str, Hashable]
    ) -> None:
        self.registry = Registry(store, clock)
        self._clock = clock
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
                if stamps[name] != self._seen[name].stamp:
                    await self._try_files(name, self._seen[name], stamps[name])

    def status(self) -> tuple[Status, ...]:
        """What rules each tenant here."""
        return tuple(_status(tenant, self._seen[tenant.name]) for tenant in self._snapshot)

    def source(self, name: str) -> Source:
        """Who says what decides for a tenant."""
        return self._seen[name].source

    async def check(self, tenant: str, pin: Pin) -> Ruling:
        """The version, verified, compiled and tried here, without serving it; a `BundleError` or what the compiler says."""
        return await self._loaded(tenant, pin)

    async def tried(self, bundle: Bundle) -> Ruling:
        """A bundle that was verified, compiled and tried here, without serving it."""
        return await asyncio.to_thread(self._compiled, bundle, 0)

    def activation(self, active: Active) -> Activation:
        """The activation in a row, if its signature is trusted now.

        Raises:
            BundleError: It is not.
        """
        keys, now = self._desk.keys(), self._clock.now()
        found = read_activation(active.envelope, lambda kid: keys.publisher(kid, active.tenant, now))
        if found.tenant != active.tenant:
            raise BundleError("tenant", f"the activation is of another tenant than `{active.tenant}`")
        return found

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
        try:
            activation = await self._verified(name, seen, active)
            rulings = [await self._ruling(name, seen, pin) for pin in (activation.enforced, activation.shadow)]
            made = await asyncio.to_thread(self._made, name, seen, *rulings)
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
        self._serve(made)
        log.info("policy activated", extra={"tenant": name, "counter": activation.counter, "mode": activation.mode})

    def _made(self, name: str, seen: _Seen, enforced: Ruling | None, shadow: Ruling | None) -> Tenant:
        """The tenant under these sets. Where the registry enforces none, the files go on deciding, if there are any."""
        tenant = self._tenant(name)
        if enforced is None and seen.source is Source.FILES:
            enforced = tenant.enforced
        return ruled(tenant, enforced, shadow)

    async def _verified(self, tenant: str, seen: _Seen, active: Active) -> Activation:
        found = self.activation(active)
        if found.tenant != tenant:
            raise BundleError("tenant", f"the activation is of another tenant than `{tenant}`")
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
        found = seen.generations.pop(pin, None) or await self._loaded(tenant, pin)
        seen.generations[pin] = found  # the newest last
        while len(seen.generations) > GENERATIONS:
            del seen.generations[next(iter(seen.generations))]
        return found

    async def _loaded(self, tenant: str, pin: Pin) -> Ruling:
        version = await self.registry.version(tenant, pin.number)
        packed = await self.registry.packed(tenant, pin.number)
        keys, now = self._desk.keys(), self._clock.now()
        if version is None:
            raise BundleError("missing", f"version {pin.number} of tenant `{tenant}` is not in the registry")
        release = read_release(version.envelope, lambda kid: keys.publisher(kid, tenant, now))
        if (release.tenant, release.number, release.sha256) != (tenant, pin.number, pin.sha256):
            raise BundleError("release", "the release is not the one that the activation names")
        return await asyncio.to_thread(self._tried, tenant, packed, release, keys)

    def _tried(self, tenant: str, packed: bytes, release: Release, keys: KeySet) -> Ruling:
        bundle = load(packed, tenant=tenant, keys=keys.bundle_keys(tenant, self._clock.now()))
        if bundle.sha256 != release.sha256:
            raise BundleError("release", "the bundle is not the one that was released")
        return self._compiled(bundle, release.number)

    def _compiled(self, bundle: Bundle, number: int) -> Ruling:
        policy, data = self._desk.compiled(bundle)
        if policy.tenant != bundle.tenant or policy.digest != bundle.policy_digest:
            raise BundleError("compile", "the set does not compile to what was signed: compare tools, contracts and versions")
        self._passes(policy, data)
        ref = PolicyRef(name=policy.name, version=str(number), digest=bundle.sha256)
        return Ruling(policy=policy, data=data, ref=ref, number=number, sha256=bundle.sha256, revision=bundle.revision)

    def _passes(self, policy: Policy, data: Mapping[str, Any]) -> None:
        failed = self._desk.failures(policy, data)
        if failed:
            raise BundleError("tests", f"{len(failed)} of its own tests fail: {failed[0]}")

    async def _try_files(self, name: str, seen: _Seen, stamp: Hashable) -> None:
        seen.stamp = stamp
        try:
            found = await asyncio.to_thread(self._from_files, name)
            made = await asyncio.to_thread(ruled, self._tenant(name), found, self._tenant(name).shadow)
        except Exception as error:
            await self._refuse(name, seen, "files", sha256(repr(stamp).encode())[7:23], error)
            return
        seen.refused.pop("files", None)
        served = self._tenant(name).enforced
        if served is None or (served.ref, served.data) != (found.ref, found.data):
            self._serve(made)
            log.info("policy files changed", extra={"tenant": name, "digest": found.ref.digest})

    def _from_files(self, tenant: str) -> Ruling:
        policy, data = self._desk.from_files(tenant)
        self._passes(policy, data)
        return Ruling(policy=policy, data=data, ref=policy.ref)

    def _serve(self, made: Tenant) -> None:
        self._snapshot.swap({**{tenant.name: tenant for tenant in self._snapshot}, made.name: made})

    async def _refuse(self, name: str, seen: _Seen, what: str, which: str, error: Exception) -> None:
        """What serves goes on serving. A tenant that starts with an activation that nobody can trust is denied everything."""
        reason = str(error.reason) if isinstance(error, BundleError) else str(getattr(error, "code", type(error).__name__))
        detail = str(error) if isinstance(error, AegisError) else type(error).__name__
        if seen.refused.get(what) == f"{what} {which}: {reason}: {detail}":
            return
        seen.refused[what] = f"{what} {which}: {reason}: {detail}"
        log.error("policy refused", extra={"tenant": name, "what": f"{what} {which}", "reason": reason, "detail": detail})
        if what == "activation" and not seen.started:
            seen.source = Source.NOBODY
            self._serve(await asyncio.to_thread(ruled, self._tenant(name), None, None))
        self._unrecorded.append((name, f"{what}-{which}", reason, detail))
        await self._record()

    async def _record(self) -> None:
        """Record what was refused; what the store does not take now is recorded at a later turn."""
        while self._unrecorded:
            await self.registry.refused(*self._unrecorded[0], self._instance)
            self._unrecorded.pop(0)


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
