"""The composition root: the only module that names concrete adapters.

`open_store`, `load_tenants` and `open_app` turn settings into running parts; everything that can be wrong with files, keys and
documents is found here, before the first request.
"""

import gc
import os
import socket
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from msgspec.structs import replace

from aegis.adapters import catalogue, directory, kekfiles, keyfiles, keyring, monitorkey, policies, trust
from aegis.adapters.catalogue import Catalogue
from aegis.adapters.http_upstream import HttpUpstream, credential
from aegis.adapters.kekfiles import KekFiles
from aegis.adapters.keyring import Keyring
from aegis.adapters.oidc import OtherIssuers
from aegis.adapters.opa import OpaEngine
from aegis.adapters.opa_bundles import BundledOpa
from aegis.adapters.shelf import Shelf
from aegis.crypto.jwk import PrivateKey
from aegis.errors import ConfigError, IdentityError, StoreError
from aegis.identity.authority import AuthorityGuard
from aegis.identity.chain import ChainGuard, ScopeGuard
from aegis.identity.directory import AgentEntry, Directory
from aegis.identity.epoch import Revoked
from aegis.identity.keyset import KeySet
from aegis.identity.token import Override, build_override, mint
from aegis.identity.verify import Verifier
from aegis.journal.store import Store
from aegis.model.approval import Approval
from aegis.model.contract import Contract
from aegis.model.contract_guard import ContractGuard
from aegis.model.decision import Guard, PolicyRef
from aegis.model.message_guard import SenderGuard
from aegis.model.principal import Principal
from aegis.model.provenance import UNAPPROVED, Objection, ProvenanceGuard
from aegis.policy.guards import HaltedGuard
from aegis.policy.readings import ReadingsGuard, RefusalGuard
from aegis.policy.selftest import run_tests
from aegis.runtime import halts, ids
from aegis.runtime.clock import Clock
from aegis.runtime.credentials import EVERY_SECONDS as CREDENTIALS_SECONDS
from aegis.runtime.credentials import SealedCredentials
from aegis.runtime.directories import Directories
from aegis.runtime.enforce import Gate
from aegis.runtime.facts import FactSource
from aegis.runtime.following import Follower, Followers
from aegis.runtime.issuing import Issuer
from aegis.runtime.judge import Engine
from aegis.runtime.keychanges import KeyChanges
from aegis.runtime.letters import Letters
from aegis.runtime.mailbox import Mailbox, Router
from aegis.runtime.messages import EVERY_SECONDS as MAIL_SECONDS
from aegis.runtime.messages import Messages
from aegis.runtime.rollout import EVERY_SECONDS, Rollout, Source
from aegis.runtime.ruling import ruled
from aegis.runtime.tenant import Ruling, Snapshot, Tenant
from aegis.runtime.toolbox import Fitting, Toolbox
from aegis.runtime.vault import Vault
from aegis.settings import Settings

SWEEP_SECONDS = 2.0
FORGET_SECONDS = 3600.0
REMEMBERED = timedelta(days=31)  # the longest window, and a day for clocks that differ
OVERRIDE_TTL = timedelta(seconds=60)


async def open_store(settings: Settings, clock: Clock, *, check: bool = True) -> Store:
    """The store of the settings, migrated and checked; `check=False` opens even one that contradicts itself, for `fsck`."""
    path = settings.sqlite_path
    if path is not None:
        from aegis.adapters import sqlite  # noqa: PLC0415 - a process imports only the store that it uses

        return await sqlite.open_store(path, clock=clock.now, check=check)
    from aegis.adapters import postgres  # noqa: PLC0415 - its driver is an extra

    return await postgres.open_store(settings.store.url, clock=clock.now, check=check)


def load_tenants(settings: Settings, engine: Engine | None = None, shelf: Shelf | None = None) -> dict[str, Tenant]:
    """Every tenant of the working directory: directory, contracts and policy, compiled and ready to decide."""
    directories = directory.load_all(settings.tenants)
    if not directories:
        raise ConfigError(f"{settings.tenants}: no tenant found; expected TENANT/directory.yaml below it")
    return {name: load_tenant(settings, name, found, engine, shelf) for name, found in sorted(directories.items())}


def load_tenant(
    settings: Settings, name: str, found: Directory, engine: Engine | None = None, shelf: Shelf | None = None
) -> Tenant:
    """One tenant; its guards stand in the order in which people read them, which never changes a decision.

    `shelf` has read the contracts, or will; without one they are read for this alone.
    """
    lying = shelf or Shelf(settings.tenants, lambda: KeySet(()))
    contracts = catalogue.arranged(each.contract for each in lying.stated(name))
    trust.load(settings.tenants / name, name)  # what is wrong with it is told before the first request
    base = Tenant(
        name=name,
        directory=found,
        contracts=contracts.newest,
        by_digest=contracts.by_digest,
        guards=guards_of(contracts, None),
        policy=PolicyRef(),
        environment=settings.gateway.environment,
        redaction_key=keyfiles.load_symmetric(settings.keys, "hash", name),
        engine=engine,
    )
    return ruled(base, ruling_by_files(settings, name, contracts.by_digest), None)


def guards_of(contracts: Catalogue, standing: Mapping[str, Objection | None] | None) -> tuple[Guard, ...]:
    """What holds calls against everything but the policy; `standing` as `ProvenanceGuard` takes it."""
    return (
        ReadingsGuard(),
        HaltedGuard(_effects(contracts.by_digest.values())),
        ChainGuard(),
        ScopeGuard(),
        AuthorityGuard(contracts.by_digest),
        ProvenanceGuard(standing),
        ContractGuard(contracts.newest, contracts.by_digest),
        SenderGuard(contracts.by_digest),
        RefusalGuard(),
    )


class ToolHands:
    """Puts contracts into a tenant, and tells the parts that speak to tools or compile with contracts; for `runtime.toolbox`."""

    def __init__(self, upstream: HttpUpstream, desk: policies.PolicyDesk) -> None:
        self._upstream = upstream
        self._desk = desk

    def hold(self, tenant: Tenant, standing: Mapping[str, Objection | None]) -> Tenant:
        """The tenant with other objections to the contracts that it has."""
        return replace(tenant, guards=_exchanged(tenant.guards, (ProvenanceGuard(standing),)))

    def fit(self, tenant: Tenant, wanted: Fitting) -> Tenant:
        """The tenant with other contracts. Those that calls under way still need can be found by digest, and serve nobody."""
        waiting = [
            digest for digest, objection in wanted.standing.items() if objection is not None and objection.rule == UNAPPROVED
        ]
        found = catalogue.arranged(wanted.contracts, waiting=waiting)
        former = {each.digest: each for each in wanted.former}
        return replace(
            tenant,
            contracts=found.newest,
            by_digest={**found.by_digest, **former},
            guards=_exchanged(tenant.guards, guards_of(found, wanted.standing)),
        )

    def learn(self, tenant: str, contracts: tuple[Contract, ...]) -> None:
        """Be ready to speak to these tools, and to compile bundles that were built with these contracts."""
        self._desk.keep(tenant, {each.digest: each for each in contracts})
        self._upstream.learn(contracts)


def _exchanged(guards: tuple[Guard, ...], fresh: tuple[Guard, ...]) -> tuple[Guard, ...]:
    """The guards, with fresh ones in the places of those of the same types."""
    found = {type(guard): guard for guard in fresh}
    return tuple(found.get(type(guard), guard) for guard in guards)


def ruling_by_files(settings: Settings, name: str, contracts: Mapping[str, Contract]) -> Ruling | None:
    """The policy set in the tenant's files; none when there is no file, which is fine if the registry holds one."""
    home = settings.tenants / name
    if not (home / policies.FILE).exists():
        return None
    policy, data = policies.load(home, name, contracts)
    policies.require_servable(policy, at_hand=bool(settings.policy.opa_url))
    return Ruling(policy=policy, data=data, ref=policy.ref)


def _effects(contracts: Iterable[Contract]) -> dict[str, str]:
    """The gravest effect of any version of each tool: an old version that writes is not a read because a newer one is."""
    found: dict[str, str] = {}
    for contract in contracts:
        if found.get(contract.name, "read") == "read":
            found[contract.name] = contract.effect
    return found


class App:
    """The running parts of one gateway process."""

    def __init__(
        self,
        settings: Settings,
        gate: Gate,
        verifier: Verifier,
        ring: Keyring,
        upstream: HttpUpstream,
        rollout: Rollout,
        directories: Directories,
        toolbox: Toolbox,
        opa: OpaEngine | None = None,
    ) -> None:
        self.settings = settings
        self.gate = gate
        self.rollout = rollout
        self.directories = directories
        self.toolbox = toolbox
        self.verifier = verifier
        self.keyring = ring
        self.key_changes = KeyChanges(
            store=gate.store, clock=gate.clock, snapshot=gate.snapshot, ring=ring, verifier=verifier, instance=gate.instance
        )
        self.other_issuers = OtherIssuers(settings.tenants, lambda: [tenant.name for tenant in gate.snapshot])
        self.issuer = Issuer(
            store=gate.store,
            clock=gate.clock,
            halts=gate.halts,
            snapshot=gate.snapshot,
            verifier=verifier,
            audience=settings.gateway.audience,
            signer=self.token_key,
            prompts=lambda tenant, entry: pinned_prompt(settings, tenant, entry, ring.keys, gate.clock.now()),
            mapper=self.other_issuers.principal_of,
            instance=gate.instance,
        )
        self.credentials = SealedCredentials(gate.store, gate.vault, gate.clock, gate.snapshot)
        self._upstream = upstream
        self._upstream.sealed = self.credentials
        self.messages = Messages(
            gate.store,
            gate.vault,
            gate.clock,
            FactSource(gate.store, gate.clock, gate.halts),
            Letters(gate.store, gate.vault, gate.clock),
            gate.snapshot,
        )
        self._opa = opa
        self.following = Followers()
        for follower in (
            Follower(name="recovery", every_seconds=SWEEP_SECONDS, work=gate.recovery.sweep, at_once=True),
            # Decisions deny once the last reading of halts is stale, whatever `/readyz` says.
            Follower(name="halts", every_seconds=halts.EVERY_SECONDS, work=self._follow_halts, tells=False),
            Follower(name="keys", every_seconds=keyring.EVERY_SECONDS, work=self.key_changes.refresh),
            Follower(name="issuers", every_seconds=EVERY_SECONDS, work=self.other_issuers.refresh),
            Follower(name="policies", every_seconds=EVERY_SECONDS, work=rollout.refresh),
            Follower(name="messages", every_seconds=MAIL_SECONDS, work=self.messages.sweep),
            Follower(name="tools", every_seconds=EVERY_SECONDS, work=toolbox.refresh),
            Follower(name="directories", every_seconds=EVERY_SECONDS, work=directories.refresh),
            Follower(name="credentials", every_seconds=CREDENTIALS_SECONDS, work=self.credentials.refresh),
            # Old entries only take space: the next turn tries again.
            Follower(name="forget", every_seconds=FORGET_SECONDS, work=self._forget, at_once=True, tells=False),
        ):
            self.following.add(follower)

    async def start(self) -> None:
        """Take the instance's place, settle what an earlier process left, and begin to sweep."""
        self.gate.clock.witness(await self.gate.store.latest())
        await self.gate.store.register(self.gate.instance)
        await self.follow_revocations()  # before anything that a key signed is believed
        await self.key_changes.refresh()
        await self.toolbox.start()  # first: versions of the registry compile with contracts that are pinned
        await self.rollout.refresh()
        await self.directories.refresh()
        await self.other_issuers.refresh()
        self._some_policy()
        await self._upstream.start()
        await self.credentials.refresh()
        if self._opa is not None:
            await self._opa.start()
        await self.gate.halts.refresh()
        self.following.start()
        gc.collect()
        gc.freeze()  # the snapshot lives as long as the process: keep it out of every collection
        gc.set_threshold(100_000, 50, 100)

    async def stop(self) -> None:
        """Finish every call that was permitted, record it, and let go of everything."""
        await self.following.stop()
        await self.gate.drain()
        await self._upstream.close()
        await self.other_issuers.close()
        if self._opa is not None:
            await self._opa.close()
        await self.gate.store.close()

    async def unready(self) -> list[str]:
        """Why this process cannot decide and record now; empty when it can."""
        why = []
        if not self.gate.clock.trusted:
            why.append(f"clock: {self.gate.clock.behind.total_seconds():.0f} s behind the journal")
        stats = await self.gate.store.stats()
        if stats.get("halted"):
            why.append("store: the writer has stopped; restart the gateway, which checks the store")
        if self.gate.halts.stale:
            why.append("halts: what is halted cannot be read")
        why += self.following.troubles()
        if self._opa is not None and self.settings.policy.engine == "opa" and not await self._opa.reachable():
            why.append("policy engine: no answer from `policy.opa_url`; until then every call is denied")
        return why

    def is_operator(self, token: str) -> bool:
        """Whether `token` is the key of whoever watches this gateway, whatever tenant they belong to."""
        return monitorkey.fits(self.settings.keys, token)

    def token_key(self, tenant: str, now: datetime) -> PrivateKey:
        """The key by which this host signs tokens of a tenant.

        Raises:
            IdentityError: It lies elsewhere: `no_signing_key`.
        """
        try:
            return self.keyring.signer("sts", tenant, now)
        except ConfigError:
            raise IdentityError("no_signing_key", "this gateway does not sign tokens: ask the one that does") from None

    def override_token(self, held: Approval, who: Principal) -> str:
        """The one-time token of an approval that was granted: at most 60 seconds, for this agent and this request only."""
        self.require_fresh()
        now = self.gate.clock.now()
        key = self.keyring.signer("override", held.tenant, now)
        return mint(
            build_override(
                Override(
                    tenant=held.tenant,
                    agent_id=who.agent_id,
                    approval_id=held.approval_id,
                    request_hash=held.request_hash,
                    token_id=ids.new("ovr", now),
                ),
                now=now,
                ttl=OVERRIDE_TTL,
                audience=self.settings.gateway.audience,
            ),
            key,
        )

    def require_fresh(self) -> None:
        """Called before authority is given out or taken in: a token, an answer to an approval.

        Raises:
            StoreError: What is halted and revoked could not be read lately, so nobody knows whether this may be.
        """
        if self.gate.halts.stale:
            raise StoreError("what is halted and revoked cannot be read; until it can, nothing is issued and no answer is taken")

    async def _follow_halts(self) -> None:
        await self.follow_revocations()
        await self.gate.halts.refresh()  # last, so that its age speaks for both

    async def follow_revocations(self) -> None:
        """Refuse what has been taken back by now; commands do it once, a serving process again and again."""
        for revoked in await self.gate.revocations.recent():
            self.verifier.revoke(revoked.tenant, before=revoked.before, who=revoked.who)
        self.verifier.hold(Revoked(await self.gate.revocations.tokens()))
        if self.keyring.revoke(await self.gate.revocations.keys()):
            self.verifier.swap(self.keyring.keys)

    async def _forget(self) -> None:
        """Remove what no window of history can reach any more."""
        await self.gate.store.forget(self.gate.clock.now() - REMEMBERED)
        for tenant in self.gate.snapshot:
            await self.gate.once.forget(tenant.name)
            await self.gate.delegations.expire(tenant.name, self.gate.recovery)

    def _some_policy(self) -> None:
        for tenant in self.gate.snapshot:
            if tenant.enforced is None and tenant.shadow is None and self.rollout.source(tenant.name) is Source.FILES:
                path = self.settings.tenants / tenant.name / policies.FILE
                raise ConfigError(f"{path}: not found; without a policy nothing is allowed")


def pinned_prompt(settings: Settings, tenant: str, entry: AgentEntry, keys: KeySet, now: datetime) -> str:
    """The digest of the instructions that an agent must work by; empty when none are pinned.

    Raises:
        IdentityError: They are pinned and cannot be read, or are others than `trust.yaml` says.
    """
    try:
        return trust.prompt_digest(settings.tenants / tenant, entry, keys, now)
    except ConfigError as error:
        raise IdentityError("artifact_missing", str(error)) from None


def instance_name(now: datetime) -> str:
    """A name for this process that no other process has or had."""
    return f"{socket.gethostname().split('.')[0][:32]}-{os.getpid()}-{ids.uuid7(now)[-12:]}"


async def open_app(settings: Settings, *, clock: Clock | None = None) -> App:
    """All parts of a gateway, ready for `App.start`."""
    clock = clock or Clock()
    opa = opa_engine(settings)
    engine = BundledOpa(opa, everything=settings.policy.engine == "opa") if opa else None
    ring = Keyring(settings.keys)
    desk = policies.PolicyDesk(settings.tenants, ring.look, engine=engine is not None)
    people = directory.DirectoryDesk(settings.tenants)
    names = list(directory.load_all(settings.tenants))
    # Before anything is read: what changes meanwhile is read again.
    stamps, people_stamps = desk.stamps(names), people.stamps(names)
    shelf, now = Shelf(settings.tenants, lambda: ring.keys), clock.now()
    tool_stamps = {name: shelf.stamp(name, now) for name in names}
    tenants = load_tenants(settings, engine, shelf)
    for tenant in tenants.values():
        desk.know(tenant.name, tenant.by_digest, tenant.enforced.policy if tenant.enforced else None)
    check_keys(settings, ring.keys, tenants)
    upstream = HttpUpstream([contract for tenant in tenants.values() for contract in tenant.by_digest.values()], settings.root)
    store = await open_store(settings, clock)
    vault = Vault(store, KekFiles(settings.keys))
    snapshot, instance = Snapshot(tenants), instance_name(clock.now())
    everywhere = Router(Mailbox(store, vault, clock), upstream)
    gate = Gate(store=store, vault=vault, clock=clock, upstream=everywhere, snapshot=snapshot, instance=instance)
    rollout = Rollout(store=store, clock=clock, snapshot=snapshot, desk=desk, instance=instance, stamps=stamps)
    directories = Directories(store=store, clock=clock, snapshot=snapshot, desk=people, instance=instance, stamps=people_stamps)
    toolbox = Toolbox(
        store=store,
        clock=clock,
        snapshot=snapshot,
        shelf=shelf,
        hands=ToolHands(upstream, desk),
        rollout=rollout,
        instance=instance,
        stamps=tool_stamps,
    )
    try:
        await toolbox.recall()
    except BaseException:
        await store.close()
        raise
    verifier = Verifier(ring.keys, audience=settings.gateway.audience)
    return App(settings, gate, verifier, ring, upstream, rollout, directories, toolbox, opa)


def opa_engine(settings: Settings) -> OpaEngine | None:
    """The OPA of the settings, if they name one; nothing is asked yet."""
    found = settings.policy
    return OpaEngine(found.opa_url, deadline=timedelta(milliseconds=found.opa_timeout_ms)) if found.opa_url else None


def check_keys(settings: Settings, keys: KeySet, tenants: Mapping[str, Tenant]) -> None:
    """Refuse to start when a tenant lacks a key that its first call would need."""
    for tenant in tenants:
        kekfiles.newest(settings.keys, tenant)
        keyfiles.load_symmetric(settings.keys, "hash", tenant)
        if not keys.has("sts", tenant):
            raise ConfigError(f"{settings.keys}: tenant `{tenant}` has no `sts` key; run `aegis keys new sts --tenant {tenant}`")
        keyfiles.load_private(settings.keys, "override", tenant, "")


def policy_tests(settings: Settings, tenant: str) -> list[tuple[str, str]]:
    """(`ok` or `failed`, text) for every test that the tenant's policy carries, and its warnings."""
    policy, data = policies.load(settings.tenants / tenant, tenant)
    results = [("ok" if r.passed else "failed", "; ".join((r.name, *r.problems))) for r in run_tests(policy, data)]
    return results + [("ok", f"warning: {warning}") for warning in policy.warnings]


def missing_credentials(settings: Settings, tenants: Mapping[str, Tenant]) -> list[str]:
    """What is wrong with the credentials by which the gateway would reach the tools."""
    found = []
    for tenant in tenants.values():
        for contract in tenant.by_digest.values():
            try:
                credential(contract, settings.root)
            except ConfigError as error:
                found.append(str(error))
    return found


def directory_of(settings: Settings, tenant: str) -> Directory:
    """The directory of one tenant, for commands that need no store."""
    found = directory.load_all(settings.tenants).get(tenant)
    if found is None:
        raise ConfigError(f"{settings.tenants}: no tenant `{tenant}`; expected {tenant}/directory.yaml")
    return found
