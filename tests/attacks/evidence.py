"""What an attempt leaves behind: an event of the tenant that it came from, or, for nobody in particular, a count by reason."""

import asyncio
from typing import Any

from aegis.app import open_store
from aegis.runtime.clock import Clock
from gateway.world import World


def noise(w: World) -> dict[str, int]:
    """The bounded journal of refusals of nobody."""

    w.stop()  # what was counted lately is written at the end at the latest

    async def reopened() -> dict[str, int]:
        store = await open_store(w.settings, Clock(w.hand))
        try:
            return {each.reason: each.count for each in await store.noise()}
        finally:
            await store.close()

    return asyncio.run(reopened())


def of_type(w: World, kind: str, tenant: str = "acme") -> list[dict[str, Any]]:
    """Events of one type, in order."""
    return [event for event in w.events(tenant=tenant) if event["type"] == kind]


def denied_by(w: World, tenant: str = "acme") -> list[str]:
    """The first rule of every denied call and delegation, in order."""
    return [event["rules"][0] for event in w.events(tenant=tenant) if event.get("decision") == "deny"]


def refused_with(w: World, tenant: str = "acme") -> list[str]:
    """The reasons of refusals beside decisions."""
    return [event["what"] for event in of_type(w, "refusal", tenant)]
