"""When a process counts as gone, and what a database that stops does to those that serve."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engine.conftest import WAIT_SECONDS, Bench, task
from tests.postgres_server import Server

from aegis.adapters.engines.dbos_database import client, opened, prepare
from aegis.adapters.engines.dbos_engine import DbosEngine
from aegis.adapters.engines.dbos_executors import Executors
from aegis.adapters.engines.dbos_rows import PROTOCOL, Rows
from aegis.errors import StoreError
from aegis.runtime.engine import Lane


@pytest.fixture
def watcher(tmp_path: Path) -> Iterator[Executors]:
    url = f"sqlite:{tmp_path / 'dispatch.db'}"
    prepare(url)
    engine = opened(url)
    yield Executors(engine, Rows(engine, client(engine)), "me", 4.0)
    engine.dispose()


def test_a_row_that_stands_still_for_the_lease_is_gone_and_one_that_moves_is_not(watcher: Executors) -> None:
    gone = [watcher._gone({"me": 1, "dead": 7, "alive": second}, float(second)) for second in range(10, 16)]
    assert gone == [[], [], [], [], ["dead"], ["dead"]]


def test_nobody_is_gone_for_having_stood_still_while_nobody_looked(watcher: Executors) -> None:
    rows = {"me": 1, "other": 1}
    assert [watcher._gone(rows, at) for at in (10.0, 11.0, 60.0, 61.0, 62.0, 63.0)] == [[]] * 6
    assert watcher._gone(rows, 64.0) == ["other"]


def test_a_row_that_came_back_is_watched_anew(watcher: Executors) -> None:
    assert [watcher._gone({"other": beats}, at) for at, beats in ((10.0, 9), (11.0, 9), (12.0, 1), (13.0, 1), (14.0, 1))] == [
        []
    ] * 5


async def test_what_the_database_says_was_started_here_and_nobody_has_waits_again_when_the_process_stops(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path / 'dispatch.db'}"
    bench = Bench(DbosEngine(url, "gw-1", lease_seconds=0.4))
    await bench.start()
    engine = opened(url)
    rows = Rows(engine, answers := client(engine))
    rows.register(Lane(name="other"), 8, 1.0)
    rows.enqueue([task("claimed", queue="other")])
    found = answers.retrieve_queue("other")
    assert answers._sys_db.start_queued_workflows(found, "gw-1", PROTOCOL, "acme", owner_xid="gw-1")[0] == [task("claimed").id]
    async with asyncio.timeout(WAIT_SECONDS):
        await bench.engine.stop()
    assert rows.started("gw-1") == []
    assert rows.depth() == {("acme", "other"): 1}
    engine.dispose()


@pytest.mark.postgres
async def test_a_database_that_was_killed_refuses_what_is_handed_in_and_afterwards_serves_on() -> None:
    server = Server()
    try:
        bench = Bench(DbosEngine(server.fresh_database(), "gw-1"))
        await bench.start()
        await bench.engine.dispatch([task("before")])
        await bench.until(lambda: bench.ended == ["before"])
        server.kill()
        with pytest.raises(StoreError, match="queue tasks"):
            await bench.engine.dispatch([task("lost")])
        server.start()
        await bench.engine.dispatch([task("after")])
        await bench.until(lambda: bench.ended == ["before", "after"])
        async with asyncio.timeout(WAIT_SECONDS):
            await bench.engine.stop()
    finally:
        server.remove()
