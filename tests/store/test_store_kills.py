"""Nothing acknowledged is lost, whoever is killed."""

import asyncio
import random

import pytest
from tests.postgres_server import Server
from tests.store.homes import Home
from tests.store.kills import acknowledged, check, kill_servers, kill_writers, start_writer

SEED = random.SystemRandom().randrange(2**32)


async def test_a_killed_writer_loses_nothing_that_it_acknowledged(home):
    told = await kill_writers(home, kills=10 if home.kind == "sqlite" else 5, seed=SEED)
    assert told > 100, f"seed {SEED}: the writers were killed before they did anything"


@pytest.mark.postgres
async def test_a_killed_server_loses_nothing_that_was_acknowledged():
    server = Server()
    try:
        assert await kill_servers(server, kills=5, seed=SEED) > 0
    finally:
        await asyncio.to_thread(server.remove)


async def test_processes_that_open_and_write_at_once_leave_no_gap(home: Home):
    processes = [start_writer(home, f"writer{n}", "10") for n in range(3)]
    outputs = await asyncio.gather(*(asyncio.to_thread(process.communicate) for process in processes))
    assert [process.returncode for process in processes] == [0, 0, 0]
    told = [line for output, _ in outputs for line in acknowledged(output)]
    assert len(told) == 3 * 6 * 10
    store = await home.open()
    await check(store, told)
    assert sum([len(await store.events(tenant)) for tenant in await store.tenants()]) == len(told)
