"""Statements and demands as values: what counts, what is refused, and where a document is wrong."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from aegis.crypto import dsse
from aegis.crypto.canonical import canon
from aegis.crypto.jwk import private_key
from aegis.errors import DocumentError
from aegis.identity.keyset import KeyEntry, KeySet
from aegis.identity.statement import PAYLOAD, TYPE, Thing, sign, vouched
from aegis.model.document import parse
from aegis.model.facts import Facts
from aegis.model.principal import Principal
from aegis.model.proposal import Proposal
from aegis.model.provenance import Demand, ProvenanceGuard, mismatch, parse_trust

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
KEYS = {name: private_key(bytes([number]) * 32) for number, name in enumerate(("alice", "alice2", "bob", "tenant", "tenant2"), 1)}
OWNERS = {"alice": "person:alice", "alice2": "person:alice", "bob": "person:bob", "tenant": "", "tenant2": ""}
THING = Thing(tenant="acme", kind="tool", name="pay@1.0.0", digest="sha256:" + "ab" * 32, version="1.0.0")


def entry(name, *, tenant="acme", key_class="publisher", start=NOW - timedelta(days=1), end=None):
    return KeyEntry(key=KEYS[name].public, key_class=key_class, tenant=tenant, owner=OWNERS[name], not_before=start, not_after=end)


ALL = KeySet(map(entry, KEYS))


def made(*names, thing=THING):
    found = None
    for name in names:
        found = sign(thing, KEYS[name], by="person:x", time=NOW, source="pay.yaml", beside=found)
    return found


@given(st.lists(st.sampled_from(sorted(KEYS)), min_size=1, max_size=7))
def test_owners_are_counted_once_whoever_signs_how_often(names):
    expected = sorted({OWNERS[name] or "tenant:acme" for name in names})
    assert list(vouched(made(*names), THING, ALL, NOW).owners) == expected


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_a_changed_byte_never_adds_an_owner_and_never_moves_a_signature(data):
    envelope = made("alice", "bob")
    at, by = data.draw(st.integers(0, len(envelope) - 1)), data.draw(st.integers(1, 255))
    found = vouched(envelope[:at] + bytes([envelope[at] ^ by]) + envelope[at + 1 :], THING, ALL, NOW)
    assert set(found.owners) <= {"person:alice", "person:bob"}
    other = replace(THING, digest="sha256:" + "cd" * 32)
    assert not vouched(envelope[:at] + bytes([envelope[at] ^ by]) + envelope[at + 1 :], other, ALL, NOW).owners


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"tenant": "globex"}, "wrong_tenant"),
        ({"kind": "prompt"}, "wrong_predicate"),
        ({"name": "pay@1.0.1"}, "wrong_subject"),
        ({"version": "1.0.1"}, "wrong_subject"),
        ({"digest": "sha256:" + "cd" * 32}, "wrong_digest"),
    ],
)
def test_a_statement_is_about_one_thing(changed, problem):
    other = replace(THING, **changed)
    keys = KeySet([entry("alice", tenant=other.tenant)])
    found = vouched(made("alice"), other, keys, NOW)
    assert (found.owners, found.problem) == ((), problem)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"_type": TYPE},
        {"_type": "https://in-toto.io/Statement/v0.1", "subject": [], "predicateType": "x", "predicate": {}},
        {"_type": TYPE, "subject": [{"name": 1}], "predicateType": "urn:aegis:tool-manifest:v1", "predicate": {}},
        {"_type": TYPE, "subject": {}, "predicateType": "urn:aegis:tool-manifest:v1", "predicate": {}, "more": 1},
    ],
)
def test_another_statement_counts_for_nothing(content):
    found = vouched(dsse.sign(PAYLOAD, content, KEYS["alice"]), THING, ALL, NOW)
    assert not found.owners
    assert found.problem in ("malformed", "wrong_predicate", "wrong_subject")


def test_two_subjects_are_refused():
    content = json.loads(dsse.signed(made("alice"), PAYLOAD, ()).payload)
    content["subject"].append({"name": "other@1.0.0", "digest": {"sha256": "cd" * 32}})
    assert vouched(dsse.sign(PAYLOAD, content, KEYS["alice"]), THING, ALL, NOW).problem == "wrong_subject"
    content["subject"] = [content["subject"][0] | {"digest": {"sha256": "ab" * 32, "sha512": "0"}}]
    assert vouched(dsse.sign(PAYLOAD, content, KEYS["alice"]), THING, ALL, NOW).problem == "wrong_digest"


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [entry("alice", tenant="globex")],
        [entry("alice", key_class="human")],
        [entry("alice", end=NOW)],
        [entry("alice", start=NOW + timedelta(seconds=1))],
        [entry("bob")],
    ],
    ids=["no key", "another tenant's", "another class", "ended", "not yet", "somebody else's"],
)
def test_only_publishers_of_the_tenant_whose_key_is_in_use_count(keys):
    assert vouched(made("alice"), THING, KeySet(keys), NOW).owners == ()


def test_an_envelope_about_something_else_is_replaced_and_not_added_to():
    old = made("alice", thing=replace(THING, digest="sha256:" + "cd" * 32))
    found = sign(THING, KEYS["bob"], by="person:bob", time=NOW, source="x", beside=old)
    assert vouched(found, THING, ALL, NOW).owners == ("person:bob",)
    assert sign(THING, KEYS["bob"], by="person:bob", time=NOW, source="x", beside=b"junk") == found


def test_the_payload_is_canonical_and_says_what_in_toto_says():
    payload = dsse.signed(made("alice"), PAYLOAD, ()).payload
    said = json.loads(payload)
    assert payload == canon(said)
    assert said["_type"] == TYPE
    assert said["subject"] == [{"name": "pay@1.0.0", "digest": {"sha256": "ab" * 32}}]


# Demands

DOCUMENT = """apiVersion: aegis.trust/v1
kind: Trust
metadata: {{tenant: acme}}
spec: {spec}
"""


def trust(spec):
    return parse_trust(parse(DOCUMENT.format(spec=spec), source="trust.yaml"))


class Tool:
    def __init__(self, name, effect="read"):
        self.name, self.effect = name, effect


@pytest.mark.parametrize(
    ("tool", "demand"),
    [
        (Tool("payments.transfer", "write"), Demand(signatures=2)),
        (Tool("payments.transfer", "dangerous"), Demand(signatures=2, approved=True)),
        (Tool("payments"), Demand()),
        (Tool("paymentsx.y"), Demand()),
        (Tool("other", "dangerous"), Demand(signatures=1, approved=True)),
        (Tool("exact"), Demand(signatures=3)),
        (Tool("exact.more"), Demand()),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_the_strictest_line_counts(tool, demand):
    stated = trust(
        '{tools: [{tools: ["payments.*"], signatures: 2}, {effect: [dangerous], signatures: 1, pin: approved}, '
        "{tools: [exact], effect: [read], signatures: 3}]}"
    )
    assert stated.of(tool) == demand


def test_without_a_word_nothing_is_demanded():
    assert trust("{}").of(Tool("x")) == Demand()
    assert trust("{pin: approved}").of(Tool("x")) == Demand(approved=True)
    assert trust('{pin: approved, tools: [{tools: ["*"], pin: first_use}]}').of(Tool("x")) == Demand(approved=True)


@pytest.mark.parametrize(
    "spec",
    [
        "{pin: never}",
        "{tool: []}",
        "{tools: [{signatures: 1}]}",
        "{tools: [{tools: [x]}]}",
        "{tools: [{tools: [X], signatures: 1}]}",
        '{tools: [{tools: ["*.x"], signatures: 1}]}',
        "{tools: [{tools: [x], signatures: 9}]}",
        "{tools: [{tools: [x], signatures: -1}]}",
        "{tools: [{effect: [bad], signatures: 1}]}",
        "{tools: [{effect: [], signatures: 1}]}",
        "{artifacts: [{file: a.md, kind: prompt}]}",
        "{artifacts: [{file: a.md, kind: picture, signatures: 1}]}",
        "{artifacts: [{file: ../a.md, kind: prompt, signatures: 1}]}",
        "{artifacts: [{file: /a.md, kind: prompt, signatures: 1}]}",
        "{artifacts: [{file: a/./b.md, kind: prompt, signatures: 1}]}",
        "{artifacts: [{file: a.md, kind: prompt, signatures: 0}]}",
        "{artifacts: [{file: a.md, kind: prompt, digest: abc}]}",
        "{artifacts: [{file: a.md, kind: prompt, signatures: 1}, {file: a.md, kind: workflow, signatures: 1}]}",
    ],
)
def test_a_demand_that_is_not_understood_is_refused_at_its_place(spec):
    with pytest.raises(DocumentError, match=r"^trust.yaml:\d+:\d+: "):
        trust(spec)


# The guard

WHO = Principal(tenant="acme", agent_id="agent:a", subject="user:u", roles=(), scopes=("*",))


def judged(standing, digest="sha256:1"):
    guard = ProvenanceGuard(standing)
    return [each.rule for each in guard(Proposal(principal=WHO, tool="t", arguments={}, tool_digest=digest), Facts())]


def test_a_contract_that_nobody_knows_of_is_denied_once_somebody_has_looked():
    assert judged({"sha256:1": None}) == []
    assert judged({"sha256:1": mismatch("sha256:2")}) == ["tool#digest_mismatch"]
    assert judged({}) == ["tool#unpinned"]
    assert judged(None) == []
    assert judged({}, digest="") == [], "an unknown tool is the contract guard's to refuse"
