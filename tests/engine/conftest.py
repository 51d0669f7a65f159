"""Engines to hold against the port: one suite for all of them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from tests.postgres_server import fresh_database

from aegis.adapters.engines.dbos_engine import DbosEngine
from aegis.adapters.engines.local import LocalEngine
from aegis.runtime.engine import Engine, Lane, Serve, Task

WAIT_SECONDS = 60.0
POSTGRES = pytest.param("dbos-postgres", marks=pytest.mark.postgres)


class Bench:
    """An engine under test, and what it served, in the order in which that began."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.running = 0
        self.most = 0
        self.hold: asyncio.Event | None = None

    async def serve(self, task: Task) -> None:
        self.begun.append(task.node)
        self.running += 1
        self.most = max(self.most, self.running)
        if self.hold is not None:
            await self.hold.wait()
        self.running -= 1
        self.ended.append(task.node)

    async def start(self, *lanes: Lane, serve: Serve | None = None) -> None:
        await self.engine.start(lanes or (Lane(name="default"),), serve or self.serve)

    async def until(self, holds: Callable[[], bool | Awaitable[bool]]) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while not await _truth(holds()):
                await asyncio.sleep(0.005)


async def _truth(value: bool | Awaitable[bool]) -> bool:
    return value if isinstance(value, bool) else await value


def task(node: str, **about: object) -> Task:
    return Task(**({"tenant": "acme", "run": "run_1", "node": node, "dispatch": 1} | about))


def where(kind: str, folder: Path) -> str:
    """A place for an engine's database."""
    return fresh_database() if kind == "dbos-postgres" else f"sqlite:{folder / 'dispatch.db'}"


@pytest.fixture(params=["local", "dbos-sqlite", POSTGRES])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    kind = request.param
    found = Bench(LocalEngine() if kind == "local" else DbosEngine(where(kind, tmp_path), "gw-1"))
    yield found
    if found.hold is not None:
        found.hold.set()
    await found.engine.stop()
