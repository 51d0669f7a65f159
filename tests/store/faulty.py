"""A process whose disk fails: `python faulty.py WHERE FAULT`. It commits before, during and after the fault, and prints what it got."""

import asyncio
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.store.homes import Home, put, unit

from aegis.errors import StoreError
from aegis.journal.store import Store


async def told(store: Store, *ids: str) -> list[str]:
    """The kind of answer to each of these units, asked together."""
    asked = [store.commit(unit("acme", each, writes=(put(each, b'"%s"' % (b"x" * 20_000)),))) for each in ids]
    return [type(answer).__name__ for answer in await asyncio.gather(*asked, return_exceptions=True)]


async def main(where: str, fault: Path) -> None:
    store = await Home("sqlite", where).open()
    found: dict[str, object] = {"before": await told(store, "a1", "a2")}
    fault.touch()
    found["during"] = await told(store, "b1", "b2", "b3")
    found["later"] = await told(store, "c1")
    found["read during"] = [each.id for each in await store.events("acme")]
    fault.unlink()
    found["after"] = await told(store, "d1")
    found["halted"] = (await store.stats())["halted"]
    try:
        await store.close()
    except StoreError as error:
        found["close"] = type(error).__name__
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(os.environ["AEGIS_FAULTS"]) / sys.argv[2]))
