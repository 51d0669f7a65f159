"""Ships versions to the registry of a world, as the command does, from a process of its own."""

import asyncio
import time
from contextlib import asynccontextmanager

from aegis.adapters import keyfiles, policies
from aegis.app import open_app
from aegis.policy.bundle.bundle import load
from aegis.runtime import shipping
from aegis.runtime.clock import Clock

WHO = {"by": "person:alice", "reason": "test"}


@asynccontextmanager
async def opened(w):
    app = await open_app(w.settings, clock=Clock(w.hand))
    try:
        yield app
    finally:
        await app.gate.store.close()


def text(w, number, tenant="acme", **replaced):
    """The world's policy, whose rule for reading bears the number of the version."""
    found = (w.root / "tenants" / tenant / "policy.yaml").read_text().replace("id: read.allow", f"id: read.v{number}")
    for old, new in replaced.items():
        assert old.replace("_", ".") in found, old
        found = found.replace(old.replace("_", "."), new)
    return found


def bundle(w, app, policy, tenant="acme"):
    path = w.root / "drafts" / tenant / "policy.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(policy)
    compiled, sources = policies.load_file(path, app.gate.tenant(tenant).by_digest)
    return policies.bundled(compiled, sources, keyfiles.load_bundle_key(w.keys, tenant))


def publisher(w, tenant="acme"):
    return keyfiles.load_private(w.keys, "publisher", tenant, "")


async def push(w, app, policy, tenant="acme"):
    packed = bundle(w, app, policy, tenant)
    found = load(packed, tenant=tenant, keys=keyfiles.load_public(w.keys).bundle_keys(tenant, w.hand()))
    made = await shipping.push(app.rollout, found, packed, author="person:alice", message="m", key=publisher(w, tenant))
    return made.number


async def promote(w, app, number, tenant="acme", *, shadow=False):
    return await shipping.promote(app.rollout, tenant, number, shadow=shadow, key=publisher(w, tenant), **WHO)


async def rollback(w, app, number=None, tenant="acme"):
    return await shipping.rollback(app.rollout, tenant, number, key=publisher(w, tenant), **WHO)


def run(w, work):
    """Run `work(app)` in an app of its own on the same store."""

    async def inside():
        async with opened(w) as app:
            return await work(app)

    return asyncio.run(inside())


def shipped(w, policy, tenant="acme", *, shadow=False):
    """The number of a version that is active when this returns."""

    async def work(app):
        number = await push(w, app, policy, tenant)
        await promote(w, app, number, tenant, shadow=shadow)
        return number

    return run(w, work)


def rules(w, tenant="acme"):
    """The live rules of the newest decision."""
    w.call("records.read", {"id": "r1"}, token=w.token("agent:reader", tenant))
    return newest(w, tenant)["matched"]


def newest(w, tenant="acme"):
    return next(event for event in reversed(w.events(tenant=tenant)) if event["type"] == "decision")


def status(w, tenant="acme"):
    return next(each for each in w.app.rollout.status() if each.tenant == tenant)


def within(seconds, holds):
    """Wait for something that must come about; how long it took."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < seconds, "it did not come about"
        time.sleep(0.02)
    return time.monotonic() - started
