"""What dispatch costs: `python -m bench engine`.

*Latency* is from when one task is handed in to an idle engine until its handler runs, one after the other; *limited* in a lane that runs two
at once. *Throughput* is of tasks that do nothing, handed in 50 at a time and served by the same process: each is one insertion, one claim and
one outcome. *Idle* is the CPU of a process with that many lanes in which nothing happens. *Delayed* is what 10,000 tasks that wait for
their time add to the process's memory, and how long handing them in takes.
"""

import asyncio
import gc
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import psutil

from aegis.adapters.engines.dbos_engine import DbosEngine
from aegis.adapters.engines.local import LocalEngine
from aegis.runtime.engine import Engine, Lane, Task

SINGLES = 100
TASKS = 1000
AT_ONCE = 50
DELAYED = 10_000
IDLE_SECONDS = 4.0
IDLE_LANES = (1, 8)


class Clocked:
    """Notes when each task was served."""

    def __init__(self) -> None:
        self.at: dict[str, float] = {}
        self.came = asyncio.Event()

    async def serve(self, task: Task) -> None:
        """The handler of the bench: it does nothing else."""
        self.at[task.node] = time.perf_counter()
        self.came.set()

    async def all(self, count: int) -> None:
        """Wait until so many were served."""
        while len(self.at) < count:
            self.came.clear()
            await self.came.wait()


def task(node: int, queue: str, **about: Any) -> Task:
    return Task(tenant="acme", run="run_bench", node=f"n{node}", dispatch=1, queue=queue, **about)


@asynccontextmanager
async def serving(made: Engine, lanes: list[Lane]) -> AsyncIterator[Clocked]:
    clocked = Clocked()
    await made.start(lanes, clocked.serve)
    await asyncio.sleep(1.5)  # the threads of DBOS look for new lanes once a second
    try:
        yield clocked
    finally:
        await made.stop()


async def latency(made: Engine, concurrency: int) -> dict[str, Any]:
    took = []
    async with serving(made, [Lane(name="bench", concurrency=concurrency)]) as clocked:
        for number in range(SINGLES):
            began = time.perf_counter()
            await made.dispatch([task(number, "bench")])
            await clocked.all(number + 1)
            took.append(1000 * (clocked.at[f"n{number}"] - began))
            await asyncio.sleep(0.05)
    took.sort()
    return {"p50_ms": round(statistics.median(took), 2), "p99_ms": round(took[int(len(took) * 0.99)], 2)}


async def throughput(made: Engine, concurrency: int) -> dict[str, Any]:
    async with serving(made, [Lane(name="bench", concurrency=concurrency)]) as clocked:
        began, worked = time.perf_counter(), time.process_time()
        for first in range(0, TASKS, AT_ONCE):
            await made.dispatch([task(number, "bench") for number in range(first, first + AT_ONCE)])
        handed = time.perf_counter() - began
        await clocked.all(TASKS)
        took = time.perf_counter() - began
        busy = time.process_time() - worked
        return {
            "handed_in_s": round(handed, 2),
            "per_second": round(TASKS / took),
            "cpu_ms_per_task": round(1000 * busy / TASKS, 2),
        }


async def idle(made: Engine, lanes: int) -> dict[str, Any]:
    async with serving(made, [Lane(name=f"l{number}", concurrency=2) for number in range(lanes)]):
        began = time.process_time()
        await asyncio.sleep(IDLE_SECONDS)
        return {"cpu_percent": round(100 * (time.process_time() - began) / IDLE_SECONDS, 1)}


async def delayed(made: Engine) -> dict[str, Any]:
    async with serving(made, [Lane(name="bench")]):
        gc.collect()
        before = psutil.Process().memory_info().rss
        began = time.perf_counter()
        for first in range(0, DELAYED, 1000):
            await made.dispatch([task(number, "bench", delay_seconds=3600.0) for number in range(first, first + 1000)])
        took = time.perf_counter() - began
        gc.collect()
        return {"handed_in_s": round(took, 2), "grew_mib": round((psutil.Process().memory_info().rss - before) / 2**20, 1)}


async def _rows(name: str, make: Callable[[], Engine]) -> list[dict[str, Any]]:
    found = []
    for concurrency in (0, 2):
        about = {"engine": name, "lane": f"{concurrency} at once" if concurrency else "no limit"}
        found.append({**about, "what": "latency", **await latency(make(), concurrency)})
        found.append({**about, "what": "throughput", **await throughput(make(), concurrency)})
    found += [{"engine": name, "what": f"idle, {lanes} lanes", **await idle(make(), lanes)} for lanes in IDLE_LANES]
    return [*found, {"engine": name, "what": "delayed", **await delayed(make())}]


def run() -> list[dict[str, Any]]:
    """The rows of the bench."""
    from tests.postgres_server import fresh_database

    found = asyncio.run(_rows("local", LocalEngine))
    with tempfile.TemporaryDirectory() as folder:
        names = iter(range(1000))
        found += asyncio.run(_rows("dbos sqlite", lambda: DbosEngine(f"sqlite:{folder}/{next(names)}.db", f"gw-{next(names)}")))
        found += asyncio.run(_rows("dbos postgres", lambda: DbosEngine(fresh_database(), f"gw-{next(names)}")))
    return found
