"""How many durable units a second the stores take, and how long one waits: `python -m bench.store`.

A unit is what a decision commits: one event, two rows, one sealed payload of 300 bytes. `callers` wait each for their own unit
before they send the next; `offered` units arrive at a fixed rate, whether or not earlier ones have been answered. A unit `with
history` also remembers its call, and expects that a sum of its agent and a count of its run stay within their limits. `sealed`: a sealer signs
the logs meanwhile, as in a gateway, with its anchor on the same disk. `busy` are units that were refused because too many waited.
"""

import asyncio
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from aegis.adapters import postgres, sqlite
from aegis.adapters.anchor import Anchor
from aegis.crypto.jwk import private_key
from aegis.errors import StoreBusyError
from aegis.journal.store import Store
from aegis.journal.unit import Committed, Payload, Put, Require, Unit
from aegis.model.event import Event
from aegis.model.history import ALLOWED, Entry, Expect, Measure, Phase, Query, Reading, ReadingKind, Value
from aegis.runtime.clock import Clock
from aegis.runtime.sealing import EVERY_SECONDS, Sealer

CALLERS = (1, 8, 64)
TENANTS = (1, 100)
OFFERED_PER_SECOND = (500, 2_000, 5_000)
SEALED_PER_SECOND = 2_000
AGENTS = 100
KEY = private_key(bytes(range(32)))
_ids = itertools.count(time.time_ns())


def unit(tenant: str, key_id: str) -> Unit:
    """A decision about a call that nobody made before."""
    name = f"{next(_ids):032x}"
    event = Event(
        id=f"{name}:decision",
        type="decision",
        tenant=tenant,
        time=datetime.now(UTC),
        request_id=name,
        data={
            "actor": {"sub": "user:alice", "act": [{"sub": "agent:payer"}, {"sub": "agent:planner"}]},
            "tool": {"name": "payments.transfer", "version": "1", "digest": "sha256:" + "0" * 64},
            "decision": "allow",
            "rules": ["fin.transfer.small"],
            "matched": ["fin.transfer.small"],
            "reasons": [{"rule": "fin.transfer.small", "field": "/args/amount", "limit": 5000}],
            "policy": {"bundle": "acme/finance", "version": "7", "digest": "sha256:" + "0" * 64},
            "request_hash": "sha256:" + "0" * 64,
            "inputs": {"pii_commit": "sha256:" + "0" * 64},
        },
    )
    call = json.dumps({"request_id": name, "state": "executing", "filler": "x" * 250}).encode()
    claim = json.dumps({"request_id": name, "state": "in_flight", "filler": "x" * 80}).encode()
    return Unit(
        tenant=tenant,
        events=(event,),
        payloads=(Payload(event_id=event.id, name="arguments", key_id=key_id, nonce=os.urandom(12), ciphertext=os.urandom(300)),),
        requires=(Require(kind="call", id=name, version=0), Require(kind="claim", id=name, version=0)),
        writes=(
            Put(kind="call", id=name, body=call, state="executing"),
            Put(kind="claim", id=name, body=claim, state="in_flight"),
        ),
    )


def remembering(tenant: str, key_id: str) -> Unit:
    """Such a decision by one of `AGENTS` agents, each with ten calls in a run, under two limits over an hour."""
    plain, number, now = unit(tenant, key_id), next(_ids), datetime.now(UTC)
    call = plain.events[0].request_id
    agent, run = f"agent:{number % AGENTS}", f"run:{number % AGENTS}:{number // AGENTS // 10}"
    query: dict[str, Any] = {"tool": "payments.transfer", "phases": ALLOWED, "since": now - timedelta(hours=1), "excluding": call}
    amount = Query(**query, measure=Measure.SUM, of="amount_minor", agent=agent)
    calls = Query(**query, measure=Measure.COUNT, run=run)
    fields: dict[str, Value] = {"amount_minor": 5000, "iban": "0" * 64}
    entry = Entry(id=call, tool=query["tool"], at=now, phase=Phase.OPEN, agent=agent, run=run, subject="user:alice", fields=fields)
    expects = (
        Expect(reading=Reading(kind=ReadingKind.SUM, event=amount, own=5000), op="gt", bound=10**12, truth=False),
        Expect(reading=Reading(kind=ReadingKind.COUNT, event=calls, own=1), op="gt", bound=1000, truth=False),
    )
    return replace(plain, expects=expects, remember=(entry,))


async def closed(
    store: Store, callers: int, tenants: list[str], seconds: float, build: Callable[[str, str], Unit] = unit
) -> dict[str, Any]:
    """`callers` that wait for their answer before they ask again."""
    waits: list[float] = []
    turn = itertools.cycle(tenants)
    end = time.monotonic() + seconds

    async def caller() -> None:
        while time.monotonic() < end:
            await _timed(store, build(next(turn), "bench"), waits)

    return await _measured(lambda: asyncio.gather(*[caller() for _ in range(callers)]), waits)


async def offered(store: Store, rate: int, tenants: list[str], seconds: float) -> dict[str, Any]:
    """Units that arrive `rate` times a second; waiting counts from the moment at which each was due."""
    waits: list[float] = []
    turn = itertools.cycle(tenants)

    async def work() -> None:
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for index in range(int(rate * seconds)):
                due = began + index / rate
                if (ahead := due - time.monotonic()) > 0:
                    await asyncio.sleep(ahead)
                group.create_task(_timed(store, unit(next(turn), "bench"), waits, due))

    return await _measured(work, waits)


def run(seconds: float = 3.0) -> list[dict[str, Any]]:
    """Every measurement, one dictionary each."""
    return asyncio.run(_run(seconds))


async def _run(seconds: float) -> list[dict[str, Any]]:
    found = []
    for name, opened in (("sqlite", _sqlite), ("postgres", _postgres)):
        async with opened() as store:
            for count in TENANTS:
                tenants = [f"tenant{index:04}" for index in range(count)]
                for tenant in tenants:
                    await store.data_key(tenant, "", ("bench", b"wrapped"))
                await closed(store, 8, tenants, 0.5)
                about = {"store": name, "tenants": count}
                found += [
                    {**about, "load": f"{callers} callers", **await closed(store, callers, tenants, seconds)} for callers in CALLERS
                ]
                found += [
                    {
                        **about,
                        "load": f"{callers} with history",
                        **await closed(store, callers, tenants, seconds, remembering),
                    }
                    for callers in CALLERS
                ]
                found += [
                    {**about, "load": f"{rate}/s offered", **await offered(store, rate, tenants, seconds)}
                    for rate in OFFERED_PER_SECOND
                ]
                async with _sealing(store):
                    load = f"{SEALED_PER_SECOND}/s offered, sealed"
                    found.append({**about, "load": load, **await offered(store, SEALED_PER_SECOND, tenants, seconds)})
    return found


@asynccontextmanager
async def _sealing(store: Store) -> AsyncIterator[None]:
    """A sealer that signs what there is, once a second."""
    with tempfile.TemporaryDirectory() as folder:
        sealer = Sealer(store, Clock(), lambda *_: KEY, Anchor(Path(folder)), None, "bench", timedelta(seconds=5))

        async def go_on() -> None:
            while True:
                await sealer.turn()
                await asyncio.sleep(EVERY_SECONDS)

        await sealer.seal()
        task = asyncio.create_task(go_on())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _measured(work: Callable[[], Any], waits: list[float]) -> dict[str, Any]:
    began, cpu = time.monotonic(), time.process_time()
    await work()
    seconds, cpu = time.monotonic() - began, time.process_time() - cpu
    answered = [wait for wait in waits if wait >= 0]
    quantiles = statistics.quantiles(answered, n=100)
    return {
        "units_per_second": round(len(answered) / seconds),
        "p50_ms": round(quantiles[49] * 1000, 2),
        "p99_ms": round(quantiles[98] * 1000, 2),
        "cpu_us_per_unit": round(cpu / len(answered) * 1e6),
        "busy": len(waits) - len(answered),
    }


async def _timed(store: Store, asked: Unit, waits: list[float], began: float | None = None) -> None:
    began = time.monotonic() if began is None else began
    try:
        receipt = await store.commit(asked)
    except StoreBusyError:
        waits.append(-1.0)
        return
    waits.append(time.monotonic() - began)
    if not isinstance(receipt, Committed):
        raise TypeError(f"expected `Committed`, found `{type(receipt).__name__}`")


@asynccontextmanager
async def _sqlite() -> AsyncIterator[Store]:
    with tempfile.TemporaryDirectory() as home:
        store = await sqlite.open_store(Path(home) / "store.db", clock=lambda: datetime.now(UTC))
        yield store
        await store.close()


@asynccontextmanager
async def _postgres() -> AsyncIterator[Store]:
    from tests.postgres_server import fresh_database

    store = await postgres.open_store(fresh_database(), clock=lambda: datetime.now(UTC))
    yield store
    await store.close()


def table(found: list[dict[str, Any]]) -> str:
    """The measurements for people."""
    lines = [f"{'store':9} {'tenants':>7} {'load':>16} {'units/s':>8} {'p50 ms':>8} {'p99 ms':>8} {'CPU us':>7}"]
    lines += [
        f"{row['store']:9} {row['tenants']:7} {row['load']:>16} {row['units_per_second']:8} {row['p50_ms']:8} {row['p99_ms']:8}"
        f" {row['cpu_us_per_unit']:7}"
        for row in found
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(run(float(sys.argv[1]) if len(sys.argv) > 1 else 3.0)))
