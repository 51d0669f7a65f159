"""What processes keep of keys in memory, and for how long."""

import asyncio

import pytest
from tests.store.homes import START, event, now

from aegis.adapters import keyfiles
from aegis.adapters.kekfiles import KekFiles
from aegis.errors import ErasedError
from aegis.journal.unit import Committed, Unit
from aegis.runtime import vault as vaults
from aegis.runtime.clock import Clock
from aegis.runtime.erasing import Order, erase
from aegis.runtime.vault import Vault

ORDER = Order(by="person:alice", reason="asked", statement="")


@pytest.fixture
def keys(tmp_path):
    for tenant in ("acme", "globex"):
        keyfiles.create(tmp_path / "keys", "kek", tenant, "", now=START)
    return KekFiles(tmp_path / "keys")


async def put(store, vault, event_id, whose, tenant="acme"):
    """Seal and commit as everybody does: anew when the key was destroyed in between."""
    for _ in range(8):
        sealed = await vault.seal(tenant, event_id, "arguments", event_id.encode(), whose)
        receipt = await store.commit(Unit(tenant=tenant, events=(event(tenant, event_id),), payloads=(sealed,)))
        if not vault.refused(tenant, receipt):
            return receipt
    raise AssertionError("it was refused again and again")


async def test_another_process_opens_nothing_erased_after_it_has_looked(store, home, keys):
    other_store = await home.open()
    here, there = Vault(store, keys), Vault(other_store, keys)
    await put(store, here, "e1", "a")
    await put(store, here, "e2", "b")
    for _ in range(2):
        await there.refresh()
        assert await there.read("acme", "e1", "arguments") == b"e1"
    await erase(store, here, Clock(now), "acme", "a", ORDER)
    with pytest.raises(ErasedError):
        await here.read("acme", "e1", "arguments")
    assert await there.read("acme", "e1", "arguments") == b"e1"  # it has not looked yet
    await there.refresh()
    with pytest.raises(ErasedError):
        await there.read("acme", "e1", "arguments")
    assert await there.read("acme", "e2", "arguments") == b"e2"


async def test_a_process_that_has_not_looked_seals_nothing_in_vain(store, home, keys):
    other_store = await home.open()
    here, there = Vault(store, keys), Vault(other_store, keys)
    await put(other_store, there, "e1", "a")
    await erase(store, here, Clock(now), "acme", "a", ORDER)
    assert isinstance(await put(other_store, there, "e2", "a"), Committed)
    assert await here.read("acme", "e2", "arguments") == b"e2"
    with pytest.raises(ErasedError):
        await here.read("acme", "e1", "arguments")


async def test_of_two_erasures_at_once_each_key_ends_in_one_event(store, home, keys):
    other_store = await home.open()
    here, there = Vault(store, keys), Vault(other_store, keys)
    for round_ in range(5):
        await put(store, here, f"e{round_}", "a")
        done = await asyncio.gather(
            erase(store, here, Clock(now), "acme", "a", ORDER), erase(other_store, there, Clock(now), "acme", "a", ORDER)
        )
        assert [bool(each.key_id) for each in done].count(True) == 1
    types = [each.type for each in await store.events("acme")]
    assert types.count("erasure") == 5
    assert await store.fsck() == ()


async def test_erasing_among_those_who_seal_loses_nothing_that_was_sealed_later(store, home, keys):
    """Every payload of an event behind the last erasure opens, none before the first does."""
    other_store = await home.open()
    here, there = Vault(store, keys), Vault(other_store, keys)
    await put(store, here, "first", "a")

    async def seal_many(name, place, vault):
        for n in range(20):
            await put(place, vault, f"{name}{n}", "a")

    async def erase_some():
        for _ in range(3):
            await asyncio.sleep(0.02)
            await erase(store, here, Clock(now), "acme", "a", ORDER)

    await asyncio.gather(seal_many("x", store, here), seal_many("y", other_store, there), erase_some())
    fresh = Vault(store, keys)
    events = await store.events("acme", limit=1000)
    ended = [each.seq for each in events if each.type == "erasure"]
    for each in events:
        if each.type == "erasure":
            continue
        if each.seq > ended[-1]:
            assert await fresh.read("acme", each.id, "arguments") == each.id.encode()
        else:
            with pytest.raises(ErasedError):
                await fresh.read("acme", each.id, "arguments")


async def test_keys_of_tenants_with_equal_names_are_kept_apart(store, keys):
    vault = Vault(store, keys)
    for tenant in ("acme", "globex"):
        await put(store, vault, "e1", "a", tenant)
    await erase(store, vault, Clock(now), "acme", "a", ORDER)
    assert await Vault(store, keys).read("globex", "e1", "arguments") == b"e1"


async def test_only_so_many_keys_are_kept_in_memory(store, keys, monkeypatch):
    monkeypatch.setattr(vaults, "KEPT", 4)
    vault = Vault(store, keys)
    for n in range(10):
        await put(store, vault, f"e{n}", f"s{n}")
    assert len(vault._newest._values) == len(vault._by_id._values) == 4
    assert [await vault.read("acme", f"e{n}", "arguments") for n in range(10)] == [b"e%d" % n for n in range(10)]


async def test_what_is_read_while_it_is_erased_is_not_kept(store, keys):
    """The key comes out of the store, is destroyed, and only then reaches the vault: it opens this once and never again."""
    vault = Vault(store, keys)
    await put(store, vault, "e1", "a")
    slow = Vault(store, Slow(keys))
    reading = asyncio.create_task(slow.read("acme", "e1", "arguments"))
    await slow._keys.asked.wait()
    await erase(store, vault, Clock(now), "acme", "a", ORDER)
    slow.forget("acme")
    slow._keys.go.set()
    assert await reading == b"e1"
    with pytest.raises(ErasedError):
        await slow.read("acme", "e1", "arguments")


class Slow:
    """Keys that take their time to unwrap, as those of a remote keeper do."""

    def __init__(self, keys):
        self._keys, self.asked, self.go = keys, asyncio.Event(), asyncio.Event()

    def __getattr__(self, name):
        return getattr(self._keys, name)

    async def unwrap(self, *given):
        self.asked.set()
        await self.go.wait()
        return await self._keys.unwrap(*given)
