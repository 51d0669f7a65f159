"""Puts the parts of a gateway together from the settings; what is wrong with keys and documents is found here."""

import os
import socket
from collections.abc import Mapping
from datetime import datetime, timedelta

from aegis.adapters import directory, kekfiles, keyfiles, policies
from aegis.adapters.http_upstream import HttpUpstream
from aegis.adapters.kekfiles import KekFiles
from aegis.adapters.keyring import Keyring
from aegis.adapters.opa import OpaEngine
from aegis.adapters.opa_bundles import BundledOpa
from aegis.adapters.shelf import Shelf
from aegis.app.process import App
from aegis.app.stores import open_store
from aegis.app.tenants import ToolHands, load_tenants
from aegis.app.workflows import Workflows
from aegis.errors import ConfigError
from aegis.identity.keyset import KeySet
from aegis.identity.verify import Verifier
from aegis.model.event import SYSTEM_TENANT
from aegis.model.queue import QueueContract
from aegis.model.workflow_contract import WorkflowContract
from aegis.runtime import ids
from aegis.runtime.clock import Clock
from aegis.runtime.directories import Directories
from aegis.runtime.enforce import Gate
from aegis.runtime.mailbox import Mailbox, Router
from aegis.runtime.rollout import Rollout
from aegis.runtime.tenant import Snapshot, Tenant
from aegis.runtime.toolbox import Toolbox
from aegis.runtime.vault import Vault
from aegis.settings import Settings


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
    workflows = Workflows(settings, gate, lambda: ring.keys)
    everywhere.know(WorkflowContract, workflows.starting)
    everywhere.know(QueueContract, workflows.queues)
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
    verifier = Verifier(ring.keys, audience=settings.gateway.audience, look=ring.look)
    return App(settings, gate, verifier, ring, upstream, rollout, directories, toolbox, workflows, opa)


def instance_name(now: datetime) -> str:
    """A name for this process that no other process has or had."""
    return f"{socket.gethostname().split('.')[0][:32]}-{os.getpid()}-{ids.uuid7(now)[-12:]}"


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
    if missing := [tenant for tenant in (*tenants, SYSTEM_TENANT) if not keys.has("log", tenant)]:
        whose = ", ".join("the operator's log" if tenant == SYSTEM_TENANT else f"tenant `{tenant}`" for tenant in missing)
        orders = ", ".join(f"`aegis keys new log --tenant {tenant}`" for tenant in missing)
        raise ConfigError(f"{settings.keys}: no `log` key, which signs checkpoints, for {whose}; run {orders}")
