"""What both stores promise about events that are kept no more."""

import asyncio

import pytest
from tests.store.homes import event

from aegis.crypto.merkle import Frontier, leaf_hash, verify_consistency, verify_inclusion
from aegis.errors import CorruptStoreError, StoreError
from aegis.journal import proofs
from aegis.journal.tiles import Growing
from aegis.journal.unit import Committed, Conflict, Payload, Unit

SIZE, FIRST = 800, 512


async def filled(store, tenant="acme", size=SIZE):
    """A log with its tiles and a payload beside each event; the leaves."""
    await store.data_key(tenant, "", ("key_1", b"wrapped"))
    for low in range(0, size, 100):
        events = tuple(event(tenant, f"e{n}", request_id=f"req_{n}") for n in range(low, min(size, low + 100)))
        payloads = tuple(
            Payload(event_id=each.id, name="arguments", key_id="key_1", nonce=b"n" * 12, ciphertext=b"c" * 20) for each in events
        )
        assert isinstance(await store.commit(Unit(tenant=tenant, events=events, payloads=payloads)), Committed)
    leaves = [leaf_hash(each.body) for each in await store.events(tenant, limit=size)]
    growing = Growing()
    await store.put_tiles(tenant, dict(tile for leaf in leaves for tile in growing.append(leaf)))
    return leaves


def dropping(first, event_id="dropped", tenant="acme"):
    return Unit(tenant=tenant, events=(event(tenant, event_id),), drops=first)


async def test_dropped_events_go_with_their_payloads_and_the_rest_stays_whole(store):
    await filled(store)
    await filled(store, "globex", 300)
    assert isinstance(await store.commit(dropping(FIRST)), Committed)
    assert await store.fsck() == ()  # let go of, and not removed yet
    assert await store.shed("acme") == FIRST
    assert await store.shed("acme") == 0
    assert await store.shed("globex") == 0
    kept = await store.events("acme", limit=10_000)
    assert [each.seq for each in kept] == list(range(FIRST, SIZE + 1))
    assert (await store.heads())["acme"].first == FIRST
    assert await store.event("acme", "e511") is None
    assert await store.payload("acme", "e511", "arguments") is None
    assert await store.payload("acme", "e512", "arguments") is not None
    assert await store.payload("globex", "e10", "arguments") is not None
    assert await store.events("acme", request_id="req_3") == ()
    assert len(await store.payloads("acme", 0, 600)) == 600 - FIRST
    assert await store.fsck() == ()


async def test_proofs_hold_that_were_made_before_and_can_be_made_anew(store):
    leaves = await filled(store)
    roots = {size: Frontier().extend(leaves[:size]).root for size in (1, 256, 300, 511, 512, 513, SIZE)}
    old = {at: await proofs.inclusion(store, "acme", at, 300) for at in (0, 255, 299)}
    await store.commit(dropping(FIRST))
    await store.shed("acme")
    for at, proof in old.items():
        assert verify_inclusion(leaves[at], at, 300, proof, roots[300])
    for size, root in roots.items():
        assert await proofs.root(store, "acme", size) == root
        grown = await proofs.consistency(store, "acme", size, SIZE)
        assert verify_consistency(size, root, SIZE, roots[SIZE], grown)
    for at in (0, 5, 300, 511, 512, 799):
        assert verify_inclusion(leaves[at], at, SIZE, await proofs.inclusion(store, "acme", at, SIZE), roots[SIZE])


async def test_opening_and_appending_go_on(store, home):
    leaves = await filled(store)
    await store.commit(dropping(FIRST))
    await store.shed("acme")
    other = await home.open()
    receipt = await other.commit(Unit(tenant="acme", events=(event("acme", "later"),)))
    assert receipt.events[0].seq == SIZE + 1
    events = await other.events("acme", limit=10_000)
    whole = Frontier().extend([*leaves[:FIRST], *(leaf_hash(each.body) for each in events)])
    assert (await other.heads())["acme"].frontier == whole
    assert await other.fsck() == ()


async def test_a_bound_is_where_a_tile_ends_within_the_log_and_never_goes_back(store):
    await filled(store)
    for odd in (-256, 1, 300):
        with pytest.raises(StoreError, match="expected a multiple of 256"):
            await store.commit(dropping(odd))
    assert isinstance(await store.commit(dropping(1024)), Conflict)
    await store.commit(dropping(FIRST))
    assert isinstance(await store.commit(dropping(256, "less")), Committed)
    assert (await store.heads())["acme"].first == FIRST


async def test_a_dropped_event_without_its_tile_is_found(store, home):
    await filled(store)
    home.sql("DELETE FROM tile WHERE number = 1")
    await store.commit(dropping(FIRST))
    await store.shed("acme")
    assert any("no tiles of them" in each.text for each in await store.fsck())
    with pytest.raises(CorruptStoreError):
        await proofs.root(store, "acme", SIZE)


async def test_units_are_committed_while_events_go(store, home):
    other = await home.open()
    await filled(store, size=2600)
    await store.commit(dropping(2560))

    async def work(n):
        for m in range(10):
            assert isinstance(await other.commit(Unit(tenant="acme", events=(event("acme", f"w{n}_{m}"),))), Committed)

    gone, *_ = await asyncio.gather(store.shed("acme"), *map(work, range(4)))
    assert gone == 2560
    assert await store.fsck() == ()
