"""What becomes of a call that broke off, by what the tool declares about itself."""

import asyncio
import time

import pytest

from aegis.adapters import keyfiles
from aegis.app import open_app
from aegis.runtime.clock import Clock


def until(holds, seconds=10.0):
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "did not come true in time"
        time.sleep(0.05)
    return found


def test_a_tool_that_honours_our_key_may_be_called_again_under_it(w):
    w.tool.mood = "vanish-after"
    told = w.call("pay.honours", {"amount": 5}, "k1")
    assert (told.status_code, told.json()["code"]) == (504, "interrupted")
    w.tool.mood = "ok"
    assert w.call("pay.honours", {"amount": 5}, "k1").json()["result"] == {"id": 1}
    assert len(w.tool.done) == 1


@pytest.mark.parametrize(("mood", "acted"), [("vanish-after", 1), ("vanish-before", 0)])
def test_a_tool_that_can_be_asked_is_asked_and_never_repeated_blindly(w, mood, acted):
    w.tool.mood = mood
    told = w.call("pay.ask", {"amount": 5}, "k1")
    assert (told.status_code, told.json()["code"]) == ((504, "interrupted") if acted else (409, "settling"))
    assert len(w.tool.done) == acted
    w.tool.mood = "ok"
    again = until(lambda: (r := w.call("pay.ask", {"amount": 5}, "k1").json()).get("result") and r)
    assert bool(again.get("repeat_of")) is bool(acted)
    assert len(w.tool.done) == 1


def test_a_tool_that_is_still_at_work_is_not_believed_to_have_done_nothing(w):
    w.tool.mood = "wait-before"
    w.tool.gate.clear()
    told = w.call("pay.ask", {"amount": 5}, "k1")
    assert told.json()["code"] == "settling"
    assert w.call("pay.ask", {"amount": 5}, "k1").json()["code"] == "settling"
    w.tool.gate.set()
    w.tool.mood = "ok"
    again = until(lambda: (r := w.call("pay.ask", {"amount": 5}, "k1").json()).get("result") and r)
    assert again["repeat_of"] == told.json()["request_id"]
    assert len(w.tool.done) == 1


def test_after_a_broken_attempt_a_refusal_is_not_told_as_surely_no_effect(w):
    w.tool.mood = "vanish-after"
    w.call("pay.honours", {"amount": 5}, "k1")
    w.tool.mood = "refuse"
    told = w.call("pay.honours", {"amount": 5}, "k1")
    assert (told.status_code, told.json()["code"]) == (504, "interrupted")


def test_a_tool_that_cannot_be_asked_now_is_asked_later(w):
    w.tool.mood = "vanish-after"
    until_asked = w.tool
    original = until_asked.mood
    assert original == "vanish-after"
    # the tool acts, drops the connection, and does not answer questions either
    w.tool.mood = "hang-after"
    w.tool.gate.clear()
    told = w.call("pay.ask", {"amount": 5}, "k1")  # times out after a second; the question finds it
    w.tool.gate.set()
    assert told.json()["code"] in ("interrupted", "settling")
    w.tool.mood = "mute"
    w.call("pay.ask", {"amount": 9}, "k2")
    w.tool.mood = "ok"
    assert until(lambda: w.call("pay.ask", {"amount": 5}, "k1").json().get("result")) == {"id": 1}
    assert [key for _, key in w.tool.done].count(w.tool.done[0][1]) == 1


def test_a_tool_that_can_do_neither_leaves_an_unknown_call_for_a_person(w):
    w.tool.mood = "vanish-after"
    told = w.call("pay.neither", {"amount": 5}, "k1")
    assert (told.status_code, told.json()["code"], told.json()["retryable"]) == (409, "outcome-unknown", False)
    w.tool.mood = "ok"
    for _ in range(3):
        assert w.call("pay.neither", {"amount": 5}, "k1").json()["code"] == "outcome-unknown"
    assert len(w.tool.done) == 1
    resolve(w, told.json()["request_id"], done=False)
    assert w.call("pay.neither", {"amount": 5}, "k1").json()["result"] == {"id": 2}


def test_a_person_who_found_that_it_happened_ends_the_call(w):
    w.tool.mood = "error"
    told = w.call("pay.neither", {"amount": 5}, "k1")
    assert told.json()["code"] == "outcome-unknown"
    w.tool.mood = "ok"
    resolve(w, told.json()["request_id"], done=True)
    again = w.call("pay.neither", {"amount": 5}, "k1")
    assert (again.status_code, again.json()["result"]) == (200, None)
    settled = [e for e in w.events(told.json()["request_id"]) if e["type"] == "outcome"][-1]
    assert (settled["outcome"], settled["by"]) == ("done", "person:alice")


def test_a_read_that_broke_off_may_be_read_again(w):
    w.tool.mood = "error"
    told = w.call("records.read", {"id": "x"}, token=w.token("agent:reader"))
    assert (told.status_code, told.json()["code"]) == (504, "interrupted")
    w.tool.mood = "ok"
    assert w.call("records.read", {"id": "x"}, token=w.token("agent:reader")).json()["result"]["ssn"] == "****"


def test_a_caller_that_leaves_does_not_interrupt_the_tool(w):
    import httpx

    w.tool.mood = "wait"
    w.tool.gate.clear()
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{w.url}/v1/tools/pay.neither/call", json={"arguments": {"amount": 5}}, timeout=0.4,
            headers={"authorization": f"Bearer {w.token()}", "idempotency-key": "k1"},
        )  # fmt: skip
    w.tool.gate.set()
    w.tool.mood = "ok"
    again = until(lambda: (r := w.call("pay.neither", {"amount": 5}, "k1").json()).get("result") and r)
    assert again["result"] == {"id": 1}
    assert len(w.tool.done) == 1


def resolve(w, request_id, *, done):
    async def work():
        app = await open_app(w.settings, clock=Clock(w.hand))
        try:
            return await app.gate.recovery.resolve("acme", request_id, done=done, by="person:alice", reason="looked at the ledger")
        finally:
            await app.gate.store.close()

    assert asyncio.run(work()) is not None
    assert keyfiles.load_public(w.keys).has("human", "acme")
