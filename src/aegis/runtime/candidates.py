"""Candidates: a set that may become active, verified, compiled and tried, before anything is decided by it.

A version counts if a publisher of the tenant signed its release, the bundle is the one that the release names, a bundle key of the
tenant signed all of its files, it compiles to what was signed with the contracts that are at hand, and its own tests pass. A set in
files must compile and pass its own tests.
"""

import asyncio
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Protocol

from aegis.errors import BundleError
from aegis.identity.keyset import KeySet
from aegis.model.contract import Contract
from aegis.model.decision import PolicyRef
from aegis.policy.bundle.bundle import Bundle, load
from aegis.policy.bundle.statement import Activation, Pin, Release, read_activation, read_release
from aegis.policy.ir import Policy
from aegis.runtime.clock import Clock
from aegis.runtime.registry import Registry
from aegis.runtime.registry_rows import Active
from aegis.runtime.tenant import Ruling


class Desk(Protocol):
    """What the host knows about policies: its files, its contracts, its keys, and how a set is tried."""

    def stamps(self, tenants: Iterable[str]) -> dict[str, Hashable]:
        """For each tenant something that changes when its files do."""

    def contracts(self, tenant: str) -> Mapping[str, Contract]:
        """The contracts by digest that sets in files are compiled with."""

    def take(self, tenant: str, contracts: Mapping[str, Contract]) -> None:
        """Compile sets in files with these contracts from now on."""

    def has_files(self, tenant: str) -> bool:
        """Whether the tenant has a set in files."""

    def from_files(self, tenant: str) -> tuple[Policy, dict[str, Any]]:
        """The set of the tenant's files; raises an `AegisError` when it is wrong."""

    def compiled(self, bundle: Bundle) -> tuple[Policy, dict[str, Any]]:
        """The set in a bundle; raises an `AegisError` when it does not compile."""

    def failures(self, policy: Policy, data: Mapping[str, Any]) -> list[str]:
        """The tests of the set that fail."""

    def keys(self) -> KeySet:
        """The public keys, as they are now."""


class Candidates:
    """Makes rulings of versions, bundles and files; whatever is wrong is an error, usually a `BundleError`."""

    def __init__(self, registry: Registry, clock: Clock, desk: Desk) -> None:
        self.registry = registry
        self._clock = clock
        self._desk = desk

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

    async def version(self, tenant: str, pin: Pin) -> Ruling:
        """A version of the registry."""
        version = await self.registry.version(tenant, pin.number)
        packed = await self.registry.packed(tenant, pin.number)
        keys, now = self._desk.keys(), self._clock.now()
        if version is None:
            raise BundleError("missing", f"version {pin.number} of tenant `{tenant}` is not in the registry")
        release = read_release(version.envelope, lambda kid: keys.publisher(kid, tenant, now))
        if (release.tenant, release.number, release.sha256) != (tenant, pin.number, pin.sha256):
            raise BundleError("release", "the release is not the one that the activation names")
        return await asyncio.to_thread(self._tried, tenant, packed, release, keys)

    async def bundle(self, found: Bundle) -> Ruling:
        """A bundle that was verified and has no number yet."""
        return await asyncio.to_thread(self._compiled, found, 0)

    def files(self, tenant: str) -> Ruling:
        """The set in the tenant's files, compiled and tried; call it off the event loop."""
        policy, data = self._desk.from_files(tenant)
        self._passes(policy, data)
        return Ruling(policy=policy, data=data, ref=policy.ref)

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
