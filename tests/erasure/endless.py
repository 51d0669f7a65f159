"""A process that seals for one person after the other and erases them, until it is killed: KIND WHERE KEYS NAME."""

import asyncio
import sys
from itertools import count
from pathlib import Path

from tests.store.homes import Home, event, now

from aegis.adapters.kekfiles import KekFiles
from aegis.journal.unit import Unit
from aegis.runtime.clock import Clock
from aegis.runtime.erasing import Order, erase
from aegis.runtime.vault import Vault


async def main(kind: str, where: str, keys: str, name: str) -> None:
    store = await Home(kind, where).open()
    vault = Vault(store, KekFiles(Path(keys)))
    order = Order(by="person:alice", reason="asked", statement="")
    for n in count():
        whose, event_id = f"subject:{name}_{n}", f"{name}_{n}"
        sealed = await vault.seal("acme", event_id, "arguments", b"{}", whose)
        await store.commit(Unit(tenant="acme", events=(event("acme", event_id),), payloads=(sealed,)))
        print("sealed", flush=True)
        if n % 3:
            done = await erase(store, vault, Clock(now), "acme", whose, order)
            print(f"erased {done.key_id}", flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
