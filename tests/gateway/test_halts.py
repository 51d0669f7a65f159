"""The kill switch and safe mode, as every process sees them."""

import asyncio
import time

import pytest

from aegis.app import open_app
from aegis.runtime.clock import Clock
from aegis.runtime.halts import Halt


def change(w, what, *, mode="halt", lift=False, tenant="acme"):
    """Halt or lift from a process of its own kind: another App on the same store."""

    async def work():
        app = await open_app(w.settings, clock=Clock(w.hand))
        try:
            halt = Halt(tenant=tenant, what=what, mode=mode, reason="drill", by="person:alice")
            return await (app.gate.halts.lift(halt) if lift else app.gate.halts.set(halt))
        finally:
            await app.gate.store.close()

    return asyncio.run(work())


def until(w, rule, **call):
    deadline = time.monotonic() + 10
    count = 0
    while True:
        count += 1
        told = w.call("pay.honours", {"amount": 1}, f"halt-{time.monotonic_ns()}", **call)
        if (told.json().get("rule", "") == rule) or (rule == "" and told.status_code == 200):
            return told
        assert time.monotonic() < deadline, told.text
        time.sleep(0.05)


@pytest.mark.parametrize("what", ["tenant", "tool:pay.honours", "agent:payer"])
def test_what_is_halted_is_denied_everywhere_until_it_is_lifted(w, what):
    until(w, "")
    change(w, what)
    told = until(w, "halted")
    assert "drill" in told.json()["detail"]
    assert w.call("pay.honours", {"amount": 1}, "g", w.token("agent:payer", "globex")).status_code == 200
    assert change(w, what, lift=True) is True
    until(w, "")
    assert change(w, what, lift=True) is False
    states = [(e["what"], e["state"], e["by"]) for e in w.events(tenant="_system") if e["type"] == "halt"]
    assert states == [(what, "active", "person:alice"), (what, "lifted", "person:alice")]


def test_an_agent_that_is_halted_is_halted_as_an_ancestor_too(on_sqlite):
    w = on_sqlite
    parent = w.post("/v1/decide", {"tool": "pay.honours", "arguments": {"amount": 1}}, idempotency_key="p").json()["request_id"]
    change(w, "agent:payer")
    token = w.token("agent:other", parent=("agent:payer", parent))
    until(w, "halted", token=token, parent_agent_id="agent:payer", parent_request_id=parent)


def test_safe_mode_lets_reads_pass_and_holds_writes(on_sqlite):
    w = on_sqlite
    change(w, "tenant", mode="safe")
    # nobody in this directory is an operator, so a held write could never be approved: it is denied at once
    until(w, "approval#nobody")
    before = len(w.tool.done)
    assert w.call("pay.honours", {"amount": 2}, "safe").json()["rule"] == "approval#nobody"
    assert w.call("records.read", {"id": "x"}, token=w.token("agent:reader")).status_code == 200
    assert len(w.tool.done) == before


@pytest.mark.parametrize("who", ["agent:payer", ""], ids=["the agent", "the tenant"])
def test_tokens_issued_before_a_revocation_are_refused_within_a_second_and_later_ones_are_good(w, who):
    from datetime import timedelta

    from aegis.runtime.revocations import Revocation

    token, bystander = w.token(), w.token("agent:other")
    child = w.token("agent:other", parent=("agent:payer", "req_x"))
    assert w.get("/v1/tools", token).status_code == 200

    async def work():
        app = await open_app(w.settings, clock=Clock(w.hand))
        try:
            before = w.hand() + timedelta(seconds=1)
            await app.gate.revocations.add(Revocation(tenant="acme", who=who, before=before, reason="drill", by="person:alice"))
        finally:
            await app.gate.store.close()

    asyncio.run(work())
    deadline = time.monotonic() + 10
    while w.get("/v1/tools", token).status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert w.get("/v1/tools", token).json()["detail"] == "refused: revoked"
    assert w.get("/v1/tools", child).json()["detail"] == f"refused: {'ancestor_revoked' if who else 'revoked'}"
    assert w.get("/v1/tools", bystander).status_code == (401 if who == "" else 200)
    w.stop()
    w.start()
    assert w.get("/v1/tools", token).json()["detail"] == "refused: revoked"
    w.hand.offset = timedelta(seconds=3)
    assert w.get("/v1/tools", w.token()).status_code == 200
