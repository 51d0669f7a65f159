"""A process that stands still between its decision and the call, and goes on when others would have taken it for dead."""

from datetime import timedelta

import pytest

from gateway.world import world


@pytest.fixture
def w(tmp_path, store_url):
    with world(tmp_path, store_url) as made:
        yield made


def stand_still_once(w, seconds):
    """The process sleeps right behind the commit of its next decision."""
    store = w.app.gate.store
    commit = store.commit

    async def slowly(unit):
        receipt = await commit(unit)
        if any(event.type == "decision" for event in unit.events):
            store.commit = commit
            w.hand.offset += timedelta(seconds=seconds)
        return receipt

    store.commit = slowly


def test_what_the_tool_would_not_know_of_when_it_is_asked_is_not_begun(w):
    stand_still_once(w, 2)
    told = w.call("pay.ask", {"amount": 1}, "k1")
    assert (told.status_code, w.tool.requests) == (502, [])
    assert w.call("pay.ask", {"amount": 1}, "k1").status_code == 200
    assert [name for name, _ in w.tool.done] == ["pay.ask"]


def test_a_tool_that_honours_keys_may_be_called_late(w):
    stand_still_once(w, 2)
    assert w.call("pay.honours", {"amount": 1}, "k1").status_code == 200
