"""A process that commits and seals, and is killed at the boundary it was told: `python dying.py KIND WHERE ANCHOR NAME BOUNDARY`.

A boundary is the moment before or after a statement of the writer (on SQLite), a round trip of it (on PostgreSQL), or a sync of the
anchor. The process counts them and kills itself at the one of the given number; number 0 only counts, and says how many there were.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1]))

from datetime import timedelta

from tests.store.homes import Home
from tests.store.writing import tenant_of, write

from aegis.adapters import anchor
from aegis.crypto import jwk
from aegis.runtime.clock import Clock
from aegis.runtime.sealing import Sealer

KEY = jwk.private_key(bytes(range(32)))
CALLERS = 3
UNITS = 8


class Boundaries:
    """Counts, and dies at one."""

    def __init__(self, last):
        self.crossed = 0
        self._last = last

    def cross(self):
        self.crossed += 1
        if self.crossed == self._last:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, function):
        def wrapped(*given, **named):
            self.cross()
            found = function(*given, **named)
            self.cross()
            return found

        return wrapped


async def main(kind, where, place, name, last):
    store = await Home(kind, where).open()
    boundaries = Boundaries(last)
    backend = store._backend
    attribute = "_execute" if kind == "sqlite" else "_ask"
    setattr(backend, attribute, boundaries.around(getattr(backend, attribute)))
    anchor.os.fsync = boundaries.around(os.fsync)
    sealer = Sealer(store, Clock(), lambda *_: KEY, anchor.Anchor(Path(place)), None, name, timedelta(seconds=5))
    await sealer.check()
    await store.register(name)
    for tenant in {tenant_of(caller) for caller in range(CALLERS)}:
        await store.data_key(tenant, "", ("key_1", b"wrapped"))
    writing = asyncio.gather(*(write(store, name, caller, UNITS) for caller in range(CALLERS)))
    while not writing.done():
        await sealer.seal()
        await asyncio.sleep(0.001)
    await writing
    await sealer.seal()
    os.write(2, b"%d" % boundaries.crossed)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5], int(sys.argv[5])))
