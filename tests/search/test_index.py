"""The index behind the journal: what the stores promise, several processes at it, events that arrive, and events that are gone."""

import asyncio
from collections import Counter

import msgspec
import pytest
from tests.search.journals import TENANT, commit, events, plainly

from aegis.errors import StoreError
from aegis.journal.postings import BLOCK, SUMMARY, Posting
from aegis.journal.terms import Filter, indexed
from aegis.runtime import indexing
from aegis.runtime.indexing import BLOCKS_A_TURN, Indexer
from aegis.runtime.searching import matches, search

DENIED = ("decision", "deny")
ALL = range(100)


def posting(value="v", block=0, places=b"L\0\0", field="f"):
    return Posting(field=field, value=value, block=block, places=places)


async def filled(store, count, **about):
    await commit(store, events(count, **about))
    return [msgspec.json.decode(event.body) for event in await store.events(TENANT, limit=count)]


async def indexed_whole(store):
    indexer = Indexer(store)
    while await indexer.turn():
        pass
    return indexer


async def everything(store, wanted=None, **more):
    return [each.seq async for each in matches(store, TENANT, wanted or Filter(), **more)]


def rows(home):
    return sorted(home.sql("SELECT tenant, field, value, block, places FROM posting"))


async def test_postings_come_back_by_block_and_term(store):
    made = [posting("a", 0), posting("a", 3, b"B\1"), posting("b", 3), posting(block=1, field="", value="")]
    await store.put_postings(TENANT, made)
    assert await store.postings(TENANT, [("f", "a"), ("f", "c")], ALL) == {0: {("f", "a"): b"L\0\0"}, 3: {("f", "a"): b"B\1"}}
    assert await store.postings(TENANT, [("f", "a"), ("f", "b")], range(1, 4)) == {3: {("f", "a"): b"B\1", ("f", "b"): b"L\0\0"}}
    assert await store.postings(TENANT, [SUMMARY], ALL) == {1: {SUMMARY: b"L\0\0"}}
    assert await store.postings(TENANT, [], ALL) == {}
    assert await store.postings("globex", [("f", "a")], ALL) == {}


async def test_a_posting_takes_the_place_of_the_one_before(store):
    await store.put_postings(TENANT, [posting()])
    await store.put_postings(TENANT, [posting(places=b"B\7"), *(posting(str(n)) for n in range(1000))])
    assert await store.postings(TENANT, [("f", "v")], ALL) == {0: {("f", "v"): b"B\7"}}
    assert len(await store.postings(TENANT, [("f", str(n)) for n in range(1000)], ALL)) == 1


async def test_postings_of_old_blocks_are_dropped_and_no_others(store, home):
    for tenant in (TENANT, "globex"):
        await store.put_postings(tenant, [posting(f"{n:05}", n % 7) for n in range(5000)])
        await store.put_postings(tenant, [posting("", n, field="") for n in range(7)])
    await indexing.drop(store, TENANT, 3)
    left = {(tenant, block) for tenant, _, _, block, _ in rows(home)}
    assert left == {(TENANT, n) for n in range(3, 7)} | {("globex", n) for n in range(7)}


async def test_events_are_read_at_their_places(store):
    bodies = await filled(store, 50)
    found = await store.at(TENANT, [3, 49, 7, 50, 1000])
    assert {event.seq: msgspec.json.decode(event.body) for event in found} == {seq: bodies[seq] for seq in (3, 7, 49)}
    assert await store.at(TENANT, []) == ()
    assert await store.at("globex", [3]) == ()


@pytest.mark.parametrize("value", ["\ud800", "x" * 500, "\0", "ä\u202e"])
async def test_a_value_that_no_column_can_hold_is_a_clear_refusal_or_nothing(store, value):
    await filled(store, 20)
    wanted = Filter(terms=(("agent", value),))
    if value == "\ud800":
        with pytest.raises(StoreError, match=r"surrogate|no column can hold"):
            await search(store, TENANT, wanted)
    else:
        assert (await search(store, TENANT, wanted)).events == ()


async def test_values_that_differ_beyond_what_the_index_holds_are_told_apart(store):
    long = "agent:" + "x" * 300
    made = [msgspec.structs.replace(each, data={"agent_id": long + str(n % 2)}) for n, each in enumerate(events(BLOCK))]
    await commit(store, made)
    await indexed_whole(store)
    assert indexed(long + "0") == indexed(long + "1")
    assert await everything(store, Filter(terms=(("agent", long + "1"),))) == list(range(BLOCK - 1, 0, -2))


async def test_a_turn_is_bounded_and_no_tenant_waits_for_another_to_be_done(store):
    for tenant in (TENANT, "globex", "initech"):
        await commit(store, events(3 * BLOCK, tenant=tenant))
    made = await Indexer(store).turn()
    assert made == BLOCKS_A_TURN
    there = [len(await store.postings(tenant, [SUMMARY], ALL)) for tenant in (TENANT, "globex", "initech")]
    assert sorted(there) == [1, 1, 2]


async def test_the_tail_waits_for_its_block(store):
    await filled(store, BLOCK + 7)
    indexer = await indexed_whole(store)
    assert set(await store.postings(TENANT, [SUMMARY], ALL)) == {0}
    await commit(store, events(BLOCK, start=BLOCK + 7))
    assert await indexer.turn() == 1
    assert set(await store.postings(TENANT, [SUMMARY], ALL)) == {0, 1}


async def test_an_index_that_many_make_at_once_is_the_one_that_one_makes(store, home):
    await filled(store, 4 * BLOCK)
    await indexed_whole(store)
    once = rows(home)
    home.sql("DELETE FROM posting")
    others = [store, *[await home.open(check=False) for _ in range(2)]]
    await asyncio.gather(*(indexed_whole(each) for each in others for _ in range(2)))
    assert rows(home) == once
    assert await indexing.check(store, TENANT) == ()


async def test_an_indexer_that_died_half_way_hides_nothing(store):
    bodies = await filled(store, 2 * BLOCK)
    half = await indexing.postings(store, TENANT, 1)
    await store.put_postings(TENANT, half[: len(half) // 2])
    wanted = Filter(terms=(DENIED,))
    assert await everything(store, wanted) == plainly(bodies, wanted)
    assert await indexing.check(store, TENANT) == ()
    await indexed_whole(store)
    assert await everything(store, wanted) == plainly(bodies, wanted)


@pytest.mark.parametrize(("version", "made"), [(0, 1), (255, 0)], ids=["older", "newer"])
async def test_an_index_of_another_version_counts_for_nothing_and_is_made_anew_unless_it_is_newer(store, home, version, made):
    bodies = await filled(store, BLOCK)
    await indexed_whole(store)
    (other,) = [each for each in await indexing.postings(store, TENANT, 0) if (each.field, each.value) == SUMMARY]
    changed = Posting(field="", value="", block=0, places=other.places[:1] + bytes([version]) + other.places[2:])
    home.sql("DELETE FROM posting")
    await store.put_postings(TENANT, [changed])
    wanted = Filter(terms=(DENIED,))
    assert await everything(store, wanted) == plainly(bodies, wanted)
    assert await Indexer(store).turn() == made
    assert await everything(store, wanted) == plainly(bodies, wanted)


async def test_while_events_arrive_and_are_indexed_pages_miss_nothing_and_double_nothing(store, home):
    bodies = await filled(store, 3 * BLOCK - 100)
    wanted = Filter(terms=(("type", "decision"),))
    due = plainly(bodies, wanted)
    writer = await home.open(check=False)
    done = asyncio.Event()

    async def arrive():
        indexer = Indexer(writer)
        for start in range(3 * BLOCK - 100, 5 * BLOCK, 200):
            await commit(writer, events(200, start=start, seed=2))
            await indexer.turn()
        done.set()

    arriving = asyncio.create_task(arrive())
    rounds = 0
    while not done.is_set() or rounds == 0:
        rounds += 1
        page = await search(store, TENANT, wanted, limit=37)
        begun = page.events[0].seq
        found = [each.seq for each in page.events]
        while page.cursor is not None:
            page = await search(store, TENANT, wanted, before=page.cursor, limit=211)
            found += [each.seq for each in page.events]
        whole = [msgspec.json.decode(event.body) for event in await store.events(TENANT, limit=begun + 1)]
        assert found == plainly(whole, wanted, begun + 1)
        assert found[-len(due) :] == due
    await arriving


async def test_a_tenant_finds_its_own_events_and_nobody_elses(store):
    await commit(store, events(BLOCK + 10))
    await commit(store, events(BLOCK + 500, tenant="globex", seed=3))
    await indexed_whole(store)
    for tenant, count in ((TENANT, BLOCK + 10), ("globex", BLOCK + 500)):
        found = [each async for each in matches(store, tenant, Filter())]
        assert {each.body["tenant"] for each in found} == {tenant}
        assert len(found) == count
    assert [each async for each in matches(store, "nobody", Filter())] == []


async def test_what_retention_dropped_is_not_looked_for_and_its_postings_go(store, home):
    bodies = await filled(store, 4 * BLOCK)
    indexer = await indexed_whole(store)
    first = 2 * BLOCK + 77
    home.sql(
        f"DELETE FROM event WHERE tenant = '{TENANT}' AND seq < {first}",
        f"UPDATE head SET first = {first} WHERE tenant = '{TENANT}'",
    )
    for wanted in (Filter(), Filter(terms=(DENIED,)), Filter(cost_from=1)):
        assert await everything(store, wanted) == plainly(bodies[first:], wanted)
    assert await indexing.check(store, TENANT) == ()
    await indexer.turn()
    assert Counter(block for _, _, _, block, _ in rows(home)).keys() == {2, 3}
    assert await everything(store, Filter(terms=(DENIED,))) == plainly(bodies[first:], Filter(terms=(DENIED,)))
    home.sql("DELETE FROM posting")
    await indexed_whole(store)
    assert await everything(store, Filter(terms=(DENIED,))) == plainly(bodies[first:], Filter(terms=(DENIED,)))


async def test_an_event_that_cannot_be_read_is_told_and_not_passed_over(store, home):
    await filled(store, BLOCK)
    body = "X'7B'" if home.kind == "sqlite" else "'\\x7B'::bytea"
    home.sql(f"UPDATE event SET body = {body} WHERE seq = 5")
    with pytest.raises(StoreError, match="event 5 of tenant `acme` cannot be read: `aegis fsck`"):
        await everything(store)
    with pytest.raises(StoreError, match="event 5"):
        await Indexer(store).turn()
