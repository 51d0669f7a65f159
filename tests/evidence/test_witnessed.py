"""Several processes seal at once before one witness: no false alarm, no two trees, and what a thief tells the witness is told."""

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace
from tests.store.homes import event, ready
from tests.witness.logs import Log, Running

from aegis.adapters import keyfiles
from aegis.adapters.anchor import Anchor
from aegis.adapters.witness import states
from aegis.adapters.witnesses import asking
from aegis.app import open_store
from aegis.crypto import jwk, merkle, note
from aegis.journal import checkpoint
from aegis.journal.unit import Put, Unit
from aegis.model.event import SYSTEM_TENANT, origin
from aegis.runtime.clock import Clock
from aegis.runtime.sealing import Sealer
from aegis.settings import EvidenceSettings
from gateway.world import World

KEY = jwk.private_key(bytes(range(32)))
TENANTS = ("acme", "globex")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def home(request, tmp_path):
    place = ready(request.param, tmp_path)
    yield place
    await place.close()


@pytest.fixture
def witness(tmp_path):
    logs = [note.vkey(origin(tenant), KEY.public) for tenant in (*TENANTS, SYSTEM_TENANT)]
    running = Running(tmp_path / "witness", "w.example", logs)
    yield running
    running.stop()


async def test_processes_that_seal_at_once_raise_no_false_alarm_and_end_cosigned(home, tmp_path, witness):
    store = await home.open()
    asked = [asking([(witness.url, witness.verifier)], 1, store) for _ in range(4)]
    sealers = [
        Sealer(store, Clock(), lambda *_: KEY, Anchor(tmp_path / "anchor"), each, f"gw-{n}", timedelta(seconds=5))
        for n, each in enumerate(asked)
    ]
    try:
        for turn in range(8):
            for tenant in TENANTS:
                await store.commit(Unit(tenant=tenant, events=tuple(event(tenant, f"{tenant}-{turn}-{n}") for n in range(5))))
            await asyncio.gather(*(each.seal() for each in sealers), sealers[turn % 4].check())
        await sealers[0].seal()
        assert [each.troubles() for each in asked] == [{}] * 4
    finally:
        for each in asked:
            await each.close()
    known = {each.checkpoint.origin: each.checkpoint for each in states.known(witness.home)}
    for tenant in TENANTS:
        kept = note.parse(Anchor(tmp_path / "anchor").note(origin(tenant)))
        assert checkpoint.parse(kept.text) == known[origin(tenant)]
        assert known[origin(tenant)].size == 40
        log = note.Verifier(origin(tenant), KEY.public)
        assert len(note.verified(kept, [log, witness.verifier])) == 2
    assert states.conflicts(witness.home) == []


@pytest.fixture
def watched(tmp_path):
    """A world with a witness that knows its logs."""
    (tmp_path / "host").mkdir()
    w = World(tmp_path / "host", "sqlite:data/aegis.db")
    keys = [each for each in keyfiles.load_public(w.keys).entries() if each.key_class == "log"]
    running = Running(tmp_path / "witness", "w.example", [note.vkey(origin(each.tenant), each.key) for each in keys])
    w.settings = replace(w.settings, evidence=EvidenceSettings(witness_url=running.url, witness_key=running.verifier.vkey))
    w.start()
    yield w, running
    w.close()
    running.stop()


def leaves(w: World) -> list[bytes]:
    async def read() -> list[bytes]:
        store = await open_store(w.settings, Clock(w.hand))
        try:
            return [merkle.leaf_hash(each.body) for each in await store.events("acme", limit=10_000)]
        finally:
            await store.close()

    return asyncio.run(read())


def test_a_thief_of_the_logs_key_who_goes_on_elsewhere_is_told_by_the_gateway_that_serves(watched):
    w, witness = watched
    assert w.call("pay.honours", {"amount": 10}, "k-1").status_code == 200
    deadline = time.monotonic() + 15
    while not (known := [each.checkpoint for each in states.known(witness.home) if each.checkpoint.origin == origin("acme")]):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    forged = Log(origin=origin("acme"), key=keyfiles.load_private(w.keys, "log", "acme", "", now=datetime.now(UTC)))
    forged.leaves = leaves(w)
    size = max(known[0].size, 1)
    while (answer := witness.add(forged.grow(3, b"forged"), size))[0] != 200:
        size = int(answer[2])
    assert w.watch("/readyz").status_code == 200
    assert w.call("pay.honours", {"amount": 10}, "k-2").status_code == 200
    deadline = time.monotonic() + 15
    while (ready := w.watch("/readyz")).status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert "witness `w.example` has cosigned" in json.dumps(ready.json() if ready.text.startswith("{") else ready.text)
    kept = note.parse(Anchor(w.settings.anchor).note(origin("acme")))
    assert checkpoint.parse(kept.text).size < len(forged.leaves)


async def test_a_time_to_come_in_the_row_of_a_checkpoint_does_not_stand_for_a_witness(home, tmp_path, witness):
    store = await home.open()
    asked = asking([(witness.url, witness.verifier)], 1, store)
    sealer = Sealer(store, Clock(), lambda *_: KEY, Anchor(tmp_path / "anchor"), asked, "gw", timedelta(seconds=5))
    try:
        await store.commit(Unit(tenant="acme", events=(event("acme", "one"),)))
        await sealer.seal()
        row = (await store.rows(SYSTEM_TENANT, [("checkpoint", "acme")]))["checkpoint", "acme"]
        said = {**json.loads(row.body), "at": "2099-01-01T00:00:00Z", "cosigned_at": "2099-01-01T00:00:00Z"}
        await store.commit(Unit(tenant=SYSTEM_TENANT, writes=(Put(kind="checkpoint", id="acme", body=json.dumps(said).encode()),)))
        await store.commit(Unit(tenant="acme", events=(event("acme", "two"),)))
        witness.stop()
        await sealer.seal()
        assert any("`acme`: not cosigned" in each for each in sealer.alarms())
    finally:
        await asked.close()
