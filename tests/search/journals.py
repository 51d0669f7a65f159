"""Journals to search in: events as the gateway writes them, of a few agents, tools and rules, so that every field is shared."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta
from random import Random
from typing import Any

from tests.store.homes import START

from aegis.journal.store import Store
from aegis.journal.terms import Filter
from aegis.journal.unit import Unit
from aegis.model.event import Event

TENANT = "acme"
AGENTS = ("agent:planner", "agent:payer", "agent:reader")
TOOLS = ("payments.transfer", "records.read", "mail.send")
RULES = ("fin.dual-control", "default.allow", "fin.limit")
PEOPLE = ("user:nora", "user:omar")
APPROVERS = ("person:alice", "person:bob")
REASONS = ("timeout", "ok", "refused")
COSTS = (0, 1, 7, 8, 1000, 2**40)
STEP = timedelta(seconds=7)


def decision(draw: Random, number: int) -> dict[str, Any]:
    agent = draw.choice(AGENTS)
    data: dict[str, Any] = {
        "agent_id": agent,
        "actor": {"sub": draw.choice(PEOPLE), "act": [{"sub": agent}, *({"sub": each} for each in draw.sample(AGENTS, draw.randint(0, 2)))]},
        "agent": {"txn": f"run_{number // 40}", "task": draw.choice(("", "close-books"))},
        "tool": {"name": draw.choice(TOOLS), "version": "1.0.0"},
        "decision": draw.choice(("allow", "deny", "approval_needed")),
        "rules": draw.sample(RULES, draw.randint(0, 2)),
        "reasons": [{"rule": draw.choice(RULES)}],
        "approval_id": draw.choice(("", f"apr_{number // 100}")),
    }  # fmt: skip
    return data | ({"cost_micros": draw.choice(COSTS)} if draw.random() < 0.5 else {})


def outcome(draw: Random, number: int) -> dict[str, Any]:
    return {
        "agent_id": draw.choice(AGENTS),
        "tool": {"name": draw.choice(TOOLS)},
        "outcome": draw.choice(("done", "failed")),
        "reason": draw.choice(REASONS),
        "run": f"run_{number}",
    }


def approval(draw: Random, number: int) -> dict[str, Any]:
    return {"approver": draw.choice(APPROVERS), "approval_id": f"apr_{number // 100}", "by": draw.choice(APPROVERS)}


KINDS = {"decision": decision, "outcome": outcome, "approval": approval}


def events(count: int, *, seed: int = 1, start: int = 0, tenant: str = TENANT) -> list[Event]:
    """So many events; the clock goes back a little now and then, as clocks of several hosts do."""
    draw = Random(seed)
    made = []
    for number in range(start, start + count):
        kind = draw.choice(tuple(KINDS))
        back = STEP * draw.randint(0, 3)
        made.append(
            Event(
                id=f"{seed}.{number}",
                type=kind,
                tenant=tenant,
                time=START + STEP * number - back,
                request_id=f"req_{number // 3}",
                data=KINDS[kind](draw, number),
            )
        )
    return made


async def commit(store: Store, made: Iterable[Event]) -> None:
    """Commit events in their order."""
    rest = list(made)
    for at in range(0, len(rest), 100):
        await store.commit(Unit(tenant=rest[at].tenant, events=tuple(rest[at : at + 100])))


def plainly(bodies: list[dict[str, Any]], wanted: Filter, before: int | None = None) -> list[int]:
    """What a search has to find: every event that fits, newest first."""
    return [body["seq"] for body in reversed(bodies) if (before is None or body["seq"] < before) and wanted.fits(body)]


def run(work: Any) -> Any:
    """Run `work` to its end on a loop of its own."""
    return asyncio.run(work)
