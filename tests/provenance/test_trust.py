"""What a tenant demands of its tools: signatures of several publishers, and a person's approval of each version."""

import json
from datetime import timedelta

import pytest

from aegis.adapters import keyfiles
from aegis.adapters.trust import beside
from aegis.errors import ConfigError
from provenance.hands import aegis, demand, denied, digest, edit, file_of, publisher, read, told, unsign, within, write

TWO = '{tools: [{tools: ["records.*"], signatures: 2}]}'
ALICE, BOB = "person:alice", "person:bob"


def sign(w, person, tool="records.read", tenant="acme"):
    return aegis(w, "tools", "sign", str(file_of(w, tool, tenant)), "--as", person)


def serves(w, tenant="acme"):
    return read(w, tenant).status_code == 200


def test_a_tool_serves_once_two_publishers_have_signed_it(w):
    publisher(w, ALICE)
    publisher(w, BOB)
    demand(w, TWO)
    problem = within(15, lambda: denied(w, "tool#unsigned"))
    assert "expected signatures of 2, found 0 (no_signature)" in problem["detail"]
    assert (problem["field"], problem["limit"]) == ("signatures", 2)
    sign(w, ALICE)
    within(15, lambda: "found 1" in (denied(w, "tool#unsigned") or {"detail": ""})["detail"])
    sign(w, ALICE)
    sign(w, BOB)
    within(15, lambda: serves(w))
    assert read(w, "globex").status_code == 200
    unsign(w)
    within(15, lambda: denied(w, "tool#unsigned"))


def test_one_person_with_two_keys_is_one_signature(on_sqlite):
    w = on_sqlite
    publisher(w, ALICE)
    demand(w, TWO)
    sign(w, ALICE)
    keyfiles.rotate(w.keys, "publisher", "acme", ALICE, now=w.hand(), overlap=timedelta(days=1))
    assert "signed by person:alice" in sign(w, ALICE)
    assert len(json.loads(beside(file_of(w)).read_bytes())["signatures"]) == 2
    within(15, lambda: "found 1" in (denied(w, "tool#unsigned") or {"detail": ""})["detail"])


def test_the_tenant_and_a_person_are_two(on_sqlite):
    w = on_sqlite
    publisher(w, ALICE)
    demand(w, TWO)
    assert "signed by tenant:acme" in sign(w, BOB)  # who has no key of their own signs with the tenant's
    assert "signed by person:alice, tenant:acme" in sign(w, ALICE)
    within(15, lambda: serves(w))


def test_a_signature_of_another_tenants_publisher_counts_for_nothing(on_sqlite):
    w = on_sqlite
    publisher(w, ALICE, "globex")
    publisher(w, BOB, "globex")
    for person in (ALICE, BOB):
        sign(w, person, tenant="globex")
    demand(w, TWO)
    beside(file_of(w)).write_bytes(beside(file_of(w, tenant="globex")).read_bytes())
    within(15, lambda: "wrong_tenant" in (denied(w, "tool#unsigned") or {"detail": ""})["detail"])


def test_a_signature_is_worth_nothing_for_another_content_or_version(on_sqlite):
    w = on_sqlite
    demand(w, "{tools: [{effect: [read], signatures: 1}]}")
    sign(w, ALICE)
    within(15, lambda: serves(w))
    newer = file_of(w).read_text().replace("version: 1.0.0", "version: 1.0.1")
    write(file_of(w, "records.read-2"), newer)
    beside(file_of(w, "records.read-2")).write_bytes(beside(file_of(w)).read_bytes())
    problem = within(15, lambda: denied(w, "tool#unsigned"))
    assert "wrong_subject" in problem["detail"]


def test_a_publisher_whose_key_is_retired_has_not_signed(on_sqlite):
    w = on_sqlite
    demand(w, "{tools: [{tools: [records.read], signatures: 1}]}")
    sign(w, ALICE)
    within(15, lambda: serves(w))
    kid = json.loads(beside(file_of(w)).read_bytes())["signatures"][0]["keyid"]
    keyfiles.retire(w.keys, kid, now=w.hand())
    within(15, lambda: denied(w, "tool#unsigned"))


def test_a_version_waits_for_a_person_where_that_is_demanded(w):
    demand(w, "{pin: approved}")
    problem = within(15, lambda: denied(w, "tool#unapproved"))
    assert "tool_not_approved" in problem["detail"]
    aegis(w, "tools", "approve", "records.read@1.0.0", "--as", ALICE, "--reason", "looked", "--tenant", "acme")
    within(15, lambda: serves(w))
    write(file_of(w, "records.read-2"), file_of(w).read_text().replace("version: 1.0.0", "version: 1.0.1"))
    within(15, lambda: any(event["tool"]["version"] == "1.0.1" for event in told(w, "tool_registered")))
    assert serves(w), "a version that nobody approved does not take the place of one that serves"
    newer = w.post("/v1/tools/records.read/call", {"arguments": {"id": "r1"}, "version": "1.0.1"}, w.token("agent:reader"))
    assert newer.json()["rule"] == "tool#unapproved"


def test_demands_that_vanish_or_break_are_still_demanded(on_sqlite):
    w = on_sqlite
    demand(w, TWO)
    within(15, lambda: denied(w, "tool#unsigned"))
    (w.root / "tenants/acme/trust.yaml").unlink()
    within(15, w.app.toolbox.refused)
    assert denied(w, "tool#unsigned")
    demand(w, "{tools: [{tools: [records.read], signatures: many}]}")
    within(15, lambda: any("signatures" in event["detail"] or ":" in event["detail"] for event in told(w, "contracts_refused")[1:]))
    assert denied(w, "tool#unsigned")
    demand(w, "{}")
    within(15, lambda: serves(w))


def test_signatures_do_not_approve_a_change_under_the_same_version(on_sqlite):
    w = on_sqlite
    demand(w, "{tools: [{tools: [records.read], signatures: 1}]}")
    sign(w, ALICE)
    within(15, lambda: serves(w))
    edit(w, "description: Reads.", "description: Reads all.")
    sign(w, ALICE)
    within(15, lambda: denied(w, "tool#digest_mismatch"))


def test_an_approval_of_another_content_than_was_looked_at_is_refused(on_sqlite):
    w = on_sqlite
    looked = digest(w)
    edit(w, "description: Reads.", "description: Reads all.")
    args = ("tools", "approve", "records.read@1.0.0", "--as", ALICE, "--reason", "looked", "--tenant", "acme")
    aegis(w, *args, "--digest", looked, code=2)
    aegis(w, *args[:2], "records.read@9.0.0", *args[3:], code=2)
    aegis(w, *args[:4], "person:nobody", *args[5:], code=2)
    assert not told(w, "tool_approved")
    aegis(w, *args, "--digest", digest(w))
    assert len(told(w, "tool_approved")) == 1


def test_verify_tells_how_each_tool_stands_and_exits_with_one_when_any_is_wrong(on_sqlite):
    w = on_sqlite
    args = ("--json", "tools", "verify", "--tenant", "acme")
    assert json.loads(aegis(w, *args))["ok"]
    edit(
        w, "description: Reads.", "description: Reads \\u001b[31m all.".replace("description: Reads ", 'description: "Reads ') + '"'
    )
    within(15, lambda: denied(w, "tool#digest_mismatch"))
    items = json.loads(aegis(w, *args, code=1))["items"]
    (bad,) = [item for item in items if item["problem"]]
    assert (bad["name"], bad["state"]) == ("records.read@1.0.0", "quarantined")
    assert bad["pinned"] != bad["digest"] == digest(w)
    shown = aegis(w, "tools", "verify", "--tenant", "acme", code=1)
    assert "1 of" in shown
    assert "tool_digest_mismatch" in shown
    rows = json.loads(aegis(w, "--json", "check", code=1))["results"]
    assert ["records.read@1.0.0" in row["text"] for row in rows if row["what"] == "tools acme"] == [True]
    lines = aegis(w, "tools", "diff", "records.read@1.0.0", "--tenant", "acme", code=1)
    assert "-  description: Reads." in lines
    assert "\x1b" not in lines
    aegis(w, "tools", "diff", "records.read@1.0.0", "--tenant", "globex")


@pytest.mark.parametrize("demanded", ["{}", TWO])
def test_a_statement_that_counts_for_nothing_is_told_by_verify(on_sqlite, demanded):
    w = on_sqlite
    demand(w, demanded)
    sign(w, ALICE)
    path = beside(file_of(w))
    path.write_bytes(path.read_bytes().replace(b'"payload":"', b'"payload":"AAAA'))
    items = json.loads(aegis(w, "--json", "tools", "verify", "--tenant", "acme", code=1))["items"]
    assert next(item["problem"] for item in items if item["name"] == "records.read@1.0.0")


def test_a_publisher_key_belongs_to_the_tenant_or_to_a_person(on_sqlite):
    w = on_sqlite
    aegis(w, "keys", "new", "publisher", "--owner", ALICE, "--tenant", "acme")
    aegis(w, "keys", "rotate", "publisher", "--owner", ALICE, "--tenant", "acme")
    aegis(w, "keys", "new", "publisher", "--tenant", "acme", code=2)  # the tenant has one
    with pytest.raises(ConfigError, match="owner such as `person:alice`"):
        publisher(w, "agent:planner")
    owners = sorted(entry.owner for entry in keyfiles.load_public(w.keys).entries() if entry.key_class == "publisher")
    assert owners == ["", "", ALICE, ALICE]
