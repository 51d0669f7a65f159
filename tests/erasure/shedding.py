"""A process that lets go of events and removes them, until it is killed: KIND WHERE."""

import asyncio
import sys

from tests.erasure.test_dropped_events import dropping, filled
from tests.store.homes import Home

from aegis.journal.unit import Committed


async def main(kind: str, where: str) -> None:
    store = await Home(kind, where).open()
    await filled(store, size=6000)
    print("filled", flush=True)
    for first in range(1024, 6000, 1024):
        assert isinstance(await store.commit(dropping(first, f"dropped{first}")), Committed)
        print(first, flush=True)
        await store.shed("acme")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
