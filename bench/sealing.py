"""What a round of sealing costs: `python -m bench sealing`.

So many logs get ten events each, and one round hashes them anew, signs, keeps the notes in an anchor on the same disk and records them.
A gateway does this once a second beside its calls; no call waits for it.
"""

import asyncio
import statistics
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from bench.store import KEY, _postgres, _sqlite, unit

from aegis.adapters.anchor import Anchor
from aegis.journal.store import Store
from aegis.runtime.clock import Clock
from aegis.runtime.sealing import Sealer

LOGS = (1, 100, 1000)
EVENTS = 10
ROUNDS = 5


async def rounds(store: Store, logs: int, folder: Path) -> dict[str, Any]:
    """The median round over this many logs."""
    tenants = [f"log{logs}-{index:04}" for index in range(logs)]
    sealer = Sealer(store, Clock(), lambda *_: KEY, Anchor(folder), None, "bench", timedelta(seconds=5))
    for tenant in tenants:
        await store.data_key(tenant, "", ("bench", b"wrapped"))
    took, busy = [], []
    for _ in range(ROUNDS):
        for _ in range(EVENTS):
            await asyncio.gather(*(store.commit(unit(tenant, "bench")) for tenant in tenants))
        began, worked = time.perf_counter(), time.process_time()
        await sealer.seal()
        took.append(time.perf_counter() - began)
        busy.append(time.process_time() - worked)
    return {"p50_ms": round(1000 * statistics.median(took), 1), "cpu_us_per_log": round(1e6 * statistics.median(busy) / logs)}


async def measured() -> list[dict[str, Any]]:
    found = []
    for name, opened in (("sqlite", _sqlite), ("postgres", _postgres)):
        for logs in LOGS:
            async with opened() as store:
                with tempfile.TemporaryDirectory() as folder:
                    found.append({"store": name, "logs": logs, "events": EVENTS * logs, **await rounds(store, logs, Path(folder))})
    return found


def run() -> list[dict[str, Any]]:
    """The rows of the bench."""
    return asyncio.run(measured())
