"""The token service over real HTTP: an agent shows its key and gets a token; a child redeems what was handed down to it."""

import asyncio
from datetime import timedelta

import httpx
import pytest

from aegis.app import open_app
from aegis.runtime.clock import Clock
from aegis.runtime.delegations import GONE
from authority.agents import Bot, child_of


def test_an_agent_gets_a_token_by_its_own_key_and_may_act(w):
    payer = Bot(w, "agent:payer").get()
    told = payer.call("pay.honours", {"amount": 5}, "k1")
    assert told.status_code == 200, told.text
    issued = next(e for e in w.events() if e["type"] == "token_issued")
    decided = next(e for e in w.events(told.json()["request_id"]) if e["type"] == "decision")
    assert (issued["agent_id"], issued["grant"], issued["token_jti"]) == ("agent:payer", "client_credentials", decided["token_jti"])


def test_a_chain_of_three_agents_acts_by_what_was_handed_down_and_the_journal_tells_who_for_whom(w):
    desk = Bot(w, "agent:desk").get()
    planner, _ = child_of(desk, "agent:planner", scopes=["pay.*"], task="order-7")
    payer, request_id = child_of(
        planner, "agent:payer", tools=[{"tool": "pay.honours", "limits": {"amount": {"max": 100}}, "calls": 1}]
    )
    told = payer.call("pay.honours", {"amount": 5}, "k1")
    assert told.status_code == 200, told.text
    event = next(e for e in w.events(told.json()["request_id"]) if e["type"] == "decision")
    assert event["actor"]["act"] == [{"sub": "agent:payer"}, {"sub": "agent:planner"}, {"sub": "agent:desk"}]
    assert event["parent_request_id"] == request_id
    assert len(event["token_ancestors"]) == 4


def test_a_planner_cannot_make_the_payer_pay_what_was_not_handed_down(w):
    planner = Bot(w, "agent:planner").get()
    assert planner.call("pay.honours", {"amount": 5}, "own").json()["rule"] == "default-deny"
    payer, _ = child_of(planner, "agent:payer", tools=[{"tool": "pay.honours", "limits": {"amount": {"max": 100}}, "calls": 1}])
    assert payer.call("pay.honours", {"amount": 101}, "k1").json()["rule"] == "authority.limit"
    assert payer.call("pay.ask", {"amount": 5}, "k2").json()["rule"] in ("authority.tool", "chain.scope")
    assert payer.call("pay.honours", {"amount": 100}, "k3").status_code == 200
    assert payer.call("pay.honours", {"amount": 1}, "k4").json()["rule"] == "authority.calls"
    assert payer.call("pay.honours", {"amount": 100}, "k3").status_code == 200, "the same key gets its recorded result"


def test_a_task_ends_with_the_request_that_it_stands_on_at_any_depth(w):
    desk = Bot(w, "agent:desk").get()
    planner, first = child_of(desk, "agent:planner", scopes=["pay.*"])
    payer, second = child_of(planner, "agent:payer", scopes=["pay.honours"])
    assert payer.call("pay.honours", {"amount": 1}, "k1").status_code == 200
    assert planner.end(first).status_code == 404, "only who handed it down ends it"
    assert desk.end(first).status_code == 200
    assert payer.call("pay.honours", {"amount": 1}, "k2").json()["rule"] == "chain.ended"
    assert planner.end(second).status_code == 200
    assert payer.call("pay.honours", {"amount": 1}, "k3").status_code == 403


def test_a_credential_for_one_task_is_good_for_that_task_only_and_dies_with_it(w):
    payer = Bot(w, "agent:payer").get()
    task, request_id = child_of(payer, "agent:payer", tools=[{"tool": "pay.honours", "calls": 2}], task="invoice-1")
    assert task.call("pay.honours", {"amount": 1}, "k1", task="invoice-1").status_code == 200
    assert task.call("pay.honours", {"amount": 1}, "k2", task="invoice-2").json()["rule"] == "chain.task_mismatch"
    assert task.call("pay.neither", {"amount": 1}, "k3").status_code == 403
    assert payer.end(request_id).status_code == 200
    assert task.call("pay.honours", {"amount": 1}, "k4").json()["rule"] == "chain.ended"


def test_a_delegation_that_nobody_ended_is_ended_when_its_tokens_have_expired(w):
    desk = Bot(w, "agent:desk").get()
    handed = desk.delegated("agent:payer", scopes=["pay.*"])
    w.hand.offset = GONE + timedelta(minutes=1)

    async def expire() -> tuple[int, int]:
        app = await open_app(w.settings, clock=Clock(w.hand))
        try:
            return await app.gate.delegations.expire("acme", app.gate.recovery), await app.gate.delegations.expire(
                "acme", app.gate.recovery
            )
        finally:
            await app.gate.store.close()

    assert asyncio.run(expire()) == (1, 0)
    ended = [e for e in w.events(handed["request_id"]) if e["type"] == "outcome"]
    assert [(e["outcome"], e["reason"]) for e in ended] == [("done", "expired")]


def test_only_a_delegation_is_ended_and_a_decided_call_waits_for_its_outcome(on_sqlite):
    payer = Bot(on_sqlite, "agent:payer").get()
    decided = payer.post("/v1/decide", {"tool": "pay.honours", "arguments": {"amount": 1}}, idempotency_key="k").json()
    assert payer.end(decided["request_id"]).status_code == 404
    handed = payer.delegated("agent:other", scopes=["pay.honours"])
    assert [payer.end(handed["request_id"]).status_code for _ in range(2)] == [200, 404]
    ended = [e for e in on_sqlite.events(handed["request_id"]) if e["type"] == "outcome"]
    assert [(e["outcome"], e["reason"]) for e in ended] == [("done", "ended")]


def test_a_gateway_without_the_signing_key_says_so_and_records_no_delegation(on_sqlite):
    w = on_sqlite
    desk = Bot(w, "agent:desk").get()
    for path in (w.keys / "sts" / "acme").rglob("*.jwk.json"):
        path.unlink()
    told = Bot(w, "agent:payer").ask()
    assert (told.status_code, told.json()["rule"]) == (403, "token.no_signing_key")
    assert "no_signing_key" in desk.hand("agent:payer", scopes=["pay.*"]).json()["detail"]
    assert not [e for e in w.events() if e["type"] == "delegation"]


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"grant_type": "password"}, "grant_type"),
        ({"client_assertion_type": "x"}, "client_assertion_type"),
        ({"subject_token": "x"}, "subject_token"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}, "requested_token_type"),
        ({"authorization_details": "[1]"}, "tools"),
        ({"authorization_details": "[", "scope": ""}, ""),
        ({"authorization_details": "[]", "scope": "pay.ask"}, "tools"),
        ({"budget_micros": "-1"}, "budget_micros"),
        ({"audience": "https://elsewhere"}, "audience"),
        ({"task": "two words"}, "task"),
        ({"password": "x"}, "password"),
    ],
)
def test_a_form_that_is_not_understood_is_refused_with_its_place(shared, form, field):
    told = Bot(shared, "agent:payer").ask(**form)
    assert (told.status_code, told.json()["code"]) == (400, "malformed"), told.text
    assert told.json().get("field", "") == field


def test_a_parameter_twice_or_a_body_that_is_no_form_is_refused(shared):
    url = shared.url + "/v1/token"
    form = {"content-type": "application/x-www-form-urlencoded"}
    twice = "grant_type=client_credentials&grant_type=client_credentials"
    assert httpx.post(url, content=twice, headers=form).status_code == 400
    assert httpx.post(url, content=b"\xff=1", headers=form).status_code == 400
    assert httpx.post(url, content="x" * 70_000, headers=form).status_code == 413
    assert httpx.post(url, json={"grant_type": "client_credentials"}).status_code == 415


@pytest.mark.parametrize(
    "body",
    [
        {"to": 1}, {"tools": 1}, {"tools": [{"tool": "pay.ask", "limits": {"amount": {"below": 3}}}]}, {"ttl_seconds": 301},
        {"ttl_seconds": 0}, {"scopes": ["a b"]}, {"budget_micros": -1}, {"max_depth": 9}, {"surprise": 1},
        {"scopes": ["pay.ask"], "tools": [{"tool": "pay.ask"}]}, {"task": "two words"},
    ],
)  # fmt: skip
def test_a_delegation_that_is_not_understood_is_refused_and_recorded(shared, body):
    desk = Bot(shared, "agent:desk").get()
    assert desk.post("/v1/delegations", body).status_code == 400
    assert shared.events()[-1]["type"] == "refusal"


def test_people_neither_get_tokens_nor_hand_tasks_down(shared):
    told = shared.post("/v1/delegations", {"to": "agent:payer"}, shared.person_token())
    assert (told.status_code, told.json()["code"]) == (403, "forbidden")
