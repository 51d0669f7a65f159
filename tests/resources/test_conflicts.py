"""Writes to one resource: at most one is under way at any moment, whoever makes them and wherever."""

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from cli.command import aegis
from gateway.world import World


class Second(World):
    """Another gateway over the files, the store and the bank of a first one."""

    def __init__(self, first):
        self.__dict__.update(first.__dict__)
        self._server = self._thread = self.app = None


@pytest.fixture
def pair(bank):
    second = Second(bank)
    second.start()
    try:
        yield bank, second
    finally:
        second.stop()


@contextmanager
def at_work(w, account="a-1", tool="bank.move", key="first"):
    """A write that is under way in the bank until the block ends."""
    w.ledger.gate.clear()
    w.ledger.arrived.clear()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(w.call, tool, {"account": account, "amount": 1}, key, w.token(), aegis_request_id="req_first")
        assert w.ledger.arrived.wait(10)
        try:
            yield running
        finally:
            w.ledger.gate.set()
            running.result()


def test_racing_writes_to_few_accounts_over_two_gateways_never_meet(pair):
    pair[0].ledger.pause = 0.01

    def one(n):
        for _ in range(100):
            told = pair[n % 2].call("bank.move", {"account": f"a-{n % 3}", "amount": 1}, f"k{n}")
            if told.status_code == 200:
                return True
            assert told.json()["code"] in ("resource-busy", "busy"), told.text
        return False

    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(one, range(36)))
    assert pair[0].ledger.overlaps == []
    assert len(pair[0].ledger.done) == 36
    assert {row.state for row in pair[0].rows()} == {"free"}
    assert pair[0].fsck() == []


def test_who_is_refused_is_told_whose_request_was_first_and_the_owner_finds_it(bank):
    with at_work(bank):
        told = bank.call("bank.close", {"account": "a-1", "amount": 1}, "c", bank.token("agent:other"), aegis_request_id="req_late")
    problem = told.json()
    assert (told.status_code, problem["code"], problem["retryable"]) == (409, "resource-conflict", True)
    assert problem["held_by"] == {"request_id": "req_first", "agent_id": "agent:payer"}
    assert told.headers["retry-after"] == "5"
    found = [event for event in bank.events("req_late") if event["type"] == "resource_conflict"]
    assert len(found) == 1
    event = found[0]
    (bank.root / "aegis.toml").write_text(f'[store]\nurl = "{bank.settings.store.url}"\n')
    searched = aegis(bank.root, "--json", "audit", "search", "--type", "resource_conflict", "--tenant", "acme")
    assert '"req_first"' in searched.stdout, searched.stderr
    assert event["held_by"] == {"request_id": "req_first", "agent_id": "agent:payer", "tool": "bank.move"}
    assert (event["owner"], event["won_by"], event["reason"]) == ("o@acme.example", "first_durable_claim", "resource_conflict")
    assert bank.call("bank.close", {"account": "a-1", "amount": 1}, "c", bank.token("agent:other")).status_code == 200


def test_a_write_that_waited_in_vain_is_busy_and_may_come_again(on_sqlite):
    w = on_sqlite
    from aegis.runtime import resources

    with at_work(w), pytest.MonkeyPatch.context() as patch:
        patch.setattr(resources, "WAIT_NS", 50_000_000)
        told = w.call("bank.move", {"account": "a-1", "amount": 1}, "second", w.token("agent:other"))
    assert (told.status_code, told.json()["code"], told.headers["retry-after"]) == (409, "resource-busy", "1")
    assert w.call("bank.move", {"account": "a-1", "amount": 1}, "second", w.token("agent:other")).status_code == 200


def test_neither_another_account_nor_another_tenant_waits(on_sqlite):
    w = on_sqlite
    with at_work(w):
        w.ledger.gate.set()
        assert w.call("bank.close", {"account": "a-2", "amount": 1}, "x").status_code == 200
        assert w.call("bank.close", {"account": "a-1", "amount": 1}, "x", w.token(tenant="globex")).status_code == 200


def test_rows_hold_no_argument(on_sqlite):
    w = on_sqlite
    assert w.call("bank.move", {"account": "DE02120300000000202051", "amount": 1}, "x").status_code == 200
    assert w.rows()
    assert not any(b"DE0212" in row.body or "DE0212" in row.id for row in w.rows())


def test_a_held_call_leaves_the_resource_to_others(on_sqlite):
    w = on_sqlite
    held = w.call("bank.move", {"account": "a-1", "amount": 2000}, "big")
    assert held.json()["code"] == "approval-needed"
    assert w.rows() == ()
    assert w.call("bank.close", {"account": "a-1", "amount": 1}, "x", w.token("agent:other")).status_code == 200
    w.approve(held.json()["approval_id"])
    with at_work(w):
        told = w.call("bank.close", {"account": "a-1", "amount": 1}, "y", w.token("agent:other"))
    assert told.json()["code"] == "resource-conflict"
    assert w.call("bank.move", {"account": "a-1", "amount": 2000}, "big").status_code == 200


def test_a_decided_call_has_its_resource_until_it_is_reported(bank):
    body = {"tool": "bank.close", "arguments": {"account": "a-1", "amount": 1}}
    decided = bank.post("/v1/decide", body, idempotency_key="d").json()
    other = bank.token("agent:other")
    refused = bank.call("bank.close", {"account": "a-1", "amount": 1}, "x", other).json()
    assert refused["held_by"] == {"request_id": decided["request_id"], "agent_id": "agent:payer"}
    assert bank.post(f"/v1/decide/{decided['request_id']}/outcome", {"done": True, "result": {"ok": True}}).is_success
    assert bank.call("bank.close", {"account": "a-1", "amount": 1}, "x", other).status_code == 200


def test_an_unknown_outcome_keeps_the_resource_until_a_person_has_looked(bank):
    bank.ledger.broken = True
    told = bank.call("bank.wire", {"account": "a-1", "amount": 1}, "w")
    assert told.json()["code"] == "outcome-unknown"
    bank.ledger.broken = False
    other = bank.token("agent:other")
    assert bank.call("bank.close", {"account": "a-1", "amount": 1}, "x", other).json()["code"] == "resource-conflict"
    resolve(bank, told.json()["request_id"])
    assert bank.call("bank.close", {"account": "a-1", "amount": 1}, "x", other).status_code == 200


def test_a_write_that_broke_off_keeps_others_out_while_the_tool_can_be_at_work_and_goes_on_itself(bank):
    bank.ledger.broken = True
    assert bank.call("bank.move", {"account": "a-1", "amount": 1}, "w").json()["code"] == "interrupted"
    bank.ledger.broken = False
    other = bank.token("agent:other")
    assert bank.call("bank.close", {"account": "a-1", "amount": 1}, "x", other).json()["code"] == "resource-conflict"
    assert bank.call("bank.move", {"account": "a-1", "amount": 1}, "w").status_code == 200
    assert {json.loads(row.body).get("until", "") != "" for row in bank.rows()} == {True}
    assert bank.call("bank.close", {"account": "a-1", "amount": 1}, "x", other).json()["code"] == "resource-conflict"
    bank.hand.offset += bank.app.gate.tenant("acme").contracts["bank.move"].settles_after
    assert bank.call("bank.close", {"account": "a-1", "amount": 1}, "x", other).status_code == 200


def test_the_same_request_again_is_told_of_itself_and_not_of_the_resource(on_sqlite):
    w = on_sqlite
    with at_work(w):
        assert w.call("bank.move", {"account": "a-1", "amount": 1}, "first").json()["code"] == "in-flight"
    assert w.call("bank.move", {"account": "a-1", "amount": 1}, "first").json()["repeat_of"] == "req_first"


def test_rows_that_nobody_has_had_for_long_are_forgotten(on_sqlite):
    from datetime import timedelta

    w = on_sqlite
    assert w.call("bank.move", {"account": "a-1", "amount": 1}, "x").status_code == 200
    decided = w.post("/v1/decide", {"tool": "bank.close", "arguments": {"account": "a-2", "amount": 1}}, idempotency_key="d").json()
    tidy(w)
    assert len(w.rows()) == 2
    w.hand.offset += timedelta(hours=2)
    tidy(w)
    assert [row.lookup for row in w.rows()] == [decided["request_id"]]


def tidy(w):
    with_gate(w, lambda gate: gate.resources.tidy("acme"))


def resolve(w, request_id):
    with_gate(w, lambda gate: gate.recovery.resolve("acme", request_id, done=False, by="person:alice", reason="looked"))


def with_gate(w, work):
    import asyncio

    from aegis.app import open_app
    from aegis.runtime.clock import Clock

    async def run():
        app = await open_app(w.settings, clock=Clock(w.hand))
        try:
            return await work(app.gate)
        finally:
            await app.gate.store.close()

    return asyncio.run(run())
