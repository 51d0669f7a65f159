"""Whatever consumers do and however time passes: each message is in exactly one place, and has exactly one thing that is due."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aegis.app import open_app
from aegis.model.message import Accepts
from aegis.model.operation import to_request
from aegis.model.principal import Principal
from aegis.runtime.clock import Clock
from aegis.runtime.mailbox import DUE, MESSAGE, Mailbox, due_id
from aegis.runtime.messages import MAX_DELIVERIES, Told, Wanted
from messages.post import Post

STORE = Principal(tenant="acme", agent_id="agent:store", subject="user:nora")
STEP = st.one_of(
    st.tuples(st.just("send"), st.just(0)),
    st.tuples(st.just("lease"), st.sampled_from([1, 60, 700])),
    st.tuples(st.sampled_from(["ack", "nack"]), st.integers(0, 5)),
    st.tuples(st.just("pass"), st.sampled_from([1, 60, 601])),
    st.tuples(st.just("sweep"), st.just(0)),
    st.tuples(st.just("bounce"), st.integers(1, 4)),
)


def spelled(steps):
    """A message that bounces is leased and given back, some times."""
    for step, value in steps:
        yield from [("lease", 60), ("nack", -1)] * value if step == "bounce" else [(step, value)]


class Model:
    """What should be: messages by id with (deliveries, end of time, end of lease, lease)."""

    def __init__(self):
        self.live, self.dead, self.done = {}, {}, set()

    def lease(self, now):
        """The message that a consumer should get."""
        for name in sorted(self.live):
            deliveries, dies, _, lease = self.live[name]
            if lease:
                continue
            if dies <= now:
                self.bury(name, "timeout")
                continue
            return name, deliveries
        return None

    def back(self, name, now):
        deliveries, dies, _, _ = self.live[name]
        if deliveries >= MAX_DELIVERIES:
            self.bury(name, "too_many_deliveries")
        elif dies <= now:
            self.bury(name, "timeout")
        else:
            self.live[name] = (deliveries, dies, dies, "")

    def bury(self, name, reason):
        del self.live[name]
        self.dead[name] = reason

    def sweep(self, now):
        for name, (_, dies, until, lease) in list(self.live.items()):
            if lease and until <= now:
                self.back(name, now)
            elif not lease and dies <= now:
                self.bury(name, "timeout")


class Bench:
    """An app on its own loop whose clock only moves when told."""

    def __init__(self, root, url):
        self.world = Post(root, url)
        self.now = datetime.now(UTC)
        self.loop = asyncio.new_event_loop()
        self.app = self.run(open_app(self.world.settings, clock=Clock(lambda: self.now)))
        self.tenant = self.app.gate.tenant("acme")
        self.count = 0

    def run(self, work):
        return self.loop.run_until_complete(work)

    def close(self):
        self.run(self.app.gate.store.close())
        self.loop.close()
        self.world.close()

    def send(self):
        self.count += 1
        contract = next(c for c in self.tenant.by_digest.values() if (c.name, c.version) == ("message.order", "1.0.0"))
        said = {"source": "agent:payer", "id": str(self.count), "data": {"sku": "A", "amount": 1}}
        mailbox = Mailbox(self.app.gate.store, self.app.gate.vault, self.app.gate.clock)
        request = to_request(contract.operations["call"], said)
        told = [self.run(mailbox.send(contract, request, idempotency_key=f"k{self.count}", headers={})) for _ in range(2)]
        assert told[0].body == told[1].body
        return json.loads(told[0].body)["messages"][0]["id"]

    def lease(self, seconds):
        wanted = Wanted(type="order", addresses=("agent:store",), accepts=Accepts(((1, 2),)), seconds=seconds)
        return self.run(self.app.messages.lease(self.tenant, STORE, wanted))

    def places(self):
        """(live, dead, due) as the store holds them."""
        store = self.app.gate.store
        live = {each.id: each for each in self.run(self.app.messages.listed("acme", limit=10_000))}
        dead = {each.id: each.reason for each in self.run(self.app.messages.letters.listed("acme", limit=10_000))}
        due = [row.id for row in self.run(store.find("acme", DUE, limit=10_000))]
        assert len(self.run(store.find("acme", MESSAGE, limit=10_000))) == len(live)
        return live, dead, due


@pytest.fixture
def bench(tmp_path, store_url):
    made = Bench(tmp_path, store_url)
    yield made
    made.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=st.lists(STEP, max_size=25))
def test_a_message_is_always_in_one_place_with_one_thing_due(bench, steps):
    model, taken = Model(), []
    while bench.places()[0]:  # what an earlier example left
        bench.now += timedelta(seconds=2000)
        bench.run(bench.app.messages.sweep())
    _, before, _ = bench.places()
    for step, value in spelled(steps):
        bench.now += timedelta(milliseconds=1)
        if step == "send":
            dies = bench.now + timedelta(seconds=600)
            model.live[bench.send()] = (0, dies, dies, "")
        elif step == "lease":
            expected, found = model.lease(bench.now), bench.lease(value)
            assert (found.waiting.id if found else None) == (expected[0] if expected else None)
            if found:
                name, deliveries = expected
                until = bench.now + timedelta(seconds=value)
                model.live[name] = (deliveries + 1, model.live[name][1], until, found.waiting.lease)
                taken.append((name, found.waiting.lease))
        elif step in ("ack", "nack") and taken:
            name, lease = taken[value % len(taken)]
            held = name in model.live and model.live[name][3] == lease
            again = step == "ack" and (name, lease) in model.done
            messages = bench.app.messages
            told = bench.run(
                messages.ack("acme", STORE, name, lease) if step == "ack" else messages.nack("acme", STORE, name, lease, "x")
            )
            assert (told is Told.DONE) == (held or again)
            if held and step == "ack":
                del model.live[name]
                model.done.add((name, lease))
            elif held:
                model.back(name, bench.now)
        elif step == "pass":
            bench.now += timedelta(seconds=value)
        elif step == "sweep":
            bench.run(bench.app.messages.sweep())
            model.sweep(bench.now)
        live, dead, due = bench.places()
        assert {name: (each.deliveries, each.dies_at, each.due, each.lease) for name, each in live.items()} == model.live
        assert {name: reason for name, reason in dead.items() if name not in before} == model.dead
        assert sorted(due) == sorted(due_id(each) for each in live.values())
