"""Whatever identifier of one tenant is shown with another tenant's token: it is not there."""

import pytest


@pytest.fixture
def acme(w):
    done = w.call("pay.honours", {"amount": 5}, "secret-key", aegis_request_id="acme-req-1").json()
    held = w.call("pay.honours", {"amount": 1500}, "held-key").json()
    decided = w.post("/v1/decide", {"tool": "pay.honours", "arguments": {"amount": 1}}, idempotency_key="open-key").json()
    return w, done, held, decided


def test_nothing_of_one_tenant_can_be_seen_or_moved_by_another(acme):
    w, done, held, decided = acme
    foreign = w.token("agent:payer", "globex")
    person = w.person_token("person:alice", "globex")
    before = len(w.events())
    attempts = [
        w.get(f"/v1/requests/{done['request_id']}", foreign),
        w.get(f"/v1/requests/{done['request_id']}", person),
        w.get(f"/v1/approvals/{held['approval_id']}", foreign),
        w.get(f"/v1/approvals/{held['approval_id']}", person),
        w.post(f"/v1/decide/{decided['request_id']}/outcome", {"done": True, "result": None}, foreign),
    ]
    assert [a.status_code for a in attempts] == [404] * len(attempts)
    assert w.get("/v1/approvals?state=all", person).json() == {"approvals": []}
    assert len(w.events()) == before
    assert len([e for e in w.events(tenant="globex") if e["type"] == "refusal"]) == len(attempts)


def test_a_statement_of_another_tenants_person_counts_for_nothing(acme):
    w, _, held, _ = acme
    card = w.get(f"/v1/approvals/{held['approval_id']}", w.person_token()).json()
    forged = w.statement(card, "person:alice", "globex")
    told = w.post(f"/v1/approvals/{held['approval_id']}/answer", {"statement": forged}, w.person_token("person:alice", "globex"))
    assert told.status_code in (404, 409)
    assert w.get(f"/v1/approvals/{held['approval_id']}").json()["state"] == "pending"


def test_the_same_key_and_request_id_in_two_tenants_are_two_requests(acme):
    w, done, _, _ = acme
    told = w.call(
        "pay.honours", {"amount": 5}, "secret-key", w.token("agent:payer", "globex"), aegis_request_id="acme-req-1"
    ).json()
    assert "repeat_of" not in told
    assert told["request_id"] == done["request_id"]
    assert len(w.tool.done) == 2


def test_each_tenant_has_its_own_gapless_sequence(acme):
    w, *_ = acme
    w.call("pay.honours", {"amount": 5}, "k", w.token("agent:payer", "globex"))
    for tenant in ("acme", "globex"):
        events = w.events(tenant=tenant)
        assert [e["seq"] for e in events] == list(range(len(events)))
        assert {e["tenant"] for e in events} == {tenant}
    assert w.fsck() == []


def test_a_token_signed_by_another_tenants_key_is_refused(w):
    from aegis.adapters import keyfiles
    from aegis.identity.access import build_access
    from aegis.identity.token import mint

    claims = build_access(
        tenant="globex", agent_id="agent:payer", subject="x", roles=("treasury",), scopes=("*",), audience="aegis-gw", now=w.hand(), token_id="t",
    )  # fmt: skip
    forged = mint(claims, keyfiles.load_private(w.keys, "sts", "acme", ""))
    told = w.get("/v1/tools", forged)
    assert (told.status_code, told.json()["detail"]) == (401, "refused: wrong_tenant")
