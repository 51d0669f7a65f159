"""Whoever is killed while erasing: a key is gone and the journal says so, or neither."""

import asyncio
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from tests.store.homes import START

from aegis.adapters import keyfiles

CHILD = Path(__file__).with_name("endless.py")
ROUNDS = int(os.environ.get("AEGIS_EXAMPLES", "1")) * 3
SEED = random.SystemRandom().randrange(2**32)


def start(home, keys, name):
    path = os.pathsep.join(filter(None, sys.path))
    command = [sys.executable, CHILD, home.kind, home.where, keys, name]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path})


async def standing(store):
    found, after = set(), ""
    while page := await store.data_keys("acme", after=after):
        found |= {key_id for key_id, _ in page}
        after = page[-1][0]
    return found


async def test_a_killed_eraser_leaves_no_key_without_its_event_and_no_event_without_its_key(home, tmp_path):
    keys, chance = tmp_path / "keys", random.Random(SEED)
    keyfiles.create(keys, "kek", "acme", "", now=START)
    told: set[str] = set()
    for round_ in range(ROUNDS):
        process = start(home, keys, f"w{round_}")
        first = await asyncio.to_thread(process.stdout.readline)
        await asyncio.sleep(chance.random() * 0.4)
        process.kill()
        rest, _ = await asyncio.to_thread(process.communicate)
        lines = (first + rest).decode().split("\n")[:-1]
        told |= {line.split(" ")[1] for line in lines if line.startswith("erased")}
        store = await home.open()
        events = [json.loads(each.body) for each in await store.events("acme", limit=100_000)]
        said = {key for each in events if each["type"] == "erasure" for key in each["keys"]}
        known = {key_id for (key_id,) in home.sql("SELECT key_id FROM data_key")}
        assert told <= said, f"seed {SEED}: an erasure that was told is not in the journal"
        assert said == known - await standing(store), f"seed {SEED}: keys and journal do not agree"
        assert await store.fsck() == ()
        await store.close()
    assert told, f"seed {SEED}: nobody was erased before the kills"


@pytest.mark.parametrize("round_", range(ROUNDS // 3))
async def test_whoever_is_killed_while_removing_old_events_leaves_a_sound_log(home, round_):
    path = os.pathsep.join(filter(None, sys.path))
    command = [sys.executable, CHILD.with_name("shedding.py"), home.kind, home.where]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path})
    for _ in range(2):
        await asyncio.to_thread(process.stdout.readline)
    await asyncio.sleep(random.Random(SEED + round_).random() * 0.15)
    process.kill()
    rest, _ = await asyncio.to_thread(process.communicate)
    told = [1024, *map(int, rest.split())]
    store = await home.open()
    first = (await store.heads())["acme"].first
    assert first in (told[-1], told[-1] + 1024), f"seed {SEED}"
    assert await store.fsck() == ()
    await store.shed("acme")
    assert (await store.events("acme", limit=1))[0].seq == first
    assert await store.fsck() == ()
