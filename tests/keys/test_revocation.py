"""What is taken back is refused by every process, and goes on being refused."""

import pytest

from aegis.adapters import keyfiles
from authority.agents import Bot, child_of, with_keys
from keys.seen import aegis, everywhere, jti, kid, reason, until

WHY = ("--reason", "drill", "--as", "person:alice", "--tenant", "acme")


def below(w, parent, agent_id="agent:other"):
    """A token that hangs on `parent`, as the token service would make it for a child."""
    return w.token(agent_id, parent=("agent:payer", "req_x"), ancestors=(jti(parent),))


def test_case_4_a_revoked_parent_ends_the_cached_token_of_its_child_in_every_process(pair):
    parent, bystander = pair[0].token(), pair[0].token()
    child = below(pair[0], parent)
    grandchild = pair[0].token(
        "agent:other",
        parent=("agent:other", "req_y"),
        chain=("agent:other", "agent:payer"),
        ancestors=(jti(child), jti(parent)),
    )
    for gateway in pair:
        assert [reason(gateway, token) for token in (parent, child, grandchild)] == ["", "", ""]
    assert "everything that hangs on it" in aegis(pair[0], "revoke", "--token", jti(parent), *WHY)
    everywhere(pair, parent, "revoked")
    everywhere(pair, child, "ancestor_revoked")
    everywhere(pair, grandchild, "ancestor_revoked")
    for gateway in pair:
        assert reason(gateway, bystander) == ""
        assert reason(gateway, gateway.token()) == ""


def test_case_4_what_was_handed_down_under_a_revoked_token_ends_at_any_depth_redeemed_or_not(pair):
    w = pair[0]
    with_keys(w)
    until(lambda: Bot(w, "agent:desk").ask().status_code == 200)
    desk = Bot(w, "agent:desk").get()
    planner, _ = child_of(desk, "agent:planner", scopes=["pay.*"])
    payer, _ = child_of(planner, "agent:payer", scopes=["pay.honours"])
    waiting = desk.delegated("agent:other", scopes=["pay.honours"])["delegation"]
    aside, _ = child_of(Bot(w, "agent:desk").get(), "agent:planner", scopes=["pay.*"])
    for bot in (planner, payer, aside):
        everywhere(pair, bot.access, "")
    aegis(w, "revoke", "--token", jti(desk.access), *WHY)
    everywhere(pair, desk.access, "revoked")
    for bot in (planner, payer):
        everywhere(pair, bot.access, "ancestor_revoked")
    assert "ancestor_revoked" in Bot(w, "agent:other").ask(delegation=waiting).json()["detail"]
    assert payer.call("pay.honours", {"amount": 1}, "late").status_code == 401
    everywhere(pair, aside.access, "")
    assert not w.tool.done


def test_a_call_with_a_child_of_a_revoked_token_does_nothing(pair):
    w = pair[0]
    parent = w.token()
    above = w.post("/v1/decide", {"tool": "pay.honours", "arguments": {"amount": 1}}, parent, idempotency_key="p").json()
    named = {"parent_agent_id": "agent:payer", "parent_request_id": above["request_id"]}
    child = w.token("agent:other", parent=tuple(named.values()), ancestors=(jti(parent),))
    assert w.call("pay.honours", {"amount": 1}, "a", child, **named).status_code == 200
    aegis(w, "revoke", "--token", jti(parent), *WHY)
    everywhere(pair, child, "ancestor_revoked")
    done = len(w.tool.done)
    for gateway in pair:
        assert gateway.call("pay.honours", {"amount": 1}, "b", child, **named).status_code == 401
    assert len(w.tool.done) == done


def test_only_the_revoked_token_and_what_hangs_on_it_is_refused_not_another_of_the_same_agent(pair):
    first, second = pair[0].token(), pair[0].token()
    aegis(pair[0], "revoke", "--token", jti(first), *WHY)
    everywhere(pair, first, "revoked")
    everywhere(pair, below(pair[0], second), "")


def test_a_token_of_the_same_id_in_another_tenant_is_another_token(pair):
    mine = pair[0].token()
    aegis(pair[0], "revoke", "--token", jti(mine), "--reason", "drill", "--as", "person:alice", "--tenant", "globex")
    marker = pair[0].token()
    aegis(pair[0], "revoke", "--token", jti(marker), *WHY)
    everywhere(pair, marker, "revoked")
    everywhere(pair, mine, "")


def test_a_revoked_key_is_refused_by_every_process_whatever_the_file_says(pair):
    w = pair[0]
    old = w.token()
    keyfiles.rotate(w.keys, "sts", "acme", "", now=w.hand(), overlap=keyfiles.timedelta(minutes=10))
    new = w.token()
    assert kid(old) != kid(new)
    everywhere(pair, new, "")
    everywhere(pair, old, "")
    assert "refused from here on" in aegis(w, "revoke", "--key", kid(old), *WHY)
    everywhere(pair, old, "revoked")
    everywhere(pair, new, "")
    for gateway in pair:
        gateway.stop()
        gateway.start()
    everywhere(pair, old, "revoked")
    everywhere(pair, new, "")


def test_a_persons_revoked_key_answers_nothing_neither_over_http_nor_by_the_command(pair):
    w = pair[0]
    approval = w.call("pay.honours", {"amount": 1500}, "k").json()["approval_id"]
    token = w.person_token("person:bob")
    everywhere(pair, token, "")
    aegis(w, "revoke", "--key", kid(token), *WHY)
    everywhere(pair, token, "revoked")
    card = w.get(f"/v1/approvals/{approval}", w.person_token("person:alice")).json()
    told = w.post(
        f"/v1/approvals/{approval}/answer", {"statement": w.statement(card, "person:bob")}, w.person_token("person:alice")
    )
    assert told.status_code == 403
    assert "revoked" in told.json()["detail"]
    by_bob = ("approvals", "approve", approval, "--as", "person:bob", "--reason", "x", "--tenant", "acme")
    assert "revoked" in aegis(w, *by_bob, code=3)
    assert w.approve(approval, "person:alice").status_code == 200


def test_an_override_token_signed_by_a_revoked_key_opens_nothing(pair):
    w = pair[0]
    approval = w.call("pay.honours", {"amount": 1500}, "k").json()["approval_id"]
    w.approve(approval)
    override = w.get(f"/v1/approvals/{approval}").json()["override_token"]
    aegis(w, "revoke", "--key", kid(override), *WHY)
    marker = w.token()
    aegis(w, "revoke", "--token", jti(marker), *WHY)
    everywhere(pair, marker, "revoked")
    for gateway in pair:
        told = gateway.call("pay.honours", {"amount": 1500}, "k", aegis_override=override)
        assert told.status_code == 403
        assert "revoked" in told.json()["detail"]
    assert not w.tool.done


def test_revocations_are_events_with_who_and_why(pair):
    w = pair[0]
    token = w.token()
    aegis(w, "revoke", "--token", jti(token), *WHY)
    aegis(w, "revoke", "--key", kid(token), *WHY)
    aegis(w, "revoke", "agent:payer", *WHY)
    found = [event for event in w.events(tenant="_system") if event["type"] == "revoked"]
    assert [event.get("token") or event.get("key") or event.get("who") for event in found] == [
        jti(token),
        kid(token),
        "agent:payer",
    ]
    assert {(event["on_tenant"], event["reason"], event["by"]) for event in found} == {("acme", "drill", "person:alice")}
    assert all(event["statement"] for event in found)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "exactly one of"),
        (("agent:payer", "--token", "x"), "exactly one of"),
        (("--token", "x", "--key", "y"), "exactly one of"),
        (("payer",), "expected `tenant`"),
        (("--key", "nobody"), "no public key `nobody` of tenant `acme`"),
    ],
)
def test_what_cannot_be_revoked_is_told(on_sqlite, words, told):
    w = on_sqlite
    (w.root / "aegis.toml").write_text("")
    output = aegis(w, "revoke", *words, *WHY, code=2)
    assert told in output


def test_a_key_of_another_tenant_cannot_be_revoked(on_sqlite):
    w = on_sqlite
    (w.root / "aegis.toml").write_text("")
    theirs = kid(w.token("agent:payer", "globex"))
    assert f"no public key `{theirs}` of tenant `acme`" in aegis(w, "revoke", "--key", theirs, *WHY, code=2)
