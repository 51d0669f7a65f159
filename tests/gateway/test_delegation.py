"""A delegated call stands on a live request of its parent, in its own tenant, and says so."""

import pytest


def open_parent(w, agent="agent:payer", tenant="acme", key="plan"):
    """A decided call of the parent that is still under way."""
    told = w.post("/v1/decide", {"tool": "pay.honours", "arguments": {"amount": 1}}, w.token(agent, tenant), idempotency_key=key)
    assert told.status_code == 200, told.text
    return told.json()["request_id"]


def child(w, parent_agent, parent_request, *, sent=None, tenant="acme"):
    sent = sent if sent is not None else (parent_agent, parent_request)
    token = w.token("agent:other", tenant, parent=(parent_agent, parent_request))
    body = {"arguments": {"amount": 2}}
    if sent:
        body |= {"parent_agent_id": sent[0], "parent_request_id": sent[1]}
    return w.post("/v1/tools/pay.honours/call", body, token, idempotency_key="child-1")


def test_a_child_of_a_live_request_may_act_and_the_journal_tells_the_chain(w):
    parent = open_parent(w)
    told = child(w, "agent:payer", parent)
    assert told.status_code == 200, told.text
    event = next(e for e in w.events(told.json()["request_id"]) if e["type"] == "decision")
    assert event["parent_request_id"] == parent
    assert event["actor"] == {"sub": "user:nora", "act": [{"sub": "agent:other"}, {"sub": "agent:payer"}]}


def refused(told, rule):
    assert told.status_code == 403, told.text
    assert told.json()["rule"] == rule, told.text


def test_a_parent_that_never_was_is_refused(w):
    refused(child(w, "agent:payer", "req_invented"), "chain.parent_missing")


def test_a_parent_that_was_denied_is_refused(w):
    denied = w.call("pay.honours", {"amount": 9000}, "k").json()["request_id"]
    refused(child(w, "agent:payer", denied), "chain.parent_not_live")


def test_a_parent_that_is_finished_is_refused(w):
    finished = w.call("pay.honours", {"amount": 1}, "k").json()["request_id"]
    refused(child(w, "agent:payer", finished), "chain.parent_not_live")
    parent = open_parent(w)
    assert w.post(f"/v1/decide/{parent}/outcome", {"done": True, "result": {"id": 1}}).status_code == 200
    refused(child(w, "agent:payer", parent), "chain.parent_not_live")


def test_a_parent_of_another_agent_is_refused(w):
    others = open_parent(w, "agent:other", key="p2")
    refused(child(w, "agent:payer", others), "chain.parent_mismatch")


def test_a_parent_of_another_tenant_is_nobody(w):
    foreign = open_parent(w, tenant="globex")
    refused(child(w, "agent:payer", foreign), "chain.parent_missing")


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        ((), "chain.parent_required"),
        (("agent:payer", "req_other"), "chain.parent_mismatch"),
        (("agent:other", None), "chain.parent_mismatch"),
    ],
    ids=["nothing", "another request", "another agent"],
)
def test_what_is_sent_must_equal_what_was_signed(w, sent, reason):
    parent = open_parent(w)
    sent = tuple(parent if part is None else part for part in sent)
    refused(child(w, "agent:payer", parent, sent=sent), reason)
    assert [e["reason"] for e in w.events() if e["type"] == "refusal"] == ["policy-violation"]


def test_naming_a_parent_without_a_delegated_token_is_refused(w):
    parent = open_parent(w)
    told = w.call("pay.honours", {"amount": 1}, "k", parent_agent_id="agent:payer", parent_request_id=parent)
    refused(told, "chain.parent_mismatch")


def test_an_agent_cannot_be_its_own_ancestor(w):
    parent = open_parent(w, "agent:other", key="p3")
    refused(child(w, "agent:other", parent), "chain.loop")


def test_an_ancestor_that_the_directory_does_not_hold_is_refused(w):
    told = w.call("pay.honours", {"amount": 1}, "k", w.token(parent=("agent:ghost", "req_x")))
    assert (told.status_code, told.json()["detail"]) == (401, "refused: unknown_ancestor")
