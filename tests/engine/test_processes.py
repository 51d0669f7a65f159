"""Several processes on one database of the dispatcher: real ones, killed as a power cut would."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.engine import serving
from tests.engine.conftest import POSTGRES, WAIT_SECONDS, task, where

from aegis.adapters.engines.dbos_engine import DbosEngine


class Fleet:
    """Processes that serve one database, and the folder in which they leave what they did."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        for each in ("begun", "running", "ended"):
            (folder / each).mkdir()

    def launch(self, name: str, *, concurrency: int = 0, seconds: float = 0.0) -> None:
        command = [sys.executable, serving.__file__, self.url, name, self.folder, concurrency, seconds]
        self.processes[name] = subprocess.Popen([*map(str, command)], stdin=subprocess.PIPE)

    async def up(self) -> None:
        await self.until(lambda: all((self.folder / name).exists() for name in self.processes))

    async def until(self, holds) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while not holds():
                await asyncio.sleep(0.01)

    def nodes(self, state: str) -> list[str]:
        return sorted(each.name.split(".")[1] for each in (self.folder / state).iterdir())

    def by(self, name: str, state: str) -> list[str]:
        return [each.name.split(".")[1] for each in (self.folder / state).glob(f"*.{self.processes[name].pid}")]

    def kill(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait()

    def stop(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.communicate()


@pytest.fixture(params=["dbos-sqlite", POSTGRES])
def fleet(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Fleet]:
    found = Fleet(where(request.param, tmp_path), tmp_path)
    yield found
    found.stop()


@pytest.fixture
async def engine(fleet: Fleet) -> AsyncIterator[DbosEngine]:
    """One that hands in and serves nothing."""
    found = DbosEngine(fleet.url, "test")
    yield found
    await found.stop()


async def test_two_processes_share_the_work_and_together_never_pass_the_limit_of_a_tenant(fleet: Fleet, engine: DbosEngine) -> None:
    fleet.launch("one", concurrency=3, seconds=0.1)
    fleet.launch("two", concurrency=3, seconds=0.1)
    await fleet.up()
    ours, theirs = [f"n{number}" for number in range(24)], [f"t{number}" for number in range(4)]
    await engine.dispatch([*map(task, ours), *(task(node, tenant="globex") for node in theirs)])
    await fleet.until(lambda: len(fleet.nodes("ended")) == 28)
    assert fleet.nodes("begun") == sorted([*ours, *theirs])
    assert max(int(each.read_text()) for each in (fleet.folder / "begun").iterdir()) <= 3
    assert fleet.by("one", "ended")
    assert fleet.by("two", "ended")


@pytest.mark.parametrize("fleet", [POSTGRES], indirect=True)
async def test_what_a_killed_process_had_started_and_what_it_left_is_served_by_the_other(fleet: Fleet, engine: DbosEngine) -> None:
    fleet.launch("one", concurrency=1, seconds=600.0)
    await fleet.up()
    await engine.dispatch([task("killed"), task("left")])
    await fleet.until(lambda: fleet.nodes("begun") == ["killed"])
    fleet.launch("two", concurrency=1)
    await fleet.up()
    fleet.kill("one")
    await fleet.until(lambda: sorted(fleet.by("two", "ended")) == ["killed", "left"])
    assert fleet.nodes("begun") == ["killed", "killed", "left"]


@pytest.mark.parametrize("fleet", ["dbos-sqlite"], indirect=True)
async def test_after_a_kill_a_restart_serves_what_waited_and_the_command_under_its_next_number(
    fleet: Fleet, engine: DbosEngine
) -> None:
    fleet.launch("one", concurrency=1, seconds=600.0)
    await fleet.up()
    await engine.dispatch([task("killed"), task("left")])
    await fleet.until(lambda: fleet.nodes("begun") == ["killed"])
    fleet.kill("one")
    fleet.launch("again", concurrency=1)
    await engine.dispatch([task("killed", dispatch=2)])
    await fleet.until(lambda: fleet.nodes("ended") == ["killed", "left"])
    tidied = 0
    while tidied < 3:
        tidied += await engine.tidy()
    assert await engine.depth() == {}


@pytest.mark.parametrize("fleet", ["dbos-sqlite"], indirect=True)
async def test_a_process_that_was_suspended_for_longer_than_its_lease_serves_on(fleet: Fleet, engine: DbosEngine) -> None:
    fleet.launch("one", concurrency=1, seconds=0.2)
    await fleet.up()
    await engine.dispatch([task("first")])
    await fleet.until(lambda: fleet.nodes("begun") == ["first"])
    fleet.processes["one"].send_signal(signal.SIGSTOP)
    fleet.launch("two", concurrency=1)
    await engine.dispatch([task("second")])
    await fleet.until(lambda: "second" in fleet.nodes("ended"))
    fleet.processes["one"].send_signal(signal.SIGCONT)
    await fleet.until(lambda: "first" in fleet.by("one", "ended"))
    fleet.kill("two")
    await engine.dispatch([task("third")])
    await fleet.until(lambda: "third" in fleet.by("one", "ended"))
