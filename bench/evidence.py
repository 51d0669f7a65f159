"""Proofs and verification in a journal of a million events: making tiles, proving, a bundle, and verifying it with the one file.

The events are those of `bench.search` (`SEARCH_EVENTS` says how many, when a million is too many). Wall time depends on what else the
machine does, so that the processor's time stands beside it where one process does all the work.
"""

import asyncio
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from time import perf_counter, process_time
from typing import Any

from bench.search import COUNT, START, TENANT, fill_sqlite

import aegis_verify as verifier
from aegis.adapters import bundlefiles, sqlite
from aegis.crypto import note as notes
from aegis.crypto.jwk import private_key
from aegis.crypto.merkle import verify_consistency, verify_inclusion
from aegis.journal import bundle, proofs
from aegis.journal.checkpoint import Checkpoint
from aegis.journal.store import Store
from aegis.journal.tiles import Growing
from aegis.model.event import origin

KEY = private_key(bytes(range(32)))
PROOFS = 200
TILES_AT_ONCE = 256


@asynccontextmanager
async def filled(folder: Path) -> AsyncIterator[Store]:
    """A store with all events, whose tiles are not made yet."""
    path = folder / "aegis.db"
    await (await sqlite.open_store(path, clock=lambda: START)).close()
    fill_sqlite(path)
    store = await sqlite.open_store(path, clock=lambda: START, check=False)
    try:
        yield store
    finally:
        await store.close()


async def tiled(store: Store) -> dict[str, Any]:
    """Hash every event anew and write the tiles, as after an upgrade."""
    began, growing, made = perf_counter(), Growing(), {}
    async for event in bundle.events(store, TENANT, 0, COUNT - 1):
        made.update(growing.append(verifier.leaf_hash(event.body)))
        if len(made) >= TILES_AT_ONCE:
            await store.put_tiles(TENANT, made)
            made = {}
    await store.put_tiles(TENANT, made)
    took = perf_counter() - began
    return {"what": "hash all events and write tiles", "seconds": round(took, 1), "events_s": round(COUNT / took)}


async def proven(store: Store, root: bytes) -> list[dict[str, Any]]:
    """Inclusion and consistency from the store, and their verification."""
    draw, inclusion, checked, growth = Random(1), [], [], []
    for _ in range(PROOFS):
        at, old = draw.randrange(COUNT), draw.randrange(1, COUNT)
        leaf = verifier.leaf_hash((await store.at(TENANT, [at]))[0].body)
        began = perf_counter()
        path = await proofs.inclusion(store, TENANT, at, COUNT)
        inclusion.append(perf_counter() - began)
        began = perf_counter()
        assert verify_inclusion(leaf, at, COUNT, path, root)
        checked.append(perf_counter() - began)
        began = perf_counter()
        steps = await proofs.consistency(store, TENANT, old, COUNT)
        growth.append(perf_counter() - began)
        assert verify_consistency(old, await proofs.root(store, TENANT, old), COUNT, root, steps)
    return [
        {"what": "inclusion proof from the store", **figures(inclusion)},
        {"what": "verify an inclusion proof", **figures(checked)},
        {"what": "consistency proof from the store", **figures(growth)},
    ]


def figures(times: list[float]) -> dict[str, Any]:
    ordered = sorted(times)
    return {"p50_ms": round(1000 * statistics.median(ordered), 3), "p99_ms": round(1000 * ordered[len(ordered) * 99 // 100], 3)}


async def bundled(store: Store, folder: Path, note: bytes) -> list[dict[str, Any]]:
    """Write the whole log as a bundle, and verify it: untouched, and with one event edited in the middle."""
    made = bundle.Bundle(tenant=TENANT, size=COUNT, note=note, created=START, first=0, last=COUNT - 1)
    began = perf_counter()
    await bundlefiles.write(folder / "bundle", bundle.files(store, made))
    rows: list[dict[str, Any]] = [{"what": "write a bundle", "seconds": round(perf_counter() - began, 1)}]
    rows.append({"what": "verify the bundle", **verified(folder / "bundle", [])})
    lines = (folder / "bundle" / "events.jsonl").read_bytes().split(b"\n")
    lines[COUNT // 2] = lines[COUNT // 2].replace(b'"v":1', b'"v":2')
    (folder / "bundle" / "events.jsonl").write_bytes(b"\n".join(lines))
    rows.append({"what": "find one edited event", **verified(folder / "bundle", [("edit", COUNT // 2)])})
    return rows


def verified(home: Path, expected: list[tuple[str, int]]) -> dict[str, Any]:
    trust = verifier.Trust(logs=(verifier.read_key(notes.vkey(origin(TENANT), KEY.public)),))
    began, busy = perf_counter(), process_time()
    report = verifier.verify(verifier.Bundle(str(home)), verifier.Question(trust, time.time()))
    took, worked = perf_counter() - began, process_time() - busy
    assert [(finding.kind, finding.seq) for finding in report.findings] == expected
    return {"seconds": round(took, 1), "processor_s": round(worked, 1), "us_an_event": round(1e6 * worked / COUNT, 1)}


async def measured() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        async with filled(folder) as store:
            rows = [await tiled(store)]
            root = await proofs.root(store, TENANT, COUNT)
            text = Checkpoint(origin(TENANT), COUNT, root).text
            note = notes.Note(text, (notes.sign(text, origin(TENANT), KEY),)).data
            rows += await proven(store, root)
            rows += await bundled(store, folder, note)
    began = perf_counter()
    for _ in range(PROOFS):
        assert verifier.ed25519(bytes.fromhex(PUBLIC), b"x", KEY.sign(b"x"))
    rows.append({"what": "verify a signature in plain Python", "p50_ms": round(1000 * (perf_counter() - began) / PROOFS, 2)})
    return rows


PUBLIC = notes.decode(notes.vkey("x", KEY.public).split("+", 2)[2])[1:].hex()


def run() -> list[dict[str, Any]]:
    """The rows of the bench."""
    return [{"events": COUNT, **row} for row in asyncio.run(measured())]
