"""Searches in a journal of a million events, and how fast the index is made.

The events are as long and as varied as real ones and are put into the tables directly, which no gateway does; the index is made by
the indexer itself. Each query asks for a page of 50. `SEARCH_EVENTS` says how many events, when a million is too many.
"""

import asyncio
import hashlib
import os
import sqlite3
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from time import perf_counter, process_time
from typing import Any

import psycopg

from aegis.adapters import postgres, sqlite
from aegis.adapters.instants import to_micros
from aegis.crypto.merkle import Frontier, leaf_hash
from aegis.journal.store import Store
from aegis.journal.terms import Filter
from aegis.model.event import Event, encode
from aegis.runtime.indexing import Indexer
from aegis.runtime.searching import search

TENANT = "acme"
COUNT = int(os.environ.get("SEARCH_EVENTS", "1000000"))
START = datetime(2026, 11, 1, tzinfo=UTC)
STEP = timedelta(milliseconds=1700)
RUNS = 21
BATCH = 20_000
COLUMNS = ("tenant", "seq", "id", "type", "time", "request_id", "body", "digest")


def events() -> Iterator[tuple[Any, ...]]:
    """Rows of the table `event`: a decision and an outcome for each call, and now and then an approval."""
    draw = Random(1)
    for seq in range(COUNT):
        call = seq // 2
        time = START + STEP * seq
        kind = "approval" if seq % 97 == 0 else "decision" if seq % 2 == 0 else "outcome"
        event = Event(
            id=f"{kind}:req_{call:08}:{seq}",
            type=kind,
            tenant=TENANT,
            time=time,
            request_id=f"req_{call:08}",
            data=told(kind, call, draw),
        )
        body = encode(event, seq)
        yield (TENANT, seq, event.id, kind, to_micros(time), event.request_id, body, "sha256:" + hashlib.sha256(body).hexdigest())  # fmt: skip


def told(kind: str, call: int, draw: Random) -> dict[str, Any]:
    """Two hundred agents of unequal zeal, forty tools, two thousand people, a run of twenty calls."""
    agent = f"agent:worker-{min(int(draw.expovariate(0.05)), 199)}"
    who = {
        "agent_id": agent,
        "actor": {"sub": f"user:u{draw.randrange(2000)}", "act": [{"sub": agent}, {"sub": "agent:planner"}]},
        "agent": {"roles": ["worker"], "scopes": ["records.*", "pay.*"], "trust": 3, "txn": f"run_{call // 20:07}", "task": f"task-{call % 30}"},
    }  # fmt: skip
    tool = {"tool": {"name": f"records.t{draw.randrange(40)}", "version": "1.0.0", "digest": "sha256:" + "0" * 64}}
    if kind == "approval":
        return {
            "approver": f"person:p{draw.randrange(12)}",
            "approval_id": f"apr_{call}",
            "agent_id": agent,
            "answer": "approve",
            **tool,
        }
    if kind == "outcome":
        outcome = "failed" if draw.random() < 0.01 else "done"
        return {
            **who,
            **tool,
            "outcome": outcome,
            "reason": "timeout" if outcome == "failed" else "",
            "cost_micros": cost(draw),
            "duration_us": 1200,
        }
    denied = draw.random() < 0.04
    rule = f"deny.r{draw.randrange(25)}" if denied else "default.allow"
    more = {
        "policy": {"bundle": "acme/main", "version": "7", "digest": "sha256:" + "1" * 64},
        "request_hash": "sha256:" + "2" * 64,
        "gateway": "gw-1",
        "latency_us": 412,
    }
    return {**who, **tool, **more, "token_jti": f"tok_{call // 200:06}", "decision": "deny" if denied else "allow", "rules": [rule], "matched": [rule], "reasons": [{"rule": rule}], "cost_micros": cost(draw), "trace_id": f"{call:032x}"}  # fmt: skip


def cost(draw: Random) -> int:
    return int(draw.lognormvariate(8, 2))


QUERIES: dict[str, Filter] = {
    "nothing but the newest": Filter(),
    "an agent": Filter(terms=(("agent", "agent:worker-3"),)),
    "an agent that is rare": Filter(terms=(("agent", "agent:worker-150"),)),
    "what was denied, by a tool": Filter(terms=(("decision", "deny"), ("tool", "records.t7"))),
    "a run, the oldest": Filter(terms=(("run", "run_0000000"),)),
    "a run in the middle": Filter(terms=(("run", f"run_{COUNT // 80:07}"),)),
    "a request": Filter(request=f"req_{COUNT // 4:08}"),
    "a person": Filter(terms=(("person", "user:u77"),)),
    "failed calls of an agent": Filter(terms=(("outcome", "failed"), ("agent", "agent:worker-9"))),
    "a rule, in a day": Filter(terms=(("rule", "deny.r3"),), since=START + STEP * (COUNT // 2), until=START + STEP * (COUNT // 2) + timedelta(days=1)),
    "an approver, at least so dear": Filter(terms=(("approver", "person:p3"),), cost_from=1),
    "at least so dear": Filter(cost_from=8_000_000),
    "denied, and at most so dear": Filter(terms=(("decision", "deny"),), cost_to=3),
    "worst: two common things that never meet": Filter(terms=(("decision", "allow"), ("outcome", "done"))),
    "worst: five things that hardly meet": Filter(
        terms=(("type", "decision"), ("decision", "deny"), ("agent", "agent:worker-40"), ("person", "user:u5"), ("tool", "records.t1"))
    ),
    "worst: all costs between two that are not there": Filter(terms=(("type", "approval"),), cost_from=10, cost_to=10**9),
    "worst: nobody": Filter(terms=(("agent", "agent:nobody"), ("decision", "allow"))),
    "without the end of a page: a thousand at once": Filter(terms=(("decision", "allow"),)),
}  # fmt: skip


def fill_sqlite(path: Path) -> Frontier:
    """Put the events in."""
    frontier = Frontier()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA synchronous = OFF")
        for rows in batches():
            with db:
                db.executemany(f"INSERT INTO event ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})", rows)
            frontier = frontier.extend(leaf_hash(row[6]) for row in rows)
        with db:
            db.execute("INSERT INTO head (tenant, next, latest, frontier) VALUES (?, ?, ?, ?)", head(frontier))
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return frontier


def fill_postgres(dsn: str) -> Frontier:
    """Put the events in."""
    frontier = Frontier()
    with psycopg.connect(dsn) as db:
        for rows in batches():
            with db.cursor().copy(f"COPY event ({', '.join(COLUMNS)}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
            frontier = frontier.extend(leaf_hash(row[6]) for row in rows)
        db.execute("INSERT INTO head (tenant, next, latest, frontier) VALUES (%s, %s, %s, %s)", head(frontier))
    with psycopg.connect(dsn, autocommit=True) as db:
        db.execute("VACUUM ANALYZE event")
    return frontier


def batches() -> Iterator[list[tuple[Any, ...]]]:
    rows: list[tuple[Any, ...]] = []
    for row in events():
        rows.append(row)
        if len(rows) == BATCH:
            yield rows
            rows = []
    if rows:
        yield rows


def head(frontier: Frontier) -> tuple[Any, ...]:
    return TENANT, frontier.size, to_micros(START + STEP * frontier.size), frontier.hashes


async def measured(kind: str, store: Store) -> list[dict[str, Any]]:
    """The rate of the index, then each query."""
    indexer, turns, made, started = Indexer(store), [], 0, perf_counter()
    while True:
        began = perf_counter()
        if not (some := await indexer.turn()):
            break
        made += some
        turns.append((perf_counter() - began) / some)
    took = perf_counter() - started
    rows: list[dict[str, Any]] = [
        {"store": kind, "what": "index", "events": COUNT, "events_s": round(made * 1024 / took), "block_ms_p50": round(1000 * statistics.median(turns), 1)}
    ]  # fmt: skip
    for name, wanted in QUERIES.items():
        limit = 1000 if "thousand" in name else 50
        times, work, found = [], [], 0
        for _ in range(RUNS):
            began, busy = perf_counter(), process_time()
            found = len((await search(store, TENANT, wanted, limit=limit)).events)
            times.append(1000 * (perf_counter() - began))
            work.append(1000 * (process_time() - busy))
        times.sort()
        rows.append(
            {
                "store": kind,
                "what": name,
                "found": found,
                "p50_ms": round(statistics.median(times), 1),
                "max_ms": round(times[-1], 1),
                "cpu_ms": round(statistics.median(work), 1),
            }
        )
    return rows


async def on_sqlite() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "aegis.db"
        await (await sqlite.open_store(path, clock=lambda: START)).close()
        fill_sqlite(path)
        store = await sqlite.open_store(path, clock=lambda: START, check=False)
        try:
            return await measured("sqlite", store)
        finally:
            await store.close()


async def on_postgres() -> list[dict[str, Any]]:
    from tests.postgres_server import fresh_database

    dsn = fresh_database()
    await (await postgres.open_store(dsn, clock=lambda: START)).close()
    fill_postgres(dsn)
    store = await postgres.open_store(dsn, clock=lambda: START, check=False)
    try:
        return await measured("postgres", store)
    finally:
        await store.close()


def run() -> list[dict[str, Any]]:
    """Both stores, one after the other."""
    return [*asyncio.run(on_sqlite()), *asyncio.run(on_postgres())]


if __name__ == "__main__":
    for row in run():
        print(row)
