"""Calls that are under way while the person is erased."""

import json
import threading

import pytest

from aegis.errors import ErasedError
from erasure.erasing import audit, erase, look, until

NORA = "user:nora"


def opened(w, request_id, kind, name):
    async def read(app):
        (event,) = [e for e in await app.gate.store.events("acme", request_id=request_id) if e.type == kind]
        return json.loads(await app.gate.vault.read("acme", event.id, name))

    return look(w, read)


def test_a_result_that_comes_after_the_erasure_is_sealed_under_the_next_key(records):
    w, said = records, []
    w.call("pay.honours", {"amount": 1}, "warm")
    w.tool.gate.clear()
    w.tool.arrived.clear()
    w.tool.mood = "wait"
    caller = threading.Thread(target=lambda: said.append(w.call("pay.honours", {"amount": 2}, "slow")))
    caller.start()
    assert w.tool.arrived.wait(10)
    erased = erase(w, NORA)
    w.tool.mood = "ok"
    w.tool.gate.set()
    caller.join(20)
    (answer,) = said
    assert answer.status_code == 200, answer.json()
    request = answer.json()["request_id"]
    with pytest.raises(ErasedError):
        opened(w, request, "decision", "arguments")
    assert opened(w, request, "outcome", "result") == answer.json()["result"]
    assert w.call("pay.honours", {"amount": 2}, "slow").json()["result"] == answer.json()["result"]
    assert erase(w, NORA)["keys"] != erased["keys"]
    assert w.fsck() == []


def test_a_call_that_broke_off_and_can_be_asked_about_no_more_waits_for_a_person(records):
    w, said = records, []
    w.tool.gate.clear()
    w.tool.arrived.clear()
    w.tool.mood = "hang-after"
    caller = threading.Thread(target=lambda: said.append(w.call("pay.ask", {"amount": 1}, "x")))
    caller.start()
    assert w.tool.arrived.wait(10)
    w.tool.mood = "mute"  # the tool acted, and does not say so
    caller.join(20)
    assert said[0].status_code in (409, 504), said[0].json()
    (request,) = audit(w, "erase", "--subject", NORA, "--as", "person:alice", "--dry-run")["unfinished"]
    erase(w, NORA)

    def state():
        async def of_it(app):
            return (await app.gate.store.rows("acme", [("call", request)]))["call", request].state

        return look(w, of_it)

    assert until(lambda: state() if state() != "executing" else "", 20) == "unknown"
    (outcome,) = [each for each in w.events(request) if each["type"] == "outcome" and each["outcome"] == "unknown"]
    assert outcome["reason"] == "arguments_erased"
    assert len(w.tool.done) == 1
    assert w.fsck() == []


def test_many_are_called_while_one_is_erased_and_nobody_sees_an_error(records):
    w, codes, stop = records, [], threading.Event()

    def calling(name):
        n = 0
        while not stop.is_set():
            n += 1
            codes.append(w.call("pay.honours", {"amount": 1}, f"{name}-{n}").status_code)

    callers = [threading.Thread(target=calling, args=(name,)) for name in "abc"]
    for caller in callers:
        caller.start()
    for _ in range(3):
        erase(w, NORA)
    stop.set()
    for caller in callers:
        caller.join(20)
    assert set(codes) == {200}
    assert w.fsck() == []
