"""A process that commits until it is killed: `python writing.py KIND WHERE NAME CALLERS`.

Each caller prints the name of its acknowledged unit before it asks for the next one, with one write, so that whatever the parent
reads was acknowledged. A unit holds an event, a payload, a row that counts the caller's units, and a remembered call; it expects
that exactly the calls of the units before it are remembered.
"""

import asyncio
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.store.homes import START, Home, event, put, sealed

from aegis.journal.store import Store
from aegis.journal.unit import Committed, Require, Unit
from aegis.model.history import Entry, Expect, Measure, Phase, Query, Reading, ReadingKind

TENANTS = 3


def tenant_of(caller: int) -> str:
    return f"tenant{caller % TENANTS}"


def counted(name: str, caller: int, n: int) -> Unit:
    """The caller's unit number `n`: possible only when its number `n - 1` is there."""
    event_id = f"{name}.{caller}.{n}"
    row = f"{name}.{caller}"
    query = Query(tool="write", phases=(Phase.OPEN,), since=START, measure=Measure.COUNT, run=row)
    before = Expect(reading=Reading(kind=ReadingKind.COUNT, event=query), op="eq", bound=n, truth=True)
    return Unit(
        tenant=tenant_of(caller),
        expects=(before,),
        remember=(Entry(id=event_id, tool="write", at=START, phase=Phase.OPEN, run=row),),
        events=(event(tenant_of(caller), event_id),),
        payloads=(sealed(event_id),),
        requires=(Require(kind="count", id=row, version=n),),
        writes=(put(row, b"%d" % n, kind="count", state="counting"),),
    )


async def write(store: Store, name: str, caller: int, most: int = 1_000_000) -> None:
    for n in range(most):
        receipt = await store.commit(counted(name, caller, n))
        if not isinstance(receipt, Committed):
            raise TypeError(f"expected `Committed`, found `{type(receipt).__name__}`")
        os.write(1, f"{tenant_of(caller)} {name}.{caller}.{n}\n".encode())


async def main(kind: str, where: str, name: str, callers: int, most: int) -> None:
    store = await Home(kind, where).open()
    await store.register(name)
    for tenant in {tenant_of(caller) for caller in range(callers)}:
        await store.data_key(tenant, "", ("key_1", b"wrapped"))
    await asyncio.gather(*(write(store, name, caller, most) for caller in range(callers)))
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int((sys.argv[5:] or ["1000000"])[0])))
