"""What the exporter does with the answers of a real receiver in a process of its own, on both stores."""

import asyncio
import json
import random
from datetime import UTC, datetime

import pytest
from tests.export.conftest import Far
from tests.store.homes import START, event

from aegis.adapters.push import HttpReceiver, check_url
from aegis.errors import ConfigError
from aegis.journal.unit import Put, Unit
from aegis.model.event import SYSTEM_TENANT
from aegis.runtime.export_cursors import KIND


async def fill(store, tenant, count, first=0, **data):
    for at in range(first, first + count, 50):
        events = tuple(event(tenant, f"{tenant}-{n}", **data) for n in range(at, min(at + 50, first + count)))
        await store.commit(Unit(tenant=tenant, events=events))


async def until(work, done, seconds=20):
    async with asyncio.timeout(seconds):
        while True:
            await work()
            if done():
                return
            await asyncio.sleep(0.02)


def firsts(records, tenant):
    """The `seq` of a tenant's events in the order in which each arrived for the first time."""
    return list(dict.fromkeys(each["seq"] for each in records if each["tenant"] == tenant))


async def test_everything_arrives_in_order_and_each_batch_is_of_one_tenant(home, far, exporter):
    store = await home.open()
    await fill(store, "acme", 57)
    await fill(store, "globex", 23)
    one = await exporter()
    assert await one.turn() == 80
    assert firsts(far.records(), "acme") == list(range(57))
    assert firsts(far.records(), "globex") == list(range(23))
    for each in far.requests():
        assert len({line.split('"tenant":"')[1].split('"')[0] for line in each["body"].splitlines()}) == 1
    assert await one.turn() == 0
    assert {each.tenant: each.lag for each in one.standing()} == {"acme": 0, "globex": 0}


async def test_only_the_wanted_tenants_are_sent(home, far, exporter):
    store = await home.open()
    await fill(store, "acme", 5)
    await fill(store, "globex", 5)
    one = await exporter(wanted=("globex",))
    await one.turn()
    assert {each["tenant"] for each in far.records()} == {"globex"}


async def test_what_was_acknowledged_is_not_sent_again_by_the_next_process(home, far, exporter):
    store = await home.open()
    await fill(store, "acme", 12)
    await (await exporter("one")).turn()
    await store.close()
    two = await exporter("two")
    two._leads = lambda: asyncio.sleep(0, result=True)
    assert await two.turn() == 0
    assert len(far.records()) == 12


async def test_another_process_takes_over_when_the_one_that_exports_is_gone(home, far, exporter):
    await fill(await home.open(), "acme", 12)
    one, two = await exporter("one"), await exporter("two")
    assert await one.turn() == 12
    await fill(await home.open(), "acme", 12, first=12)
    assert await two.turn() == 0
    await one._store.close()
    assert await two.turn() == 12
    assert [each["seq"] for each in far.records()] == list(range(24))


async def test_two_that_both_believe_they_lead_leave_no_gap(home, far, exporter):
    await fill(await home.open(), "acme", 200)
    one, two = await exporter("one", most=7), await exporter("two", most=11)
    two._leads = one._leads = lambda: asyncio.sleep(0, result=True)
    far.mood(delay=0.005)

    async def both():
        await asyncio.gather(one.turn(), two.turn())

    await until(both, lambda: len(set(firsts(far.records(), "acme"))) == 200)
    assert firsts(far.records(), "acme") == list(range(200))


async def test_who_comes_late_moves_no_cursor_back(home, far, exporter):
    store = await home.open()
    await fill(store, "acme", 20)
    one, late = await exporter("one"), await exporter("late", most=3)
    await late._look()
    await one.turn()
    await late._send(late.standing()[0], float("inf"))
    (row,) = await store.find(SYSTEM_TENANT, KIND)
    assert json.loads(row.body)["next"] == 20
    assert [each["seq"] for each in far.records()] == [*range(20), *range(3)]  # duplicates, of one batch


async def test_of_many_that_want_to_lead_one_does(home, far, exporter):
    many = [await exporter(f"gw-{n}") for n in range(6)]
    assert sum(await asyncio.gather(*(each._leads() for each in many))) == 1


async def test_a_receiver_that_is_down_is_asked_again_later_and_less_and_less_often(home, far, exporter):
    await fill(await home.open(), "acme", 5)
    one = await exporter(first_pause=1000.0)
    far.kill()
    await one.turn()
    (standing,) = one.standing()
    assert standing.failures == 1
    assert standing.lag == 5
    assert not standing.halted
    far.start()
    assert await one.turn() == 0  # its time has not come
    standing.not_before = 0.0
    assert await one.turn() == 5


async def test_pauses_double_up_to_a_bound_and_are_spread_by_chance(home, far, exporter, monkeypatch):
    await fill(await home.open(), "acme", 1)
    one = await exporter(first_pause=1.0, chance=lambda: 1.0)
    monkeypatch.setattr("aegis.runtime.exporting.monotonic", lambda: 100.0)
    far.mood(status=503)
    pauses = []
    for _ in range(9):
        await one.turn()
        (standing,) = one.standing()
        pauses.append(standing.not_before - 100.0)
        standing.not_before = 0.0
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    one._chance = lambda: 0.0
    await one.turn()
    assert one.standing()[0].not_before == 130.0


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("named", ["120", "Sat, 21 Nov 2099 08:00:00 GMT"])
async def test_retry_after_is_kept_and_bounded(home, far, exporter, monkeypatch, status, named):
    await fill(await home.open(), "acme", 1)
    one = await exporter()
    monkeypatch.setattr("aegis.runtime.exporting.monotonic", lambda: 0.5)
    far.mood(status=status, headers={"retry-after": named})
    await one.turn()
    assert one.standing()[0].not_before == (120.5 if named == "120" else 3600.5)


async def test_a_receiver_that_takes_only_small_requests_gets_smaller_batches(home, far, exporter):
    await fill(await home.open(), "acme", 64)
    far.mood(max_bytes=1500)
    one = await exporter(most=64)
    await until(one.turn, lambda: len(firsts(far.records(), "acme")) == 64)
    assert firsts(far.records(), "acme") == list(range(64))
    assert all(len(each["body"]) <= 1500 for each in far.requests() if each["status"] == 200)


async def test_an_event_that_is_refused_halts_its_tenant_and_no_other_and_nothing_is_skipped(home, far, exporter, caplog):
    store = await home.open()
    await fill(store, "acme", 20)
    await fill(store, "globex", 20)
    far.mood(poison='"id":"acme-13"', body="no such \x1b[31mfield\n")
    one = await exporter(slowly=0.0)
    for _ in range(3):
        await one.turn()
    assert firsts(far.records(), "acme") == list(range(13))
    assert firsts(far.records(), "globex") == list(range(20))
    acme, globex = one.standing()
    assert "event 13 (`acme-13`)" in acme.halted
    assert "400" in acme.halted
    assert "\x1b" not in acme.halted
    assert acme.lag == 7
    assert not globex.halted
    assert [each.message for each in caplog.records if each.levelname == "ERROR"] == [f"export halted: {acme.halted}"]
    far.mood()
    await until(one.turn, lambda: not one.standing()[0].lag)
    assert firsts(far.records(), "acme") == list(range(20))
    assert not one.standing()[0].halted


@pytest.mark.parametrize("status", [401, 403, 404, 301, 307, 308])
async def test_answers_that_a_person_must_look_at_halt_the_export(home, far, exporter, status):
    await fill(await home.open(), "acme", 3)
    far.mood(status=status, headers={"location": far.url + "/elsewhere"})
    one = await exporter()
    await one.turn()
    assert str(status) in one.standing()[0].halted
    assert len(far.requests()) == 1  # no redirect is followed, and nothing is bisected


async def test_an_answer_of_any_length_costs_little_and_is_an_answer(home, far, exporter):
    await fill(await home.open(), "acme", 3)
    far.mood(body="x" * 1000, times=200_000)  # 200 MB, if anybody read it
    one = await exporter()
    assert await one.turn() == 3


async def test_a_cursor_of_another_log_halts_the_export(home, far, exporter):
    store = await home.open()
    await fill(store, "acme", 20)
    one = await exporter()
    await one.turn()
    body = (await store.rows(SYSTEM_TENANT, [(KIND, "acme")]))[KIND, "acme"].body
    wrong = body.replace(b'"digest":"sha256:', b'"digest":"sha256:0')
    await store.commit(Unit(tenant=SYSTEM_TENANT, writes=(Put(kind=KIND, id="acme", body=wrong),)))
    await fill(store, "acme", 5, first=20)
    await one.turn()
    assert "the log was rewritten" in one.standing()[0].halted
    assert len(far.records()) == 20


async def test_a_damaged_cursor_halts_its_tenant_and_no_other(home, far, exporter):
    store = await home.open()
    await fill(store, "acme", 3)
    await fill(store, "globex", 3)
    await store.commit(Unit(tenant=SYSTEM_TENANT, writes=(Put(kind=KIND, id="acme", body=b"{}"),)))
    one = await exporter()
    await one.turn()
    acme, globex = one.standing()
    assert "damaged" in acme.halted
    assert (globex.lag, globex.halted) == (0, "")


async def test_events_that_vanished_from_the_middle_halt_the_export(home, far, exporter):
    store = await home.open()
    await fill(store, "acme", 20)
    home.sql("DELETE FROM event WHERE tenant = 'acme' AND seq = 4")
    one = await exporter()
    await one.turn()
    assert firsts(far.records(), "acme") in ([], list(range(4)))
    assert "not in the store" in one.standing()[0].halted


async def test_exporting_makes_no_events(home, far, exporter):
    store = await home.open()
    await fill(store, "acme", 20)
    one = await exporter()
    await one.turn()
    assert await store.tenants() == ("acme",)
    assert await store.fsck() == ()


async def test_hostile_strings_stay_one_record(home, far, exporter):
    store = await home.open()
    hostile = "\n\r\x1b[2J\u202e\u2028\x00\x85" + "A" * 1_000_000
    for n in range(3):
        await store.commit(Unit(tenant="acme", events=(event("acme", f"h{n}", text=hostile),)))
    one = await exporter()
    await one.turn()
    found = [line for each in far.requests() for line in each["body"].split("\n") if line]
    assert len(found) == 3
    assert [each["text"] for each in map(json.loads, found)] == [hostile] * 3
    assert len(far.requests()) == 3  # a batch is bounded in bytes, too


async def test_the_memory_of_an_export_is_bounded_by_a_slow_receiver(home, far, exporter):
    await fill(await home.open(), "acme", 500)
    far.mood(delay=0.3)
    one = await exporter(most=10)
    read = []
    events = one._store.events

    async def counted(*args, **options):
        found = await events(*args, **options)
        read.append(len(found))
        return found

    one._store.events = counted
    turn = asyncio.create_task(one.turn())
    await asyncio.sleep(1)
    turn.cancel()
    assert sum(read) <= len(far.records()) + 10


@pytest.mark.parametrize("seed", range(3))
async def test_a_receiver_that_is_killed_again_and_again_misses_nothing(home, far, exporter, seed):
    chance = random.Random(seed)
    store = await home.open()
    await fill(store, "acme", 300)
    await fill(store, "globex", 120)
    far.mood(delay=0.002)
    one = await exporter(most=9)

    async def kills():
        for _ in range(12):
            await asyncio.sleep(chance.uniform(0.01, 0.12))
            far.kill()
            await asyncio.sleep(chance.uniform(0, 0.05))
            await asyncio.to_thread(far.start)

    killing = asyncio.create_task(kills())
    await until(one.turn, lambda: killing.done() and not any(each.lag for each in one.standing()), 60)
    for tenant, size in (("acme", 300), ("globex", 120)):
        assert firsts(far.records(), tenant) == list(range(size))


@pytest.mark.parametrize(
    "url",
    [
        "http://siem.example/in", "ftp://127.0.0.1/", "https://", "https://user:pw@siem.example/", "https://siem.example/#x",
        "http://127.0.0.1.siem.example/", "http://localhost.example/", "https://siem.example/a b", "https://siém.example/",
        "http://[::1", "http://10.0.0.1/", "http://0.0.0.0/", "//127.0.0.1/", "https://h:99999/",
    ],
)  # fmt: skip
def test_events_leave_over_tls_or_stay_on_this_host(url):
    with pytest.raises(ConfigError, match=r"export\.url"):
        check_url(url)


@pytest.mark.parametrize(
    "url", ["https://siem.example:8443/in?x=1", "http://127.0.0.1:9/in", "http://[::1]:9/", "http://localhost:9/"]
)
def test_addresses_that_may_be_used(url):
    check_url(url)


async def test_the_token_is_read_anew_for_every_batch_and_must_be_private(far: Far, tmp_path):
    path = tmp_path / "token"
    path.write_text("one\n")
    path.chmod(0o600)
    receiver = HttpReceiver(far.url, path, lambda: datetime.now(UTC))
    assert (await receiver.post(b"1", "text/plain")).status == 200
    path.write_text("two\n")
    assert (await receiver.post(b"2", "text/plain")).status == 200
    path.chmod(0o644)
    reply = await receiver.post(b"3", "text/plain")
    await receiver.close()
    assert reply.status == 0
    assert "chmod 600" in reply.detail
    assert [each["headers"]["authorization"] for each in far.requests()] == ["Bearer one", "Bearer two"]
    with pytest.raises(ConfigError, match="chmod"):
        HttpReceiver(far.url, path, lambda: START)
