"""What every store promises, on every store."""

import asyncio
import contextlib
import threading
from datetime import timedelta

import orjson
import pytest
from tests.store.homes import START, absent, event, put, sealed, unit

from aegis.adapters.noise import MAX_OTHERS, MAX_ROWS
from aegis.crypto.canonical import canon
from aegis.crypto.digest import sha256
from aegis.errors import CanonicalError, StoreError
from aegis.journal.unit import Committed, Conflict, Delete, Existing, Require, Unit


async def seqs(store, tenant):
    return [each.seq for each in await store.events(tenant, limit=100_000)]


async def test_a_tenants_sequence_starts_at_zero_and_has_no_gaps(store):
    units = [unit(f"tenant{n % 3}", f"e{n}", f"f{n}") for n in range(120)]
    receipts = await asyncio.gather(*map(store.commit, units))
    assert all(isinstance(receipt, Committed) for receipt in receipts)
    for tenant in ("tenant0", "tenant1", "tenant2"):
        assert await seqs(store, tenant) == list(range(80))
    assert await store.fsck() == ()


async def test_the_receipt_is_what_is_read_back_and_its_body_is_canonical(store):
    receipt = await store.commit(unit("acme", "b", "a", outcome="ü\u20ac\U0001f600", limit=2**53 - 1))
    assert [each.id for each in receipt.events] == ["b", "a"]
    assert await store.events("acme") == receipt.events
    for each in receipt.events:
        assert await store.event("acme", each.id) == each
        inside = orjson.loads(each.body)
        assert canon(inside) == each.body
        assert each.digest == sha256(each.body)
        assert (inside["seq"], inside["tenant"], inside["id"], inside["time"]) == (
            each.seq,
            "acme",
            each.id,
            "2026-11-21T08:00:00.000000Z",
        )


async def test_an_event_id_that_exists_gives_the_stored_event_and_records_nothing(store):
    first = await store.commit(unit("acme", "e1"))
    again = await store.commit(unit("acme", "e0", "e1", writes=(put("c1"),), outcome="another"))
    assert again == Existing(events=first.events)
    assert await seqs(store, "acme") == [0]
    assert await store.rows("acme", [("call", "c1")]) == {}


async def test_the_same_unit_twice_in_one_group_is_recorded_once(store):
    receipts = await asyncio.gather(*(store.commit(unit("acme", "e1", writes=(put("c1"),))) for _ in range(20)))
    committed = [receipt for receipt in receipts if isinstance(receipt, Committed)]
    assert len(committed) == 1
    assert all(receipt == Existing(events=committed[0].events) for receipt in receipts if receipt is not committed[0])
    assert (await store.rows("acme", [("call", "c1")]))["call", "c1"].version == 1


async def test_an_existing_event_goes_before_a_conflict_so_that_a_repetition_finds_its_first_answer(store):
    asked = unit("acme", "e1", writes=(put("c1"),), requires=(absent("c1"),))
    first = await store.commit(asked)
    assert await store.commit(asked) == Existing(events=first.events)


async def test_the_same_event_id_in_two_tenants_is_two_events(store):
    one, two = await asyncio.gather(store.commit(unit("acme", "e1")), store.commit(unit("globex", "e1")))
    assert isinstance(one, Committed)
    assert isinstance(two, Committed)
    assert (await store.event("acme", "e1")).tenant == "acme"
    assert await store.event("initech", "e1") is None


async def test_a_conflict_shows_the_rows_and_records_nothing_of_its_unit(store):
    await store.commit(unit("acme", "e1", writes=(put("c1", b'{"a":1}', state="open"),)))
    wrong = (Require(kind="call", id="c1", version=2), absent("c2"), Require(kind="call", id="c3", version=1))
    receipt = await store.commit(unit("acme", "e2", writes=(put("c2"),), requires=wrong))
    assert isinstance(receipt, Conflict)
    assert [(row.id, row.version, row.body) for row in receipt.rows] == [("c1", 1, b'{"a":1}')]
    assert await store.event("acme", "e2") is None
    assert await store.rows("acme", [("call", "c2")]) == {}
    assert await seqs(store, "acme") == [0]


async def test_a_conflict_fails_its_own_unit_only(store):
    await store.commit(unit("acme", "e0", writes=(put("taken"),)))
    units = [unit("acme", f"e{n}", requires=(absent("taken" if n % 3 == 0 else f"c{n}"),)) for n in range(1, 40)]
    receipts = await asyncio.gather(*map(store.commit, units))
    for n, receipt in enumerate(receipts, 1):
        assert isinstance(receipt, Conflict if n % 3 == 0 else Committed)
    assert await seqs(store, "acme") == list(range(1 + sum(n % 3 != 0 for n in range(1, 40))))


async def test_of_many_that_want_the_same_row_one_gets_it(store, home):
    other = await home.open()
    receipts = await asyncio.gather(
        *(
            each.commit(unit("acme", f"e{n}", writes=(put("c"),), requires=(absent("c"),)))
            for n, each in enumerate([store, other] * 20)
        )
    )
    assert sum(isinstance(receipt, Committed) for receipt in receipts) == 1
    assert sum(isinstance(receipt, Conflict) for receipt in receipts) == 39


async def test_every_write_raises_the_version_and_a_row_that_was_removed_starts_anew(store):
    await store.commit(unit("acme", "e1", writes=(put("c"), put("c", b"[1]"))))
    await store.commit(unit("acme", "e2", writes=(put("c", b"[2]", state="s", lookup="l", due=START),)))
    row = (await store.rows("acme", [("call", "c"), ("claim", "c"), ("call", "missing")]))["call", "c"]
    assert (row.version, row.body, row.state, row.lookup, row.due) == (3, b"[2]", "s", "l", START)
    await store.commit(unit("acme", "e3", writes=(Delete(kind="call", id="c"), Delete(kind="call", id="never was"))))
    assert await store.rows("acme", [("call", "c")]) == {}
    receipt = await store.commit(unit("acme", "e4", writes=(put("c"),), requires=(absent("c"),)))
    assert isinstance(receipt, Committed)
    assert (await store.rows("acme", [("call", "c")]))["call", "c"].version == 1


async def test_a_unit_may_hold_rows_without_an_event(store):
    assert await store.commit(Unit(tenant="acme", writes=(put("c"),))) == Committed(events=())
    assert await store.commit(Unit(tenant="acme")) == Committed(events=())
    assert await store.tenants() == ()
    assert isinstance(await store.commit(Unit(tenant="acme", requires=(absent("c"),))), Conflict)
    assert await store.fsck() == ()


@pytest.mark.parametrize("value", [1.5, 2**53, "\ud800", b"bytes", {1: 2}, float("nan")])
async def test_a_body_without_canonical_form_fails_its_own_unit_only(store, value):
    asked = [unit("acme", "before"), unit("acme", "bad", field=value, writes=(put("c"),)), unit("acme", "after")]
    before, bad, after = await asyncio.gather(*map(store.commit, asked), return_exceptions=True)
    assert isinstance(bad, CanonicalError)
    assert isinstance(before, Committed)
    assert isinstance(after, Committed)
    assert await seqs(store, "acme") == [0, 1]
    assert await store.rows("acme", [("call", "c")]) == {}


MALFORMED = {
    "event.tenant": Unit(tenant="acme", events=(event("globex", "e1"),)),
    "event.id": unit("acme", ""),
    "same `id`": unit("acme", "e1", "e1"),
    "event.request_id": unit("acme", "e1", request_id="a\0b"),
    "`tenant` is empty": Unit(tenant=""),
    "lone surrogate": unit("acme", "e\ud800"),
    "`payload` names": Unit(tenant="acme", events=(event("acme", "e1"),), payloads=(sealed("e2"),)),
    "two payloads": Unit(tenant="acme", events=(event("acme", "e1"),), payloads=(sealed("e1"), sealed("e1"))),
    "writes.id": unit("acme", "e1", writes=(put(""),)),
    "writes.state": unit("acme", "e1", writes=(put("c", state="a\0"),)),
    "is not JSON": unit("acme", "e1", writes=(put("c", b"{"),)),
    "requires.version": unit("acme", "e1", requires=(Require(kind="call", id="c", version=-1),)),
}


@pytest.mark.parametrize("words", MALFORMED)
async def test_a_unit_that_contradicts_itself_is_refused_with_the_place(store, words):
    with pytest.raises(StoreError, match=words):
        await store.commit(MALFORMED[words])
    assert await store.tenants() == ()


async def test_find_gives_rows_in_order_of_code_point_page_by_page(store):
    ids = ["Z", "a", "b", "é", "\uffff", "\U0001f600", "a b", "a\x1fb"]
    await store.commit(unit("acme", "e1", writes=tuple(put(each, state="open", lookup=f"look {each}") for each in ids)))
    await store.commit(unit("acme", "e2", writes=(put("zz", state="done"), put("zzz", kind="claim", state="open"))))
    await store.commit(unit("globex", "e1", writes=(put("b", state="open"),)))
    assert [row.id for row in await store.find("acme", "call")] == sorted([*ids, "zz"])
    assert [row.id for row in await store.find("acme", "call", state="open")] == sorted(ids)
    found, after = [], ""
    while page := await store.find("acme", "call", state="open", after=after, limit=3):
        found += [row.id for row in page]
        after = page[-1].id
    assert found == sorted(ids)
    assert [row.id for row in await store.find("acme", "call", lookup="look b")] == ["b"]
    assert [row.id for row in await store.find("acme", "call", state="done", lookup="look b")] == []
    assert [row.id for row in await store.find("acme", "call", lookup="")] == ["zz"]
    assert await store.find("acme", "call", limit=0) == ()


async def test_events_are_read_from_either_end_and_by_request(store):
    for n in range(7):
        await store.commit(unit("acme", f"e{n}", request_id=f"req_{n % 2}" if n else ""))
    await store.commit(unit("globex", "e", request_id="req_0"))

    async def read(**about):
        return [each.seq for each in await store.events("acme", **about)]

    assert await read() == list(range(7))
    assert await read(after=3) == [4, 5, 6]
    assert await read(after=1, limit=2) == [2, 3]
    assert await read(newest_first=True, limit=3) == [6, 5, 4]
    assert await read(newest_first=True, after=4) == [3, 2, 1, 0]
    assert await read(newest_first=True, after=0) == []
    assert await read(request_id="req_0") == [2, 4, 6]
    assert await read(request_id="req_1", newest_first=True, limit=2) == [5, 3]
    assert await read(request_id="") == [0]
    assert await read(request_id="unknown") == []


async def test_a_payload_is_kept_beside_its_event(store):
    payloads = (sealed("e1"), sealed("e1", "result"))
    await store.data_key("acme", "", ("key_1", b"wrapped"))
    await store.commit(Unit(tenant="acme", events=(event("acme", "e1"),), payloads=payloads))
    assert await store.payload("acme", "e1", "arguments") == payloads[0]
    assert await store.payload("acme", "e1", "result") == payloads[1]
    assert await store.payload("acme", "e1", "other") is None
    assert await store.payload("globex", "e1", "arguments") is None
    assert await store.fsck() == ()


async def test_of_racing_data_keys_all_callers_get_the_one_that_won(store, home):
    other = await home.open()
    assert await store.data_key("acme", "alice", None) is None
    found = await asyncio.gather(
        *(each.data_key("acme", "alice", (f"key_{n}", b"w%d" % n)) for n, each in enumerate([store, other] * 5))
    )
    assert len(set(found)) == 1
    key_id, wrapped = found[0]
    assert await store.data_key("acme", "alice", None) == (key_id, wrapped)
    assert await store.data_key_by_id("acme", key_id) == wrapped
    assert await store.data_key_by_id("globex", key_id) is None
    assert len(home.sql("SELECT * FROM data_key")) == 1


async def test_a_destroyed_data_key_is_gone_and_a_new_one_takes_its_place(store, home):
    await store.data_key("acme", "alice", ("key_1", b"wrapped"))
    await store.commit(Unit(tenant="acme", events=(event("acme", "e1"),), payloads=(sealed("e1"),)))
    home.sql("UPDATE data_key SET wrapped = NULL")
    assert await store.data_key_by_id("acme", "key_1") is None
    assert await store.data_key("acme", "alice", None) is None
    assert await store.data_key("acme", "alice", ("key_2", b"other")) == ("key_2", b"other")
    assert await store.fsck() == ()  # an erased payload is no damage


async def test_tenants_and_the_latest_time_are_those_of_the_events(store):
    assert await store.tenants() == ()
    assert await store.latest() is None
    await store.commit(unit("globex", "e1", minutes=5))
    await store.commit(unit("acme", "e1", minutes=9))
    await store.commit(unit("acme", "e2", minutes=-3))
    assert await store.tenants() == ("acme", "globex")
    assert await store.latest() == START + timedelta(minutes=9)


async def test_noise_is_counted_with_its_first_and_last_time(store, home):
    for minute in (3, 1, 2):
        await store.count_noise("expired", "192.0.2.1", START + timedelta(minutes=minute))
    await store.count_noise("bad\ttoken\u202e" + "x" * 500, "192.0.2.\0\ud800", START)
    found = await store.noise()
    assert [(row.reason[:11], row.source, row.count) for row in found] == [
        ("expired", "192.0.2.1", 3),
        ("bad?token?x", "192.0.2.??", 1),
    ]
    assert (found[0].first, found[0].last) == (START + timedelta(minutes=1), START + timedelta(minutes=3))
    assert len(found[1].reason) == 64
    assert await store.tenants() == ()
    other = await home.open()
    await other.count_noise("expired", "192.0.2.1", START)
    assert (await other.noise())[0].count == 4


async def test_nobody_can_fill_the_store_with_noise(store):
    for flush in range(3):
        for n in range(2 * MAX_ROWS):
            await store.count_noise(f"reason {n % 100}", f"source {flush} {n}", START)
        found = await store.noise()
    assert len(found) <= MAX_ROWS + MAX_OTHERS + 1
    assert sum(row.count for row in found) == 6 * MAX_ROWS
    assert any(row.source == "other" for row in found)


async def test_noise_that_nobody_asked_for_is_written_on_close(store, home):
    await store.count_noise("expired", "192.0.2.1", START)
    await store.close()
    assert home.sql("SELECT reason, source, count FROM noise") == [("expired", "192.0.2.1", 1)]


async def test_an_instance_is_alive_until_its_store_is_closed(store, home):
    other = await home.open()
    assert not await other.alive("gw-1")
    await store.register("gw-1")
    await store.register("gw-1")
    await other.register("gw-2/../x")
    assert await other.alive("gw-1")
    assert await store.alive("gw-1")
    assert await store.alive("gw-2/../x")
    with pytest.raises(StoreError, match="a name of its own"):
        await other.register("gw-1")
    await store.close()
    assert not await other.alive("gw-1")
    await other.register("gw-1")
    assert await other.alive("gw-1")


async def test_a_caller_who_stops_waiting_leaves_the_store_sound(store):
    tasks = [asyncio.create_task(store.commit(unit("acme", f"e{n}"))) for n in range(50)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    for n, receipt in enumerate(done):
        assert isinstance(receipt, Committed | asyncio.CancelledError)
        if isinstance(receipt, Committed):
            assert await store.event("acme", f"e{n}") is not None
    assert await store.fsck() == ()


async def test_a_closed_store_refuses_and_may_be_closed_again(store):
    waiting = [asyncio.create_task(store.commit(unit("acme", f"e{n}"))) for n in range(20)]
    await asyncio.sleep(0)
    await store.close()
    assert all(isinstance(receipt, Committed) for receipt in await asyncio.gather(*waiting))
    with pytest.raises(StoreError, match="closed"):
        await store.commit(unit("acme", "late"))
    with pytest.raises(StoreError, match="closed"):
        await store.tenants()
    await store.close()


async def test_units_may_come_from_many_event_loops_and_threads(store):
    def work(name: int) -> None:
        async def commit_some():
            for n in range(10):
                await asyncio.gather(*(store.commit(unit("acme", f"{name}.{n}.{each}")) for each in range(3)))
                assert await store.event("acme", f"{name}.{n}.0") is not None

        asyncio.run(commit_some())

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert await seqs(store, "acme") == list(range(120))


async def test_several_writers_of_one_tenant_leave_no_gap(store, home):
    others = [await home.open() for _ in range(2)]
    for n in range(15):
        await asyncio.gather(
            *(each.commit(unit("acme", f"{n}.{index}.{k}")) for index, each in enumerate([store, *others]) for k in range(4))
        )
    assert await seqs(store, "acme") == list(range(180))
    assert await store.fsck() == ()


async def test_a_loop_that_was_closed_holds_nobody_up(store):
    def leave() -> None:
        loop = asyncio.new_event_loop()
        task = loop.create_task(store.commit(unit("acme", "left")))
        loop.call_soon(loop.stop)
        loop.run_forever()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        loop.close()

    await asyncio.to_thread(leave)
    assert isinstance(await store.commit(unit("acme", "next")), Committed)


async def test_the_numbers_for_metrics_count_what_happened(store):
    await asyncio.gather(*(store.commit(unit("acme", f"e{n}")) for n in range(10)))
    found = await store.stats()
    assert found["units_committed"] == 10
    assert 1 <= found["groups_committed"] <= 10
    assert found["waiting_units"] == 0
    assert found["bytes"] > 0
    assert not found["halted"]


async def test_what_was_committed_is_there_when_the_store_is_opened_again(store, home):
    receipt = await store.commit(unit("acme", "e1", writes=(put("c", state="open"),)))
    await store.close()
    again = await home.open()
    assert await again.events("acme") == receipt.events
    assert [row.id for row in await again.find("acme", "call", state="open")] == ["c"]
    assert (await again.commit(unit("acme", "e2"))).events[0].seq == 1


async def test_names_that_no_column_could_hold_are_simply_not_found_or_refused(store):
    await store.commit(unit("acme", "e1", writes=(put("c1"),)))
    for bad in ("\0", "e1\0", "\ud800"):
        for reading in (
            lambda: store.rows("acme", [("call", f"c1{bad}")]),  # noqa: B023
            lambda: store.event("acme", bad),  # noqa: B023
            lambda: store.find("acme", "call", lookup=bad),  # noqa: B023
            lambda: store.payload("acme", bad, "arguments"),  # noqa: B023
        ):
            with contextlib.suppress(StoreError):
                assert not await reading()
