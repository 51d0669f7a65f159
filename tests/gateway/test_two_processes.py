"""Two gateways with nothing in common but the store behave as one."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.world import World


class Second(World):
    """Another gateway over the files, the store and the tool of a first one."""

    def __init__(self, first):
        self.__dict__.update(first.__dict__)
        self._server = self._thread = self.app = None


@pytest.fixture
def pair(w):
    second = Second(w)
    second.start()
    try:
        yield w, second
    finally:
        second.stop()


def test_racing_calls_of_one_key_over_two_gateways_act_once(pair):
    with ThreadPoolExecutor(16) as pool:
        told = list(pool.map(lambda n: pair[n % 2].call("pay.neither", {"amount": 7}, "race"), range(32)))
    assert {t.status_code for t in told} <= {200, 409}
    assert len(pair[0].tool.done) == 1


def test_one_approval_is_used_once_over_two_gateways(pair):
    first, second = pair
    approval = first.call("pay.honours", {"amount": 1500}, "k").json()["approval_id"]
    assert second.call("pay.honours", {"amount": 1500}, "k").json()["approval_id"] == approval
    second.approve(approval)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: pair[n % 2].call("pay.honours", {"amount": 1500}, "k"), range(32)))
    assert len(first.tool.done) == 1
    assert [e["type"] for e in first.events()].count("override_used") == 1


def test_a_call_that_one_gateway_executes_is_in_flight_for_the_other(pair):
    first, second = pair
    first.tool.mood = "wait"
    first.tool.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(first.call, "pay.neither", {"amount": 5}, "k1")
        assert first.tool.arrived.wait(10)
        told = second.call("pay.neither", {"amount": 5}, "k1")
        first.tool.gate.set()
        assert running.result().status_code == 200
    assert told.json()["code"] == "in-flight"


def test_the_sequence_has_no_gaps_when_two_gateways_write_it(pair):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: pair[n % 2].call("pay.honours", {"amount": 1}, f"s{n}"), range(40)))
    events = pair[0].events()
    assert [e["seq"] for e in events] == list(range(len(events)))
    assert pair[0].fsck() == []
