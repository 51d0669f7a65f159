"""Kills the process of a run at each of its commits, before it and after it, and compares what became of the run with one left alone.

One gateway process after the other works on one store: it takes up what the last one left, ends it, begins the next run, and
dies in its turn. The laws, for each boundary:

    the run ends as the undisturbed one did: the same states, outcomes, failure and order of steps
    its effects are in the tool's book once each, and nothing else is
    nothing is left: no live call, no open approval, no command, no wait that is over, no place in a queue
"""

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from aegis.adapters.kekfiles import KekFiles
from aegis.app import open_store
from aegis.app.workflows import read_definition
from aegis.model.event import instant
from aegis.runtime.clock import Clock
from aegis.runtime.known import CALL
from aegis.runtime.runs import queued
from aegis.runtime.runs.flow import DUE, FLOW, TASK, WAKE, read_flow
from aegis.runtime.runs.histories import Histories, Loaded
from aegis.runtime.vault import Vault
from faults.dying import AFTER, BEFORE, CROSSED, ORDER, serve
from faults.kills import Gateway, free_port
from faults.runs import effects, world_of
from faults.scenes import BELOW, SCENES, Outside
from runs.flows import Flows

RUN_SECONDS = 60
MOST = 200


@dataclass
class Report:
    kills: int = 0
    runs: int = 0
    boundaries: dict[str, int] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


class Stage:
    """A store, the process that works on it now, and the world outside."""

    def __init__(self, made: Flows, store: Any, gateway: Gateway, outside: Outside) -> None:
        self.store, self.gateway, self.outside, self._made = store, gateway, outside, made
        self.histories = Histories(store, Vault(store, KekFiles(made.keys)), read_definition)
        self._count = 0
        self.deaths = 0

    async def play(self, name: str, at: int = 0, when: str = BEFORE) -> Loaded:
        """One run to its end; its process dies at the commit `at` if it comes so far."""
        self._count += 1
        order = self._made.root / ORDER
        (self._made.root / CROSSED).unlink(missing_ok=True)
        (order.with_suffix(".new")).write_text(json.dumps({"number": self._count, "at": at, "when": when}))
        order.with_suffix(".new").rename(order)
        run, deadline = "", time.monotonic() + RUN_SECONDS
        keeping = asyncio.create_task(self._keep(order))
        try:
            while time.monotonic() < deadline:
                run = run or await self.outside.begin(name, f"k{self._count}")
                loaded = await self.histories.load("acme", run) if run else None
                if loaded is not None and loaded.flow.ended_at is not None and not await self.left():
                    break
                if loaded is not None and loaded.flow.ended_at is None:
                    await self.outside.look(loaded)
                await asyncio.sleep(0.02)
        finally:
            keeping.cancel()
        if self.gateway.ended:  # at the very last boundary
            await self._again(order)
        order.unlink(missing_ok=True)
        assert run, f"{name} was never begun: {self.outside.last}"
        found = await self.histories.load("acme", run)
        assert found is not None
        return found

    async def crossed(self) -> int:
        path = self._made.root / CROSSED
        return int(path.read_text() or 0) if path.exists() else 0

    async def _keep(self, order: Path) -> None:
        while True:
            await asyncio.sleep(0.01)
            if self.gateway.ended:
                await self._again(order)

    async def _again(self, order: Path) -> None:
        order.unlink(missing_ok=True)
        self.deaths += 1
        await asyncio.to_thread(self.gateway.start)

    async def left(self) -> list[str]:
        """What lies about that nobody needs any more."""
        now, found = instant(Clock().now()), []
        for kind in (TASK, WAKE, queued.READY, queued.SLOT):
            found += [f"{kind} {row.id!r}" for row in await self.store.find("acme", kind, limit=100)]
        found += [f"{DUE} {row.id!r}" for row in await self.store.find("acme", DUE, limit=100) if row.id.split("\x1f")[0] < now]
        for state in ("decided", "executing"):
            found += [f"{CALL} {row.id} {state}" for row in await self.store.find("acme", CALL, state=state, limit=100)]
        found += [f"approval {row.id}" for row in await self.store.find("acme", "approval", state="pending", limit=100)]
        return found


@asynccontextmanager
async def stage(root: Path, store_url: str) -> AsyncIterator[Stage]:
    """A world with the scenes, and a gateway on it."""
    made = world_of(root, store_url, SCENES | {"below": BELOW}, remote=True)
    gateway = Gateway(made, free_port(), serve)
    store = None
    try:
        await asyncio.to_thread(gateway.start)
        store = await open_store(made.settings, Clock())
        async with httpx.AsyncClient(timeout=5) as http:
            yield Stage(made, store, gateway, Outside(made, gateway.url, http))
    finally:
        if store is not None:
            await store.close()
        gateway.kill(signal.SIGTERM)
        made.close()


async def walk(root: Path, store_url: str, *, scenes: list[str], chosen: Any) -> Report:
    """Play each scene undisturbed, and then dying at those of its boundaries that `chosen(how many)` names."""
    report = Report()
    async with stage(root, store_url) as here:
        for name in scenes:
            alone = await here.play(name)
            report.boundaries[name] = await here.crossed()
            await _judge(here, report, f"{name} undisturbed", alone, alone)
            for at, when in chosen(report.boundaries[name]):
                before = here.deaths
                loaded = await here.play(name, at, when)
                report.kills += here.deaths - before
                await _judge(here, report, f"{name}: {when} {at}", loaded, alone)
        report.wrong += await _books(here)
    return report


async def _judge(here: Stage, report: Report, what: str, loaded: Loaded, alone: Loaded) -> None:
    report.runs += 1
    if loaded.flow.ended_at is None:
        report.wrong.append(f"{what}: did not end: {_said(loaded)}")
    elif _said(loaded) != _said(alone):
        report.wrong.append(f"{what}: {_said(loaded)}, undisturbed: {_said(alone)}")
    report.wrong += [f"{what}: left behind: {each}" for each in await here.left()]


def _said(loaded: Loaded) -> dict[str, Any]:
    """What a run came to, without the names and numbers that are its own."""
    nodes = {name: (str(node.state), node.outcome, node.done) for name, node in loaded.state.nodes.items()}
    return {"status": str(loaded.state.status), "failure": loaded.state.failure, "nodes": nodes}


async def _books(here: Stage) -> list[str]:
    """The tool's book against the journal of every run."""
    wrong = [f"fsck: {finding.place}: {finding.text}" for finding in await here.store.fsck()]
    book, expected = Counter(here._made.tool.done), Counter[tuple[str, str]]()
    for row in await here.store.find("acme", FLOW, limit=100_000):
        loaded = await here.histories.load("acme", row.id)
        assert loaded is not None
        if (loaded.state.status, loaded.state.events) != (read_flow(row).status, read_flow(row).events):
            wrong.append(f"{row.id}: folded {loaded.state.status}, row {read_flow(row).status}")
        expected.update(effects(row.id, loaded))
    wrong += [f"doubled: {name} {key}" for (name, key), count in book.items() if count > 1]
    wrong += [f"in the journal, not in the tool's book: {each}" for each in sorted(expected.keys() - book.keys())]
    return wrong + [f"in the tool's book, not in the journal: {each}" for each in sorted(book.keys() - expected.keys())]


def every(count: int) -> list[tuple[int, str]]:
    """All boundaries."""
    return [(at, when) for at in range(1, min(count, MOST) + 1) for when in (BEFORE, AFTER)]
