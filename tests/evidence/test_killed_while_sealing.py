"""Wherever a process that commits and seals is killed: nothing acknowledged is missing, and nothing sealed is contradicted."""

import asyncio
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from tests.evidence.test_sealing import said, sealer
from tests.store.kills import acknowledged, check
from tests.store.writing import TENANTS, tenant_of

from aegis.adapters.anchor import Anchor
from aegis.journal import proofs
from aegis.model.event import origin

_CHILD = Path(__file__).with_name("dying.py")


def start(home, tmp_path, name, boundary):
    return subprocess.Popen(
        [sys.executable, _CHILD, home.kind, home.where, str(tmp_path / "anchor"), name, str(boundary)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


async def kill_at_boundaries(home, tmp_path, kills, seed):
    """Kill at `kills` boundaries, all kinds of them, while another process writes and seals too; how much was acknowledged."""
    chance, told, notes = random.Random(seed), [], []
    counting = await asyncio.to_thread(start(home, tmp_path, "counting", 0).communicate)
    told += acknowledged(counting[0])
    most = int(counting[1].split()[-1])
    for number in range(kills):
        pair = [start(home, tmp_path, f"dies{number}", chance.randint(1, most)), start(home, tmp_path, f"lives{number}", 0)]
        for process in pair:
            told += acknowledged((await asyncio.to_thread(process.communicate))[0])
        store = await home.open()
        assert await store.fsck() == ()
        fresh = sealer(store, tmp_path)
        await fresh.check()
        await fresh.seal()
        notes += Anchor(tmp_path / "anchor").all().items()
        await store.close()
    store = await home.open()
    await check(store, told)
    for of, note in dict.fromkeys(notes):
        tenant = next(name for name in ("_system", *map(tenant_of, range(TENANTS))) if origin(name) == of)
        made = said(note)
        assert await proofs.root(store, tenant, made.size) == made.root, "every checkpoint ever signed still holds"
    return len(told)


async def test_a_process_killed_at_any_boundary_of_a_commit_or_a_seal_leaves_a_sound_log(home, tmp_path):
    assert await kill_at_boundaries(home, tmp_path, 5, 11)


@pytest.mark.campaign
async def test_hundreds_of_kills_at_boundaries(home, tmp_path):
    kills = int(os.environ.get("AEGIS_KILLS", "300"))
    print(f"{home.kind}: {kills} kills, {await kill_at_boundaries(home, tmp_path, kills, 12)} acknowledged, none lost")
