"""One person is erased; everybody else, and every proof, stays."""

import json

import click
import pytest

from aegis.crypto.merkle import Frontier, leaf_hash
from aegis.errors import ConfigError, ErasedError
from aegis.model.datasubject import key_name
from erasure.erasing import audit, erase, look, shown, until

READER, NORA, MILA = "agent:reader", "user:nora", "user:mila"


def pay(w, key, subject=NORA, tenant="acme", amount=1):
    return w.call("pay.honours", {"amount": amount}, key, w.token(subject=subject, tenant=tenant))


def read(w, who):
    return w.call("records.read", {"id": who}, token=w.token(READER))


def bodies(w, tenant="acme"):
    async def all_of(app):
        return [event.body for event in await app.gate.store.events(tenant, limit=100_000)]

    return look(w, all_of)


def frontier(w, tenant="acme"):
    async def head(app):
        return (await app.gate.store.heads())[tenant].frontier

    return look(w, head)


def opened(w, request_id, name="arguments", tenant="acme"):
    async def read_it(app):
        kind = {"arguments": "decision", "result": "outcome"}[name]
        (event,) = [e for e in await app.gate.store.events(tenant, request_id=request_id) if e.type == kind]
        return json.loads(await app.gate.vault.read(tenant, event.id, name))

    return look(w, read_it)


def test_what_is_sealed_for_one_person_is_gone_and_for_nobody_else(records):
    w = records
    hers, his = pay(w, "a").json(), pay(w, "b", MILA).json()
    before = bodies(w)
    said = erase(w, NORA, "--yes", "--reason", "she asked")
    assert (said["erased"], said["payloads"]) == (True, 2)
    for name in ("arguments", "result"):
        with pytest.raises(ErasedError):
            opened(w, hers["request_id"], name)
        assert opened(w, his["request_id"], name)
    assert until(lambda: pay(w, "a").status_code == 410)
    again = pay(w, "a")
    assert (again.status_code, again.json()["code"]) == (410, "result-gone")
    assert "erased" in again.json()["detail"]
    assert pay(w, "b", MILA).json()["result"] == his["result"]
    assert len(w.tool.done) == 2  # nothing was repeated
    (event,) = [each for each in w.events() if each["type"] == "erasure"]
    assert event["by"] == "person:alice"
    assert (event["reason"], event["payloads"], event["keys"]) == ("she asked", 2, said["keys"])
    assert NORA not in json.dumps(event)
    assert bodies(w)[: len(before)] == before
    assert frontier(w).root == Frontier().extend(map(leaf_hash, bodies(w))).root
    assert w.fsck() == []


def test_what_comes_later_is_sealed_under_a_new_key(records):
    w = records
    pay(w, "a")
    first = erase(w, NORA)
    later = [pay(w, f"later{n}", amount=n) for n in range(5)]  # at once: the gateway may not have looked yet
    assert [each.status_code for each in later] == [200] * 5
    assert opened(w, later[0].json()["request_id"]) == {"amount": 0}
    second = erase(w, NORA)
    assert second["keys"] != first["keys"]
    assert second["payloads"] == 10
    assert w.fsck() == []


def test_the_contract_says_whose_data_a_call_holds(records):
    w = records
    mila, nora = read(w, "cust-0001").json(), read(w, "cust-0002").json()
    assert erase(w, "cust-0001")["payloads"] == 2
    with pytest.raises(ErasedError):
        opened(w, mila["request_id"], "result")
    assert opened(w, nora["request_id"])
    with pytest.raises(ConfigError, match="nothing is sealed for this subject"):
        shown(w, "audit", "erase", "--subject", "cust-0001", "--as", "person:alice", "--yes")
    names = [name for (name,) in look(w, lambda app: _subjects(app, w))]
    assert not any("cust" in name for name in names)


async def _subjects(app, w):
    key = app.gate.tenant("acme").redaction_key
    found = [("",)]
    for who in ("cust-0002",):
        name = key_name(key, who)
        assert await app.gate.store.data_key("acme", name, None) is not None
        found.append((name,))
    return found


def test_explaining_an_erased_call_says_so(records):
    w = records
    request = pay(w, "a").json()["request_id"]
    assert "erased" not in shown(w, "explain", request)
    erase(w, NORA)
    told = shown(w, "explain", request)
    assert "was allowed" in told
    assert "erased: nobody can open them" in told


def test_a_held_call_whose_arguments_were_erased_still_waits_and_runs_when_it_is_sent_again(records):
    w = records
    held = w.call("pay.honours", {"amount": 1000}, "h")
    approval = held.json()["approval_id"]
    found = audit(w, "erase", "--subject", NORA, "--as", "person:alice", "--dry-run")
    assert (found["erased"], found["payloads"], len(found["unfinished"])) == (False, 1, 1)

    def card():
        return w.get(f"/v1/approvals/{approval}", w.person_token()).json()

    assert card()["arguments"] == {"amount": 1000}
    erase(w, NORA)
    assert until(lambda: "arguments" not in card())
    assert "erased" in shown(w, "approvals", "show", approval)
    assert w.approve(approval).status_code == 200
    assert w.call("pay.honours", {"amount": 1000}, "h").status_code == 200
    assert len(w.tool.done) == 1


def test_tenants_are_erased_apart(records):
    w = records
    pay(w, "a")
    theirs = pay(w, "a", tenant="globex").json()
    erase(w, NORA)
    assert opened(w, theirs["request_id"], tenant="globex") == {"amount": 1}
    assert pay(w, "a", tenant="globex").json()["result"] == theirs["result"]
    assert [each["type"] for each in w.events(tenant="globex")].count("erasure") == 0


def test_nothing_is_erased_by_looking_or_without_a_word(records):
    w = records
    request = pay(w, "a").json()["request_id"]
    assert erase(w, NORA, "--dry-run")["payloads"] == 2
    with pytest.raises(Exception, match="--json asks nothing"):
        erase(w, NORA, "--reason", "x")
    with pytest.raises(click.Abort):
        shown(w, "audit", "erase", "--subject", NORA, "--as", "person:alice")  # nobody is there to answer
    with pytest.raises(ConfigError):
        shown(w, "audit", "erase", "--subject", NORA, "--as", "person:nobody", "--yes")
    assert opened(w, request) == {"amount": 1}
