"""What is good once is good once, under forty uses at the same time, over two gateway processes on one store."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from aegis.runtime.known import ALLOWANCE
from aegis.runtime.once import KEPT, ONCE
from authority.agents import Bot
from gateway.world import World

TIMES = 40


@contextmanager
def another_process(w: World) -> Iterator[Any]:
    """A gateway in a process of its own over the files and the store of `w`; what it has of a world is its address."""
    (w.root / "aegis.toml").write_text(f'[gateway]\nport = 0\n[store]\nurl = "{w.settings.store.url}"\n')
    process = subprocess.Popen(
        [sys.executable, "-m", "aegis", "--dir", str(w.root), "up", "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert "aegis is up on http://" in line, line
        threading.Thread(target=process.stdout.read, daemon=True).start()
        url = line.split("aegis is up on ")[1].split()[0]
        yield SimpleNamespace(url=url, hand=w.hand, keys=w.keys)
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


def race(one, other, use) -> list[httpx.Response]:
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(lambda n: use((one, other)[n % 2], n), range(TIMES)))


def test_one_assertion_one_proof_and_one_call_have_each_one_winner(w):
    with another_process(w) as second:
        here, there = Bot(w, "agent:payer"), Bot(second, "agent:payer")

        assertion = here.assertion()
        told = race(here, there, lambda bot, _: bot.ask(assertion=assertion))
        assert sorted(each.status_code for each in told) == [200] + [403] * (TIMES - 1)

        desk = Bot(w, "agent:desk").get()
        handed = desk.delegated("agent:payer", tools=[{"tool": "pay.honours", "calls": 1}])
        here.get(delegation=handed["delegation"])
        there.access, there.parent = here.access, here.parent
        told = race(here, there, lambda bot, n: bot.call("pay.honours", {"amount": 1}, f"k{n}"))
        assert len([each for each in told if each.status_code == 200]) == 1
        assert len(w.tool.done) == 1

        remote = Bot(w, "agent:remote", bound=True).get()
        path = "/v1/tools"
        proof = remote.proof("GET", path, token=remote.access)
        headers = {"authorization": f"DPoP {remote.access}", "dpop": proof}
        with ThreadPoolExecutor(16) as pool:
            told = list(pool.map(lambda _: httpx.get(w.url + path, headers=headers, timeout=30), range(TIMES)))
        assert sorted(each.status_code for each in told) == [200] + [401] * (TIMES - 1)
        host = w.url.removeprefix("http://")
        shown_elsewhere = httpx.get(second.url + path, headers={**headers, "host": host}, timeout=30)
        assert (shown_elsewhere.status_code, shown_elsewhere.json()["detail"]) == (401, "refused: pop_replayed")


def test_what_is_refused_by_its_age_is_forgotten_and_still_refused(w):
    import asyncio

    from aegis.app import open_store
    from aegis.runtime.clock import Clock
    from aegis.runtime.once import Once

    payer = Bot(w, "agent:payer")
    old = payer.assertion()
    assert payer.ask(assertion=old).status_code == 200
    desk = Bot(w, "agent:desk").get()
    Bot(w, "agent:payer").get(delegation=desk.delegated("agent:payer", tools=[{"tool": "pay.honours", "calls": 1}])["delegation"])

    async def rows(forget: bool) -> list[str]:
        store = await open_store(w.settings, Clock(w.hand))
        try:
            if forget:
                await Once(store, Clock(w.hand)).forget("acme")
            return [row.id for kind in (ONCE, ALLOWANCE) for row in await store.find("acme", kind)]
        finally:
            await store.close()

    assert len(asyncio.run(rows(forget=False))) >= 4
    w.hand.offset = KEPT + timedelta(minutes=1)
    assert asyncio.run(rows(forget=True)) == []
    assert payer.ask(assertion=old).status_code == 401
    assert w.fsck() == []


@pytest.mark.parametrize("stated", ["", "sha256:" + "0" * 64], ids=["none", "another"])
def test_an_agent_that_works_by_other_instructions_gets_no_token(tmp_path, stated):
    from authority.agents import with_keys

    world = World(tmp_path, "sqlite:data/aegis.db")
    home = tmp_path / "tenants/acme"
    (home / "payer.md").write_text("You pay what was approved.\n")
    path = home / "directory.yaml"
    path.write_text(path.read_text().replace("agent:payer: {roles", "agent:payer: {prompt: payer.md, roles"))
    try:
        with_keys(world)
        world.start()
        told = Bot(world, "agent:payer", prompt=stated).ask()
        assert (told.status_code, told.json()["rule"]) == (403, "token.artifact_digest_mismatch")
        import hashlib

        right = "sha256:" + hashlib.sha256(b"You pay what was approved.\n").hexdigest()
        payer = Bot(world, "agent:payer", prompt=right).get()
        done = payer.call("pay.honours", {"amount": 1}, "k").json()["request_id"]
        assert next(e for e in world.events(done) if e["type"] == "decision")["model"] == {"prompt_sha256": right}
    finally:
        world.close()
