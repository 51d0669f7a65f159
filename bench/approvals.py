"""What an approval costs while thousands wait: to ask, to list a page, to look at a card and answer, and to let all of them expire.

`waiting` is how many waited; `page_ms` is for 200 of them; times of single steps are medians.
"""

import asyncio
import statistics
import tempfile
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

from tests.approvals.room import Room, spec
from tests.store.homes import KINDS, ready

from aegis.model.approval import ApprovalState

COUNTS = (100, 5_000)
AT_ONCE = 200
ROUNDS = 30


def run() -> list[dict[str, Any]]:
    """A row for each store and number."""
    found = []
    for kind in KINDS:
        try:
            found += [asyncio.run(_measure(kind, count)) for count in COUNTS]
        except Exception as error:  # whatever keeps a server from starting
            print(f"  {kind} is left out: {type(error).__name__}: {error}")
    return found


async def _measure(kind: str, count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        home = ready(kind, Path(folder))
        try:
            return {"store": kind, "waiting": count, **await _rounds(Room(await home.open(), Path(folder)), count)}
        finally:
            await home.close()


async def _rounds(room: Room, count: int) -> dict[str, float]:
    asking = await _timed(lambda: _fill(room, count))
    page = [await _timed(lambda: room.desk.listed("acme", ApprovalState.PENDING)) for _ in range(ROUNDS)]
    waiting = await room.desk.listed("acme", ApprovalState.PENDING, ROUNDS)
    answer = [await _timed(lambda each=each: room.answer(each.approval_id)) for each in waiting]  # type: ignore[misc]  # one of them
    idle = [await _timed(room.escalations.sweep) for _ in range(ROUNDS)]
    room.offset = timedelta(hours=5)
    expiring = await _timed(room.escalations.sweep)
    return {
        "asked_per_s": round(count / asking * 1000),
        "page_ms": round(statistics.median(page), 2),
        "answer_ms": round(statistics.median(answer), 2),
        "idle_sweep_ms": round(statistics.median(idle), 2),
        "expired_per_s": round((count - len(waiting)) / expiring * 1000),
    }


async def _fill(room: Room, count: int) -> None:
    for first in range(0, count, AT_ONCE):
        runs = range(first, min(first + AT_ONCE, count))
        await asyncio.gather(*(room.ask(spec(), run=f"run_{number}") for number in runs))


async def _timed(work: Callable[[], Awaitable[Any]]) -> float:
    start = perf_counter()
    await work()
    return (perf_counter() - start) * 1000
