"""From a tenant's documents to one value that decides: directory, contracts, guards, policy."""

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime

from msgspec.structs import replace

from aegis.adapters import catalogue, directory, gates, keyfiles, policies, triggers, trust
from aegis.adapters.catalogue import Catalogue
from aegis.adapters.http_upstream import HttpUpstream
from aegis.adapters.shelf import Shelf
from aegis.errors import ConfigError, IdentityError
from aegis.identity.authority import AuthorityGuard
from aegis.identity.chain import ChainGuard, ScopeGuard
from aegis.identity.directory import AgentEntry, Directory
from aegis.identity.keyset import KeySet
from aegis.model.contract import Contract
from aegis.model.contract_guard import ContractGuard
from aegis.model.decision import Guard, PolicyRef
from aegis.model.message_guard import SenderGuard
from aegis.model.provenance import UNAPPROVED, Objection, ProvenanceGuard
from aegis.model.queue import QueueGuard
from aegis.policy.guards import HaltedGuard
from aegis.policy.readings import ReadingsGuard, RefusalGuard
from aegis.runtime.judge import Engine
from aegis.runtime.ruling import ruled
from aegis.runtime.tenant import Ruling, Tenant
from aegis.runtime.toolbox import Fitting
from aegis.settings import Settings

log = logging.getLogger("aegis.tenants")


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
    triggers.load(settings.tenants, name)
    gates.load(settings.tenants / name, name)
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
        QueueGuard(contracts.by_digest),
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


def directory_of(settings: Settings, tenant: str) -> Directory:
    """The directory of one tenant, for commands that need no store."""
    found = directory.load_all(settings.tenants).get(tenant)
    if found is None:
        raise ConfigError(f"{settings.tenants}: no tenant `{tenant}`; expected {tenant}/directory.yaml")
    return found


def pinned_prompt(
    settings: Settings, tenant: str, entry: AgentEntry, keys: KeySet, now: datetime, *, demanding: bool = False
) -> str:
    """The digest of the instructions that an agent must work by; empty when none are pinned.

    `demanding`: the tenant had a `trust.yaml`, so that none now does not mean that nothing is demanded.

    Raises:
        IdentityError: They are pinned and cannot be read, or are others than `trust.yaml` says.
    """
    home = settings.tenants / tenant
    if entry.prompt and demanding and not (home / trust.FILE).exists():
        raise IdentityError("artifact_missing", f"`{trust.FILE}` is gone; what it demanded is still demanded")
    try:
        return trust.prompt_digest(home, entry, keys, now)
    except ConfigError as error:
        # An agent is not told where the files of the host lie, nor what stands in them.
        log.error("instructions: %s", error, extra={"tenant": tenant, "agent_id": entry.id})  # noqa: TRY400 - no trace needed
        raise IdentityError(
            "artifact_missing", "the instructions that are pinned for it cannot be read; the log says why"
        ) from None
