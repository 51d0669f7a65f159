"""What was recorded under yesterday's rules is given out under today's only."""

import pytest


def tighten(w, old, new):
    """Change the policy of the tenant and start again."""
    path = w.root / "tenants/acme/policy.yaml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    w.stop()
    w.start()


def test_a_recorded_result_waits_for_a_person_when_todays_policy_wants_one(w):
    w.call("pay.honours", {"amount": 500}, "k1")
    tighten(w, "gte: 1000", "gte: 400")
    told = w.call("pay.honours", {"amount": 500}, "k1")
    assert (told.status_code, told.json()["code"]) == (403, "approval-needed")
    w.approve(told.json()["approval_id"])
    assert w.call("pay.honours", {"amount": 500}, "k1").json()["result"] == {"id": 1}
    assert len(w.tool.done) == 1


def test_a_decided_permit_is_not_repeated_when_todays_policy_wants_a_person(w):
    body = {"tool": "pay.honours", "arguments": {"amount": 500}}
    assert w.post("/v1/decide", body, idempotency_key="k1").status_code == 200
    tighten(w, "gte: 1000", "gte: 400")
    assert w.post("/v1/decide", body, idempotency_key="k1").json()["code"] == "approval-needed"


def test_a_refusal_binds_even_when_no_rule_holds_the_request_any_more(w):
    approval = w.call("pay.honours", {"amount": 1500}, "k1").json()["approval_id"]
    w.approve(approval, approve=False)
    tighten(w, "gte: 1000", "gte: 2000")
    told = w.call("pay.honours", {"amount": 1500}, "k1")
    assert (told.status_code, told.json()["rule"]) == (403, "approval#denied")
    assert w.tool.done == []


def test_the_approval_of_somebody_who_was_disabled_meanwhile_counts_no_more(w):
    approval = w.call("pay.honours", {"amount": 1500}, "k1").json()["approval_id"]
    w.approve(approval)
    path = w.root / "tenants/acme/directory.yaml"
    path.write_text(path.read_text().replace("person:alice: {roles: [lead]}", "person:alice: {roles: [lead], enabled: false}"))
    w.stop()
    w.start()
    assert w.call("pay.honours", {"amount": 1500}, "k1").json()["code"] == "approval-needed"
    assert w.tool.done == []


@pytest.mark.parametrize("first", ["intruder", "owner"])
def test_an_agent_sees_only_what_it_did_under_a_request_id(on_sqlite, first):
    w = on_sqlite
    other = w.token("agent:other")
    if first == "intruder":
        w.post("/v1/tools/pay.honours/call", b"{", other, aegis_request_id="order-7")
    w.call("pay.honours", {"amount": 5}, "k1", aegis_request_id="order-7")
    w.call("pay.honours", {"amount": 5}, "theirs", other, aegis_request_id="order-7")
    seen = w.get("/v1/requests/order-7").json()["events"]
    assert {e["agent_id"] for e in seen} == {"agent:payer"}
    assert {e["agent_id"] for e in w.get("/v1/requests/order-7", other).json()["events"]} == {"agent:other"}
