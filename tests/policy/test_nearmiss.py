"""Generated hits and near misses: what is said of them is what an independent evaluation of the language says."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.policy.kleene import Rules
from tests.policy.strategies import LOOSE, PATTERNS, loaded, plain_input, policies

from aegis.policy.decide import decide
from aegis.policy.guard import RulesGuard
from aegis.policy.language import load
from aegis.policy.nearmiss import few, probe, probes, whole_call
from aegis.policy.nearmiss.texts import specimens
from aegis.policy.patterns import search

SETS = sorted((Path(__file__).parents[2] / "conformance/policy/sets").glob("*.yaml"))
HEAD = {
    "apiVersion": "aegis.policy/v1",
    "kind": "PolicySet",
    "metadata": {"name": "one", "tenant": "acme", "owner": "tests@acme.example"},
}


def one(when, args, effect="deny", **spec):
    rule = {"id": "one", "effect": effect, "tools": ["t"], "when": when}
    return loaded(HEAD | {"spec": {"tools": {"t": {"args": args}}, "rules": [rule]} | spec})


def found(when, args, place, effect="deny", **spec):
    """The values at a place of the input of the generated calls: (those that fire, those that do not)."""
    policy = one(when, args, effect, **spec)
    calls = probe(policy, policy.rules[0])
    return [each.given.get(place) for each in calls.hits], [each.given.get(place) for each in calls.misses]


@pytest.mark.parametrize("source", SETS, ids=lambda path: path.stem)
def test_every_rule_with_a_condition_gets_a_hit_and_a_near_miss(source):
    policy = load(source.read_text(), source=source.name)
    lacking = {each.rule: each.why for each in probes(policy) if not (each.hits and each.misses)}
    assert lacking.keys() == {rule.id for rule in policy.rules if rule.when is None}
    assert all("no condition" in why for why in lacking.values())


def test_a_limit_is_tried_one_below_at_and_above():
    hits, misses = found({"args.n": {"gt": 5000000}}, {"n": "integer"}, "args.n")
    assert hits == [5000001]
    assert set(misses) == {4999999, 5000000}


def test_a_prefix_is_cut():
    hits, misses = found({"args.s": {"starts_with": "prod-"}}, {"s": "string"}, "args.s")
    assert {"prod-x", "prod-"} <= set(hits)
    assert {"prod", "xprod-"} <= set(misses)


def test_a_host_is_tried_at_its_apex_below_it_and_as_a_look_alike():
    hits, misses = found({"parsed.u.host": {"host_in": ["*.good.example"]}}, {"u": "url"}, "args.u", effect="allow")
    assert hits == ["https://a.good.example/"]
    assert {"https://good.example/", "https://notgood.example/", "https://a.good.example.evil.example/"} <= set(misses)


def test_a_time_range_is_tried_a_minute_before_each_edge():
    hits, misses = found({"now.time": {"outside": ["08:00", "18:00"]}}, {}, "now.time")
    assert set(hits) == {"07:59", "18:00"}
    assert set(misses) == {"08:00", "17:59"}


def test_an_optional_argument_is_tried_absent():
    _, misses = found({"args.s": {"present": True}}, {"s": "string?"}, "args.s")
    assert misses == [None]


def test_each_alternative_of_any_gets_its_own_near_miss():
    policy = one({"any": [{"args.n": {"gte": 10}}, {"args.s": {"eq": "x"}}]}, {"n": "integer", "s": "string"})
    calls = probe(policy, policy.rules[0])
    assert {each.about for each in few(calls) if not each.fires} == {"args.n", "args.s"}


def test_a_limit_of_the_tenant_stands_in_the_generated_test():
    policy = one({"args.n": {"gt": {"ref": "tenant.most"}}}, {"n": "integer"}, tenant={"most": "integer"})
    hit = probe(policy, policy.rules[0], {"most": 7}).hits[0]
    assert (hit.given["tenant.most"], hit.given["args.n"]) == (7, 8)
    assert "tenant.most" in probe(policy, policy.rules[0]).hits[0].given


def test_what_cannot_be_generated_is_said_with_why():
    policy = one({"all": [{"args.n": {"gt": 5}}, {"args.n": {"lt": 3}}]}, {"n": "integer"})
    calls = probe(policy, policy.rules[0])
    assert not calls.hits
    assert "fire" in calls.why


def test_rules_over_history_get_the_events_that_make_them_fire_and_one_fewer():
    (source,) = [path for path in SETS if path.stem == "remembering"]
    policy = load(source.read_text(), source=source.name)
    found = {each.rule: each for each in probes(policy)}
    assert all(call.writable for each in found.values() for call in few(each))
    payee = found["pay.same-payee"]
    assert len(payee.hits[0].given["past"]) == 2  # and the call itself
    assert {len(call.given["past"]) for call in payee.misses} == {0, 1}


@pytest.mark.parametrize(
    "when",
    [
        {"args.a": {"every": {"code": {"matches": "^LAB-[0-9]{4}$"}}, "none": {"kind": {"eq": "research"}}}},
        {"not": {"version": {"version": ">=1.5.0 <2.0.0"}}},
        {"parsed.u.host_kind": {"eq": "name"}},
        {"args.s": {"longer_than": {"ref": "tenant.most"}}},
        {"args.s": {"in": {"ref": "tenant.names"}}},
        {"args.b.x.y": {"present": True}},
    ],
    ids=str,
)
def test_harder_conditions_get_both_as_well(when):
    tools = {"t": {"version": ">=1.4.0 <3.0.0", "args": {"s": "string", "a": "array", "b": "object", "u": "url"}}}
    rule = {"id": "one", "effect": "deny", "tools": ["t"], "when": when}
    shape = {"most": "integer", "names": "string[]"}
    policy = loaded(HEAD | {"spec": {"tools": tools, "rules": [rule], "tenant": shape}})
    calls = probe(policy, policy.rules[0], {"most": 5000, "names": []})
    assert calls.why == ""


def test_a_place_above_what_a_rule_edits_can_be_absent():
    redact = [{"path": "/args/b/x/name", "with": "mask"}]
    rule = {"id": "one", "effect": "sanitize", "tools": ["t"], "when": {"args.b.x": {"present": True}}, "redact": redact}
    policy = loaded(HEAD | {"spec": {"tools": {"t": {"args": {"b": "object"}}}, "rules": [rule]}})
    assert probe(policy, policy.rules[0]).why == ""


@pytest.mark.parametrize(
    "pattern",
    [*PATTERNS, *LOOSE, "[0-9]{3}-[0-9]{2}-[0-9]{4}", r"^a\.b\\c$", "^[[:alpha:]]+$", "^(?:a|(?:b|c)d)?e{2,}$", "^[^a-z]$", "[]x]"],
)
def test_texts_for_a_pattern_match_it(pattern):
    texts = specimens(pattern)
    assert texts
    assert all(search(pattern)(text) for text in texts)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_law_a_generated_call_does_what_is_said_of_it_and_keeps_to_the_contract(data):
    document = data.draw(policies(most=3))
    policy = loaded(document)
    for rule, written in zip(policy.rules, document["spec"]["rules"], strict=True):
        for each in (calls := probe(policy, rule)).hits + calls.misses:
            tenant = {}
            for path, value in each.given.items():
                place = tenant
                for name in path.split(".")[1:-1]:
                    place = place.setdefault(name, {}) if path.startswith("tenant.") else place
                if path.startswith("tenant."):
                    place[path.split(".")[-1]] = value
            proposal, facts = whole_call(policy, each.given)
            decision = decide(proposal, facts, [RulesGuard(policy, tenant)])
            assert not any(name.endswith("#contract") for name in decision.rules)
            assert (rule.id in decision.matched + decision.shadow) is each.fires
            assert Rules(document, tenant, plain_input(proposal, facts, document)).fires(written) is each.fires
