"""The kill switch and safe mode, as every process sees them."""

import asyncio
import json
import subprocess
import sys
import time

import pytest

from aegis.app import open_app
from aegis.errors import ConfigError
from aegis.model.principal import Principal
from aegis.model.proposal import Proposal
from aegis.runtime.clock import Clock
from aegis.runtime.halts import Halt
from faults.kills import Gateway, free_port


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


@pytest.mark.parametrize("what", ["tenant", "tool:pay.honours", "agent:payer", "run:run_1"])
def test_what_is_halted_is_denied_everywhere_until_it_is_lifted(w, what):
    of = {"token": w.token(txn="run_1")}
    until(w, "", **of)
    change(w, what)
    told = until(w, "halted", **of)
    assert "drill" in told.json()["detail"]
    assert w.call("pay.honours", {"amount": 1}, "g", w.token("agent:payer", "globex")).status_code == 200
    assert change(w, what, lift=True) is True
    until(w, "", **of)
    assert change(w, what, lift=True) is False
    states = [(e["what"], e["state"], e["by"]) for e in w.events(tenant="_system") if e["type"] == "halt"]
    assert states == [(what, "active", "person:alice"), (what, "lifted", "person:alice")]


def test_a_halt_of_a_run_leaves_other_runs_alone(on_sqlite):
    w = on_sqlite
    change(w, "run:run_1")
    until(w, "halted", token=w.token(txn="run_1"))
    assert w.call("pay.honours", {"amount": 1}, "b", w.token(txn="run_2")).status_code == 200
    assert w.call("pay.honours", {"amount": 1}, "c").status_code == 200


def test_all_stops_every_tenant(w):
    change(w, "all", tenant="_system")
    until(w, "halted")
    until(w, "halted", token=w.token(tenant="globex"))
    assert change(w, "all", tenant="_system", lift=True) is True
    until(w, "")
    until(w, "", token=w.token(tenant="globex"))


@pytest.mark.parametrize("name", ["workflow", "queue"])
def test_what_stands_on_a_call_of_a_halted_workflow_or_queue_is_halted_with_it(on_sqlite, name):
    halts = on_sqlite.app.gate.halts
    told = asyncio.run(halted(on_sqlite, f"{name}:desk.mail", "pay.honours", above=(f"{name}.desk.mail",)))
    assert told == (f"{name}:desk.mail is halted by person:alice: drill", "")
    assert asyncio.run(halted(on_sqlite, f"{name}:desk.mail", f"{name}.desk.mail"))[0]
    assert asyncio.run(halted(on_sqlite, f"{name}:desk.mail", "pay.honours", above=(f"{name}.desk.other",))) == ("", "")
    assert not halts.stale


async def halted(w, what, tool, above=()):
    """What a process of its own says of a call, once `what` is halted."""
    app = await open_app(w.settings, clock=Clock(w.hand))
    try:
        await app.gate.halts.set(Halt(tenant="acme", what=what, mode="halt", reason="drill", by="person:alice"))
        who = Principal(tenant="acme", agent_id="agent:payer", subject="user:nora")
        proposal = Proposal(principal=who, tool=tool, arguments={}, request_id="req_1", request_hash="sha256:1")
        assert [halt.what for halt in app.gate.halts.stands("acme", [what])] == [what]
        assert app.gate.halts.stands("acme", ["agent:payer"]) == app.gate.halts.stands("globex", [what]) == ()
        return app.gate.halts.of(proposal, above)
    finally:
        await app.gate.store.close()


@pytest.mark.parametrize("what", ["everything", "tool:", "run", "all", "person:alice"])
def test_what_cannot_be_halted_is_refused_with_what_can(on_sqlite, what):
    with pytest.raises(ConfigError, match="cannot halt"):
        change(on_sqlite, what)


def test_a_halt_that_two_processes_confirmed_is_in_force_in_both_and_a_dead_one_is_not_waited_for(w):
    (w.root / "aegis.toml").write_text(f'[store]\nurl = "{w.settings.store.url}"\n[log]\nlevel = "warning"\n')
    other = Gateway(w, free_port())
    other.start()
    told = aegis(w, "halt", "all", "--reason", "drill", "--as", "person:alice", "--tenant", "acme")
    assert told["confirmed"]["missing"] == []
    assert len(told["confirmed"]["processes"]) == 2
    for url in (w.url, other.url):
        w.url = url
        assert w.call("pay.honours", {"amount": 1}, "x").json()["rule"] == "halted"
    other.kill()
    told = aegis(w, "resume", "all", "--reason", "drill", "--as", "person:alice", "--tenant", "acme")
    assert (len(told["confirmed"]["processes"]), told["confirmed"]["missing"]) == (1, [])


def aegis(w, *command):
    """The answer of a command of its own process."""
    started = [sys.executable, "-m", "aegis", "--dir", str(w.root), "--json", *command]
    ended = subprocess.run(started, capture_output=True, check=False, text=True)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


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
