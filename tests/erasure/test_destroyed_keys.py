"""What both stores promise about data keys that end."""

import asyncio

import pytest
from tests.store.homes import event

from aegis.errors import StoreError
from aegis.journal.unit import Committed, Conflict, Payload, Put, Require, Unit


def sealed(event_id, key_id="key_1", name="arguments"):
    return Payload(event_id=event_id, name=name, key_id=key_id, nonce=b"n" * 12, ciphertext=b"c" * 40)


def erasing(event_id, *keys, tenant="acme", **more):
    return Unit(tenant=tenant, events=(event(tenant, event_id),), destroys=keys, **more)


def sealing(event_id, key_id="key_1", tenant="acme"):
    return Unit(tenant=tenant, events=(event(tenant, event_id),), payloads=(sealed(event_id, key_id),))


async def test_a_key_and_the_event_that_ends_it_are_one_unit(store):
    await store.data_key("acme", "s", ("key_1", b"wrapped"))
    assert isinstance(await store.commit(sealing("e1")), Committed)
    assert await store.sealed("acme", "key_1") == 1
    against = erasing("gone", "key_1", requires=(Require(kind="k", id="i", version=3),))
    assert isinstance(await store.commit(against), Conflict)
    assert await store.data_key_by_id("acme", "key_1") == b"wrapped"
    assert isinstance(await store.commit(erasing("gone", "key_1")), Committed)
    assert await store.data_key_by_id("acme", "key_1") is None
    assert await store.data_key("acme", "s", None) is None
    assert await store.data_key("acme", "s", ("key_2", b"later")) == ("key_2", b"later")
    assert await store.fsck() == ()


async def test_a_payload_under_a_destroyed_key_is_refused_and_nothing_of_its_unit_is_recorded(store, home):
    other = await home.open()
    await store.data_key("acme", "s", ("key_1", b"wrapped"))
    await other.commit(erasing("gone", "key_1"))
    unit = Unit(tenant="acme", events=(event("acme", "e1"),), payloads=(sealed("e1"),), writes=(Put(kind="k", id="i", body=b"{}"),))
    assert await store.commit(unit) == Conflict(rows=(), keys=("key_1",))
    assert await store.event("acme", "e1") is None
    assert await store.rows("acme", [("k", "i")]) == {}


async def test_a_key_is_destroyed_once_and_only_if_it_was_known(store):
    await store.data_key("acme", "s", ("key_1", b"wrapped"))
    for round_ in range(2):
        receipt = await store.commit(erasing(f"gone{round_}", "key_1"))
        assert receipt == Conflict(rows=(), keys=("key_1",)) if round_ else isinstance(receipt, Committed)
    assert await store.commit(erasing("never", "key_9")) == Conflict(rows=(), keys=("key_9",))
    with pytest.raises(StoreError, match="`destroys` is empty"):
        await store.commit(erasing("odd", ""))


async def test_within_one_group_a_later_unit_sees_what_an_earlier_one_destroyed(store):
    await store.data_key("acme", "s", ("key_1", b"wrapped"))
    units = [sealing("before"), erasing("gone", "key_1"), sealing("after"), erasing("again", "key_1")]
    receipts = await asyncio.gather(*map(store.commit, units))
    assert [type(each) for each in receipts] == [Committed, Committed, Conflict, Conflict]


async def test_a_key_of_the_same_id_in_another_tenant_stands(store):
    for tenant in ("acme", "globex"):
        await store.data_key(tenant, "s", ("key_1", tenant.encode()))
    await store.commit(erasing("gone", "key_1"))
    assert await store.data_key_by_id("globex", "key_1") == b"globex"
    assert isinstance(await store.commit(sealing("e1", tenant="globex")), Committed)
    assert await store.commit(sealing("e2")) == Conflict(rows=(), keys=("key_1",))


async def test_of_racing_erasures_and_sealings_no_payload_survives_under_a_key_that_is_gone(store, home):
    """A payload that was committed, was committed before its key ended: its event lies before the erasure."""
    stores = [store, await home.open()]
    for round_ in range(10):
        key = f"key_{round_}"
        await store.data_key("acme", f"s{round_}", (key, b"wrapped"))
        units = [sealing(f"e{round_}_{n}", key) for n in range(6)]
        units[3:3] = [erasing(f"gone{round_}_{n}", key) for n in range(2)]
        receipts = await asyncio.gather(*(stores[n % 2].commit(unit) for n, unit in enumerate(units)))
        ended = [receipt for unit, receipt in zip(units, receipts, strict=True) if unit.destroys and isinstance(receipt, Committed)]
        assert len(ended) == 1
        for unit, receipt in zip(units, receipts, strict=True):
            if unit.payloads and isinstance(receipt, Committed):
                assert receipt.events[0].seq < ended[0].events[0].seq
    assert await store.fsck() == ()


async def test_a_rewrapping_never_brings_a_destroyed_key_back(store, home):
    other = await home.open()
    for round_ in range(10):
        key = f"key_{round_}"
        await store.data_key("acme", f"s{round_}", (key, b"old"))
        await asyncio.gather(other.rewrap("acme", key, b"old", b"new"), store.commit(erasing(f"gone{round_}", key)))
        assert await store.data_key_by_id("acme", key) is None


@pytest.mark.parametrize("silent", [{"destroys": ("key_1",)}, {"drops": 256}])
async def test_nothing_ends_without_an_event_that_tells_of_it(store, silent):
    with pytest.raises(StoreError, match="it has an event"):
        await store.commit(Unit(tenant="acme", **silent))
