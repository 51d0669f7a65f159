"""Kill writers and servers at random moments, and look whether anything acknowledged is lost. A campaign calls these with its own N."""

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.postgres_server import Server
from tests.store.homes import START, Home
from tests.store.writing import TENANTS, counted, tenant_of

from aegis.errors import StoreError, StoreUncertainError
from aegis.journal.store import Store
from aegis.journal.unit import Committed, Existing
from aegis.model.event import SYSTEM_TENANT
from aegis.model.history import Measure, Measured, Phase, Query

CALLERS = 6
_CHILD = Path(__file__).with_name("writing.py")


def start_writer(home: Home, name: str, *options: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    """A process that commits as `name` until it is killed."""
    return subprocess.Popen(
        [sys.executable, _CHILD, home.kind, home.where, name, str(CALLERS), *options],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **(env or {})},
    )


def acknowledged(output: bytes) -> list[tuple[str, str]]:
    """Tenant and event id of every whole line that a writer printed."""
    return [tuple(line.decode().split(" ")) for line in output.split(b"\n")[:-1]]  # type: ignore[misc]  # two words each


async def kill_writers(home: Home, kills: int, seed: int) -> int:
    """Kill a writing process `kills` times; after each, everything acknowledged is there. Returns how much that was."""
    chance = random.Random(seed)
    told: list[tuple[str, str]] = []
    for round_ in range(kills):
        name = f"writer{round_}"
        process = start_writer(home, name)
        assert process.stdout is not None
        first = await asyncio.to_thread(process.stdout.readline)
        await asyncio.sleep(chance.random() * 0.15)
        process.kill()
        rest, _ = await asyncio.to_thread(process.communicate)
        told += acknowledged(first + rest)
        store = await home.open()
        async with asyncio.timeout(10):
            while await store.alive(name):  # at once on SQLite; a server has to notice that its client is gone
                assert home.kind == "postgres"
                await asyncio.sleep(0.01)
        await check(store, told)
        await store.close()
    return len(told)


async def kill_servers(server: Server, kills: int, seed: int) -> int:
    """Kill the database server under writing callers `kills` times; the store goes on by itself. Returns what was acknowledged."""
    chance = random.Random(seed)
    store = await Home("postgres", server.fresh_database()).open()
    told: list[tuple[str, str]] = []
    for tenant in range(TENANTS):
        await store.data_key(tenant_of(tenant), "", ("key_1", b"wrapped"))
    for round_ in range(kills):
        stop = asyncio.Event()
        callers = [asyncio.create_task(_persist(store, f"round{round_}", caller, stop, told)) for caller in range(CALLERS)]
        await asyncio.sleep(0.05 + chance.random() * 0.2)
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(0.05)
        await asyncio.to_thread(server.start)
        before = len(told)
        await until(lambda: len(told) >= before + CALLERS)  # noqa: B023 - called at once
        stop.set()
        await asyncio.gather(*callers)
        await check(store, told)
    await store.close()
    return len(told)


async def check(store: Store, told: list[tuple[str, str]]) -> None:
    """Everything in `told` is there, no tenant has a gap, and the store does not contradict itself."""
    for tenant in await store.tenants():
        events = await store.events(tenant, limit=10_000_000)
        assert [each.seq for each in events] == list(range(len(events)))
        lost = {event_id for of, event_id in told if of == tenant} - {each.id for each in events}
        assert not lost, f"{len(lost)} acknowledged units are lost"
        if tenant == SYSTEM_TENANT:
            continue
        counts = await store.find(tenant, "count", limit=10_000_000)
        assert sum(row.version for row in counts) == len(events)  # rows and events of a unit are there together
        remembered = Query(tool="write", phases=tuple(Phase), since=START, measure=Measure.COUNT)
        assert await store.measure(tenant, [remembered]) == (Measured(number=len(events)),)
    assert {tenant for tenant, _ in told} <= set(await store.tenants())
    assert await store.fsck() == ()


async def until(true: Any, seconds: float = 30.0) -> None:
    """Wait until `true()` holds."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.01)


async def _persist(store: Store, name: str, caller: int, stop: asyncio.Event, told: list[tuple[str, str]]) -> None:
    """Commit as a careful caller does: ask again after an error, and after a doubt believe only the journal."""
    n = 0
    while not stop.is_set():
        asked = counted(name, caller, n)
        try:
            receipt = await store.commit(asked)
        except StoreUncertainError:
            if not await _is_there(store, asked.tenant, asked.events[0].id):
                continue
        except StoreError:
            await asyncio.sleep(0.01)
            continue
        else:
            assert isinstance(receipt, Committed | Existing)
        told.append((asked.tenant, asked.events[0].id))
        n += 1


async def _is_there(store: Store, tenant: str, event_id: str) -> bool:
    while True:
        with contextlib.suppress(StoreError):
            return await store.event(tenant, event_id) is not None
        await asyncio.sleep(0.01)
