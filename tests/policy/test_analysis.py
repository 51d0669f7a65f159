"""What the analysis says is certain: it must hold on every call, and it must find the contradictions people write."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.policy.strategies import calls, loaded, policies, single, tenant_data

from aegis.policy.analysis import always_fires, covered_by, dead_rules
from aegis.policy.guard import RulesGuard
from aegis.policy.ir import SHADOW_SET

HEAD = {
    "apiVersion": "aegis.policy/v1",
    "kind": "PolicySet",
    "metadata": {"name": "one", "tenant": "acme", "owner": "tests@acme.example"},
}
ARGS = {"n": "integer", "s": "string", "f": "boolean", "r": "number", "o": "integer?", "b": "object", "a": "array", "u": "url"}


def policy_of(*rules, **tool):
    written = [{"id": f"r{i}", "effect": "deny", "tools": ["t"]} | rule for i, rule in enumerate(rules)]
    lists = {"none": [], "few": ["red", "green"]}
    return loaded(
        HEAD | {"spec": {"lists": lists, "tenant": {"most": "integer"}, "tools": {"t": {"args": ARGS} | tool}, "rules": written}}
    )


IMPOSSIBLE = [
    {"args.n": {"gt": 5, "lt": 3}},
    {"args.n": {"gt": 5, "lt": 6}},
    {"args.n": {"eq": 1, "ne": 1}},
    {"args.n": {"in": [1, 2], "gt": 2}},
    {"args.n": {"gt": 2**53 - 1}},
    {"args.r": {"between": [1, 2], "outside": [0, 3]}},
    {"args.s": {"in": {"list": "none"}}},
    {"args.s": {"in": {"list": "few"}, "starts_with": "b"}},
    {"args.s": {"starts_with": "prod-", "ends_with": "x", "shorter_than": 5}},
    {"args.s": {"starts_with": "prod-", "eq": "test"}},
    {"all": [{"args.s": {"starts_with": "prod-"}}, {"args.s": {"starts_with": "test-"}}]},
    {"all": [{"args.s": {"starts_with": "prod-x"}}, {"not": {"args.s": {"starts_with": "prod-"}}}]},
    {"all": [{"args.s": {"matches": "^a$"}}, {"not": {"args.s": {"matches": "^a$"}}}]},
    {"args.s": {"longer_than": 4, "shorter_than": 5}},
    {"args.f": {"eq": True, "ne": True}},
    {"args.n": {"present": False}},
    {"now.weekday": {"in": ["sat"], "eq": "sun", "present": True}},
    {"not": {"agent.trust": {"present": True}}},
    {"tool": {"eq": "another"}},
    {"version": {"version": "<1.0.0"}},
    {"any": [{"args.n": {"gt": 5, "lt": 3}}, {"args.s": {"in": {"list": "none"}}}]},
    {"agent.roles": {"longer_than": 3, "shorter_than": 2}},
    {"parsed.u.host": {"host_in": {"list": "none"}}},
]


@pytest.mark.parametrize("effect", ["deny", "allow"])
@pytest.mark.parametrize("when", IMPOSSIBLE, ids=str)
def test_a_rule_that_contradicts_itself_is_found(when, effect):
    (found,) = dead_rules(policy_of({"when": when, "effect": effect}, version=">=1.0.0"))
    assert found[0] == "r0"
    assert found[2]


@pytest.mark.parametrize(
    "when",
    [
        {"args.o": {"gt": 5, "lt": 3}},
        {"args.n": {"gt": {"ref": "tenant.most"}, "lt": 3}},
        {"args.b.x": {"gt": 5, "lt": 3}},
        {"args.n": {"gt": 4, "lt": 6}},
        {"args.r": {"gt": 4, "lt": 4.5}},
        {"args.s": {"starts_with": "prod-", "ends_with": "-x", "shorter_than": 7}},
        {"args.s": {"ne": "a", "matches": "^a*$"}},
        {"args.a": {"any": {"version": {"eq": "1"}}}},
        {"run.id": {"eq": "a", "ne": "a"}},
    ],
    ids=str,
)
def test_a_deny_rule_that_may_fire_on_something_is_left_alone(when):
    assert dead_rules(policy_of({"when": when})) == ()


def test_an_allow_rule_never_fires_on_what_is_missing():
    assert dead_rules(policy_of({"when": {"args.o": {"gt": 5, "lt": 3}}, "effect": "allow"}))
    assert dead_rules(policy_of({"when": {"args.a": {"any": {"price": {"gt": 5, "lt": 3}}}}, "effect": "allow"}))
    assert dead_rules(policy_of({"when": {"agent.id": {"eq": "a", "ne": "a"}}, "effect": "allow"}))


def test_a_range_of_versions_that_nothing_meets_kills_every_rule_of_the_tool():
    (found,) = dead_rules(policy_of({}, version=">=2.0.0 <1.0.0"))
    assert "no version" in found[2]


@pytest.mark.parametrize(
    ("narrow", "wide", "covers"),
    [
        ({"args.n": {"gt": 10}}, {"args.n": {"gt": 5}}, True),
        ({"args.n": {"gt": 5}}, {"args.n": {"gt": 10}}, False),
        ({"args.s": {"eq": "red"}}, {"args.s": {"in": {"list": "few"}}}, True),
        ({"args.o": {"gt": 10}}, {"args.o": {"gt": 5}}, True),
        ({"args.n": {"gt": 10}}, {"any": [{"args.n": {"gt": 20}}, {"args.n": {"lte": 20}}]}, True),
        ({"args.s": {"starts_with": "prod-x"}}, {"args.s": {"starts_with": "prod-"}}, True),
        ({"args.n": {"gt": 10}}, {"args.n": {"gt": {"ref": "tenant.most"}}}, False),
        ({"all": [{"args.n": {"gt": 10}}, {"args.s": {"eq": "red"}}]}, {"args.s": {"eq": "red"}}, True),
    ],
)
def test_a_wider_rule_covers_a_narrower_one(narrow, wide, covers):
    policy = policy_of({"when": narrow}, {"when": wide})
    assert covered_by(policy.rules[0], policy.rules[1], policy) is covers


def spoken(policy, tenant, proposal, facts):
    """The rules that fire, or nothing when the call breaks the contract."""
    verdicts = RulesGuard(policy, tenant)(proposal, facts)
    if any(verdict.effect == "error" for verdict in verdicts):
        return None
    return {verdict.rule for verdict in verdicts} - {SHADOW_SET}


documents = st.one_of(policies(), *(single(effect) for effect in ("allow", "deny", "sanitize")))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_law_what_is_called_dead_never_fires_and_what_is_called_constant_always_does(data):
    document = data.draw(documents)
    policy = loaded(document)
    dead = {rule for rule, _, _ in dead_rules(policy)}
    constant = {rule.id for rule in policy.rules if always_fires(rule, policy)}
    if not (dead or constant):
        return
    tenant = data.draw(tenant_data())
    for _ in range(8):
        proposal, facts = data.draw(calls(document, fitting=True))
        fired = spoken(policy, tenant, proposal, facts)
        if fired is not None:
            assert not fired & dead
            assert {rule.id for rule in policy.rules if rule.id in constant and rule.covers(proposal.tool)} <= fired


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_law_a_rule_that_covers_another_fires_whenever_that_one_does(data):
    document = data.draw(documents)
    rules = document["spec"]["rules"]
    if rules:
        rules += [dict(data.draw(st.sampled_from(rules)), id="again")]
    policy = loaded(document)
    pairs = [(one, two) for one in policy.rules for two in policy.rules if one.id != two.id and covered_by(one, two, policy)]
    if not pairs:
        return
    tenant = data.draw(tenant_data())
    for _ in range(6):
        proposal, facts = data.draw(calls(document, fitting=True))
        fired = spoken(policy, tenant, proposal, facts)
        if fired is not None:
            assert not [(one.id, two.id) for one, two in pairs if one.id in fired and two.id not in fired]
