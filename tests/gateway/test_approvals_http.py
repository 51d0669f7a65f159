import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest


def held(w, amount=1500, key="k1", **headers):
    told = w.call("pay.honours", {"amount": amount}, key, **headers)
    assert (told.status_code, told.json()["code"]) == (403, "approval-needed"), told.text
    return told.json()["approval_id"]


def test_an_approved_request_runs_once_when_the_identical_call_returns(w):
    approval = held(w)
    assert held(w) == approval
    assert w.approve(approval).json()["state"] == "approved"
    done = w.call("pay.honours", {"amount": 1500}, "k1")
    assert (done.status_code, done.json()["approval_id"]) == (200, approval)
    again = w.call("pay.honours", {"amount": 1500}, "k1")
    assert again.json()["repeat_of"] == done.json()["request_id"]
    assert len(w.tool.done) == 1
    kinds = [e["type"] for e in w.events() if e.get("approval_id") == approval]
    assert kinds == ["decision", "decision", "approval", "decision", "override_used", "outcome"]


def test_an_approval_waits_across_a_restart(w):
    approval = held(w)
    w.stop()
    w.start()
    assert w.approve(approval).json()["state"] == "approved"
    w.stop()
    w.start()
    assert w.call("pay.honours", {"amount": 1500}, "k1").status_code == 200


@pytest.mark.parametrize(
    ("arguments", "key", "agent"),
    [({"amount": 1501}, "k1", "agent:payer"), ({"amount": 1500}, "k2", "agent:payer"), ({"amount": 1500}, "k1", "agent:other")],
    ids=["another payload", "another key", "another agent"],
)
def test_an_approval_is_bound_to_the_exact_request(w, arguments, key, agent):
    approval = held(w)
    w.approve(approval)
    told = w.call("pay.honours", arguments, key, w.token(agent))
    assert told.json()["code"] == "approval-needed"
    assert told.json()["approval_id"] != approval
    assert w.tool.done == []


def test_an_expired_approval_opens_nothing_and_a_new_one_is_asked_for(w):
    approval = held(w)
    w.approve(approval)
    w.hand.offset = timedelta(minutes=11)
    told = w.call("pay.honours", {"amount": 1500}, "k1", w.token())
    assert told.json()["approval_id"] != approval
    assert w.tool.done == []


def test_a_refusal_binds_until_the_approval_has_expired(w):
    approval = held(w)
    assert w.approve(approval, approve=False).json()["state"] == "denied"
    told = w.call("pay.honours", {"amount": 1500}, "k1")
    assert (told.json()["code"], told.json()["rule"]) == ("policy-violation", "approval#denied")
    w.hand.offset = timedelta(minutes=11)
    assert w.call("pay.honours", {"amount": 1500}, "k1", w.token()).json()["code"] == "approval-needed"


def test_four_eyes_are_two_people(w):
    approval = held(w, 3500)
    assert w.approve(approval).json()["state"] == "pending"
    second = w.approve(approval)
    assert (second.status_code, second.json()["detail"].split(":")[0]) == (409, "same_person")
    assert w.call("pay.honours", {"amount": 3500}, "k1").json()["code"] == "approval-needed"
    assert w.approve(approval, "person:bob").json()["state"] == "approved"
    assert w.call("pay.honours", {"amount": 3500}, "k1").status_code == 200


def test_somebody_without_the_role_sees_and_approves_nothing(w):
    approval = held(w)
    assert w.get(f"/v1/approvals/{approval}", w.person_token("person:carol")).status_code == 404
    card = w.get(f"/v1/approvals/{approval}", w.person_token()).json()
    told = w.post(
        f"/v1/approvals/{approval}/answer", {"statement": w.statement(card, "person:carol")}, w.person_token("person:carol")
    )
    assert (told.status_code, told.json()["detail"].split(":")[0]) == (409, "not_an_approver")


def test_who_asked_may_not_answer(w):
    approval = held(w, token=w.token(subject="person:alice"))
    told = w.approve(approval, "person:alice")
    assert (told.status_code, told.json()["detail"].split(":")[0]) == (409, "self_approval")
    assert w.approve(approval, "person:bob").json()["state"] == "approved"


def test_a_statement_for_another_request_hash_counts_for_nothing(w):
    approval = held(w)
    told = w.approve(approval, request_hash="sha256:" + "0" * 64)
    assert (told.status_code, told.json()["detail"].split(":")[0]) == (409, "approval_hash_mismatch")


def test_an_answer_to_another_card_counts_for_nothing(w):
    approval = held(w)
    card = w.get(f"/v1/approvals/{approval}", w.person_token()).json()
    said = w.statement(card | {"shown": "sha256:" + "0" * 64})
    told = w.post(f"/v1/approvals/{approval}/answer", {"statement": said}, w.person_token())
    assert (told.status_code, told.json()["detail"].split(":")[0]) == (409, "card_changed")
    assert w.approve(approval).json()["state"] == "approved"


def test_nobody_signs_for_somebody_else(w):
    approval = held(w)
    card = w.get(f"/v1/approvals/{approval}", w.person_token()).json()
    forged = w.statement(card, "person:bob", approver="person:alice")
    told = w.post(f"/v1/approvals/{approval}/answer", {"statement": forged}, w.person_token("person:alice"))
    assert told.status_code == 403
    assert "wrong_owner" in told.json()["detail"]


def test_an_agent_cannot_answer_and_its_token_is_no_statement(w):
    approval = held(w)
    assert w.post(f"/v1/approvals/{approval}/answer", {"statement": w.token()}).status_code == 403
    told = w.post(f"/v1/approvals/{approval}/answer", {"statement": w.token()}, w.person_token())
    assert "wrong_type" in told.json()["detail"]


def test_the_override_token_opens_exactly_its_request(w):
    approval = held(w)
    assert "override_token" not in w.get(f"/v1/approvals/{approval}").json()
    w.approve(approval)
    token = w.get(f"/v1/approvals/{approval}").json()["override_token"]
    assert w.call("pay.honours", {"amount": 10}, "k9", aegis_override=token).json()["rule"] == "approval#override"
    foreign = w.call("pay.honours", {"amount": 1500}, "k1", w.token("agent:other"), aegis_override=token)
    assert foreign.status_code == 401
    assert w.call("pay.honours", {"amount": 1500}, "k1", aegis_override=token).status_code == 200
    assert w.call("pay.honours", {"amount": 1500}, "k1", aegis_override=token).json()["repeat_of"]
    assert len(w.tool.done) == 1


def test_forty_racing_uses_of_one_approval_have_one_winner(w):
    told = w.call("records.read", {"id": "x"})
    assert told.status_code == 200
    approval = held(w, key="race")
    w.approve(approval)
    with ThreadPoolExecutor(20) as pool:
        codes = [r.status_code for r in pool.map(lambda _: w.call("pay.honours", {"amount": 1500}, "race"), range(40))]
    assert len(w.tool.done) == 1
    assert codes.count(200) >= 1
    assert [e["type"] for e in w.events()].count("override_used") == 1


def test_racing_approvers_do_not_lose_an_answer(w):
    approval = held(w, 3500)
    with ThreadPoolExecutor(2) as pool:
        states = [r.json()["state"] for r in pool.map(lambda p: w.approve(approval, p), ["person:alice", "person:bob"])]
    assert sorted(states) == ["approved", "pending"]


def test_a_rule_whose_approver_does_not_exist_denies_at_once(w):
    told = w.call("nobody.approves", {"amount": 1}, "k1")
    assert (told.json()["code"], told.json()["rule"]) == ("policy-violation", "approval#nobody")


def test_an_agent_sees_only_its_own_approval_and_no_list(w):
    approval = held(w)
    assert w.get(f"/v1/approvals/{approval}").json()["state"] == "pending"
    assert "arguments" not in w.get(f"/v1/approvals/{approval}").json()
    assert w.get(f"/v1/approvals/{approval}", w.token("agent:other")).status_code == 404
    assert w.get("/v1/approvals").status_code == 403
    listed = w.get("/v1/approvals", w.person_token()).json()["approvals"]
    assert [a["approval_id"] for a in listed] == [approval]
    card = w.get(f"/v1/approvals/{approval}", w.person_token()).json()
    assert card["arguments"] == {"amount": 1500}


def test_a_page_of_approvals_goes_on_where_the_last_one_ended(w):
    asked = [held(w, key=f"k{number}") for number in range(5)]
    told, after = [], ""
    while page := w.get(f"/v1/approvals?limit=2&after={after}", w.person_token()).json()["approvals"]:
        told += [each["approval_id"] for each in page]
        after = told[-1]
    assert told == asked[::-1]
    for wrong in ("0", "201", "two", "-1"):
        assert w.get(f"/v1/approvals?limit={wrong}", w.person_token()).json()["code"] == "malformed"


def test_a_held_call_that_nobody_answers_expires_in_the_journal_and_is_counted(w):
    approval = held(w)
    w.hand.offset = timedelta(minutes=11)
    deadline = time.monotonic() + 20
    while not (found := [e for e in w.events() if e["type"] == "approval_expired"]):
        assert time.monotonic() < deadline, "no turn came"
        time.sleep(0.1)
    assert [(e["approval_id"], e["state"]) for e in found] == [(approval, "expired")]
    assert 'aegis_approval_wait_seconds_count{result="expired"} 1.0' in w.watch("/metrics").text
