"""Callers who reserve under a limit until it is reached: `python racing.py KIND WHERE NAME CALLERS LIMIT`."""

import asyncio
import sys
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.store.homes import START, Home, event

from aegis.journal.store import Store
from aegis.journal.unit import Committed, Unit
from aegis.model.history import ALLOWED, Entry, Expect, Measure, Phase, Query, Reading, ReadingKind, Settle

TENANT = "acme"
ASKED = 7
"""What each call adds to the sum."""


def reading(call: str, kind: ReadingKind = ReadingKind.SUM) -> Reading:
    measure = Measure.SUM if kind is ReadingKind.SUM else Measure.COUNT
    query = Query(
        tool="pay", phases=ALLOWED, since=START - timedelta(days=1), measure=measure, of="amount", agent="x", excluding=call
    )
    return Reading(kind=kind, event=query, own=ASKED)


def reservation(call: str, limit: int) -> Unit:
    """A call that is permitted as long as the sum, itself included, does not exceed `limit`."""
    entry = Entry(id=call, tool="pay", at=START, phase=Phase.OPEN, agent="x", run=call, fields={"amount": ASKED})
    expect = Expect(reading=reading(call), op="gt", bound=limit, truth=False)
    return Unit(tenant=TENANT, events=(event(TENANT, call),), expects=(expect,), remember=(entry,))


def outcome(call: str, phase: Phase) -> Unit:
    return Unit(tenant=TENANT, events=(event(TENANT, f"{call}:outcome"),), settle=(Settle(id=call, phase=phase),))


async def reserve(store: Store, name: str, limit: int) -> None:
    """Reserve until there is no more room. Each third call fails, which gives back what it had reserved."""
    number = 0
    while isinstance(await store.commit(reservation(f"{name}.{number}", limit)), Committed):
        phase = Phase.FAILED if number % 3 == 2 else Phase.SUCCEEDED
        await store.commit(outcome(f"{name}.{number}", phase))
        number += 1


async def main(kind: str, where: str, name: str, callers: int, limit: int) -> None:
    store = await Home(kind, where).open()
    await asyncio.gather(*(reserve(store, f"{name}.{caller}", limit) for caller in range(callers)))
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])))
