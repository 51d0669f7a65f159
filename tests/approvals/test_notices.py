"""Channels in several processes: at least once, in order, under one id, and never stuck for good."""

import asyncio
import base64
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from aegis.adapters.webhook import WebhookSender
from aegis.crypto import webhook
from aegis.journal.unit import Put, Unit
from aegis.model.channel import Channel
from aegis.runtime import notices
from aegis.runtime.notices import Notices
from approvals.receiver import Receiver
from approvals.room import STARTER, spec

SECRET = "whsec_" + base64.b64encode(bytes(range(40))).decode()


@pytest.fixture
def receiver():
    made = Receiver(SECRET)
    yield made
    made.close()


@pytest.fixture
async def process(room, receiver):
    """Makes what one process has: a teller of one channel, with the real sender. The clock is that of the host."""
    channel = Channel(name="desk", tenant="acme", url=receiver.url, secret_file="unused", events=("approval.asked",))
    room.offset = datetime.now(UTC) - room.clock.now()
    senders = []

    def made(instance: str, url: str = "") -> Notices:
        to = channel if not url else Channel(name="desk", tenant="acme", url=url, secret_file="unused", events=("approval.asked",))
        senders.append(WebhookSender(lambda _: [webhook.secret(SECRET)], room.clock.now))
        return Notices(room.store, room.clock, room.desk, senders[-1], lambda: [to], instance=instance)

    yield made
    for sender in senders:
        await sender.close()


async def asked(room, count: int, first: int = 0) -> list[str]:
    return [(await room.ask(spec(), run=f"run_{number}", principal=STARTER)).approval_id for number in range(first, first + count)]


def told(receiver) -> list[str]:
    return [notice["data"]["approval_id"] for _, notice in receiver.got]


async def test_of_processes_that_live_one_tells_and_another_takes_over_when_it_is_gone(room, receiver, process):
    one, two = process("one"), process("two")
    await room.store.register("one")
    await one.turn()
    first = await asked(room, 5)
    await one.turn()
    second = await asked(room, 3, 5)
    assert await two.turn() == 0
    assert await one.turn() == 3
    assert told(receiver) == first + second
    third = await asked(room, 2, 8)
    room.offset += timedelta(seconds=61)  # it has told nobody that it still lives
    assert await two.turn() == 2
    assert told(receiver) == first + second + third


async def test_processes_that_begin_at_the_same_moment_lose_nothing_and_repeat_under_the_same_id(room, receiver, process):
    many = [process(f"p{number}") for number in range(4)]
    await many[0].turn()
    wanted = await asked(room, 12)
    for _ in range(4):
        await asyncio.gather(*(each.turn() for each in many))
    assert list(dict.fromkeys(told(receiver))) == wanted
    assert len({name for name, _ in receiver.got}) == 12


async def test_a_process_that_dies_after_it_sent_repeats_the_notice_under_the_same_id(room, receiver, process):
    one = process("one")
    await one.turn()
    wanted = await asked(room, 2)
    before = await room.store.rows("acme", [("channel", "desk")])
    await one.turn()
    # The store as it was before the cursor moved is what another process finds after a crash.
    row = before["channel", "desk"]
    await room.store.commit(Unit(tenant="acme", writes=(Put(kind=row.kind, id=row.id, body=row.body),)))
    assert await process("two").turn() == 2
    assert told(receiver) == wanted * 2
    assert [name for name, _ in receiver.got[:2]] == [name for name, _ in receiver.got[2:]]


async def test_a_notice_that_nobody_ever_takes_is_given_up_with_an_event_and_the_next_one_has_its_turn(room, process):
    one = process("one", "http://127.0.0.1:9/nobody")
    await one.turn()
    await asked(room, 2)
    for _ in range(notices.MAX_ATTEMPTS + 3):
        room.offset += timedelta(hours=1)  # no pause is longer
        await one.turn()
    dropped = [event for event in await room.store.events("acme", limit=1000) if event.type == "notice_dropped"]
    row = (await room.store.rows("acme", [("channel", "desk")]))["channel", "desk"]
    place = msgspec.json.decode(row.body, type=notices.Place)
    assert len(dropped) == 1
    assert (place.next, place.failures) == (1, 4)


async def test_a_failure_is_waited_for_by_every_process_and_then_another_may_reach_the_receiver(room, receiver, process):
    one, two = process("one", "http://127.0.0.1:9/nobody"), process("two")
    await one.turn()
    wanted = await asked(room, 1)
    for each in (one, one, two):
        assert await each.turn() == 0
    assert receiver.seen == 0
    room.offset += timedelta(seconds=2)
    assert await two.turn() == 1
    assert told(receiver) == wanted
