"""The compiled rules answer as the logic that they were compiled from."""

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from tests.policy import strategies
from tests.policy.kleene import Rules

from aegis.model.decision import Outcome
from aegis.model.facts import Facts
from aegis.model.principal import Principal
from aegis.model.proposal import Proposal
from aegis.policy.decide import decide
from aegis.policy.guard import RulesGuard


def _expected(document, tenant_data, proposal, facts):
    """(rules that fire live, rules that fire in shadow) by the oracle; nothing when the contract is broken."""
    given_input = strategies.plain_input(proposal, facts, document)
    if given_input is None:
        return None
    oracle = Rules(document, tenant_data, given_input)
    covering = [rule for rule in document["spec"]["rules"] if "*" in rule["tools"] or proposal.tool in rule["tools"]]
    fired = [rule for rule in covering if oracle.fires(rule)]
    everything_in_shadow = document["spec"]["mode"] == "shadow"
    shadow = [rule for rule in fired if everything_in_shadow or rule.get("mode") == "shadow"]
    return [rule for rule in fired if rule not in shadow], shadow


def _outcome(rules):
    effects = {rule["effect"] for rule in rules}
    if "deny" in effects or "allow" not in effects:
        return Outcome.DENY
    order = [Outcome.APPROVAL_NEEDED, Outcome.SANITIZE, Outcome.ALLOW]
    return next(outcome for outcome in order if outcome in effects)


OPERANDS = {
    "eq": ["red", "", 1, 0, True, False, {"ref": "tenant.name"}, {"ref": "tenant.frozen"}],
    "gt": [1, -1, 2**53 - 1, {"ref": "tenant.limits.most"}],
    "between": [[0, 2], [-5, 100], [1, {"ref": "tenant.limits.most"}]],
    "in": [["red", "1"], [1, 22], {"list": "colours"}, {"list": "none"}, {"ref": "tenant.regions"}, {"ref": "tenant.codes"}],
    "contains": ["red", "1", 1, True],
    "starts_with": ["r", "red", "prod-"],
    "matches": strategies.PATTERNS,
    "longer_than": [0, 1, 3],
    "version": strategies.RANGES,
    "present": [True, False],
}
LIKE = {
    "ne": "eq",
    "gte": "gt",
    "lt": "gt",
    "lte": "gt",
    "outside": "between",
    "ends_with": "starts_with",
    "shorter_than": "longer_than",
}
VALUES = [
    *strategies.WORDS, *strategies.NUMBERS, *strategies.FRACTIONS, *strategies.VERSIONS, None, True, False, 2**53, 10**30, 1e22,
    [], {}, [[]], [None], ["red"], [1], [True], [1.0], [["red"]], [{"red": 1}], ["red", {}], ["1", 1], {"red": "red"}, "prod-1\n",
    "\U0001f600", "ab", "abcd", "\u0661", "1e5",
]  # fmt: skip
TENANTS = [
    {},
    {"name": "red", "frozen": True, "limits": {"most": 1}, "regions": ["red", "x"], "codes": [1]},
    {"name": 7, "frozen": 1, "limits": {"most": True}, "regions": ["red", 1], "codes": []},
]


def _grid():
    """A rule for each operator, operand and effect, plain and under `not`, over a place of which nothing is known."""
    rules = []
    for operator in [*OPERANDS, *LIKE]:
        for operand in OPERANDS[LIKE.get(operator, operator)]:
            test = {"args.body.name": {operator: operand}}
            for effect in ("allow", "deny"):
                for when in (test, {"not": test}, {"args.body.lines": {"any": {"name": {operator: operand}}}}):
                    rules.append({"id": f"r{len(rules)}", "effect": effect, "tools": ["probe.run"], "when": when})
    return rules


@pytest.mark.parametrize("tenant_data", TENANTS, ids=["no data", "data", "odd data"])
def test_every_operator_meets_every_odd_value_as_the_logic_says(tenant_data):
    document = {
        "apiVersion": "aegis.policy/v1",
        "kind": "PolicySet",
        "metadata": {"name": "grid", "tenant": "acme", "owner": "tests@acme.example"},
        "spec": {
            "lists": strategies.LISTS,
            "tenant": strategies.SHAPE,
            "tools": {"probe.run": {"args": {"body": "object"}}},
            "rules": _grid(),
        },
    }
    guard = RulesGuard(strategies.loaded(document), tenant_data)
    principal = Principal(tenant="acme", agent_id="agent-one", subject="person:ana")
    for value in VALUES:
        body = {"name": value, "lines": [{"name": value}, {"name": "red"}]}
        for arguments in ({"body": body}, {"body": {"lines": [value]}}):
            proposal = Proposal(principal=principal, tool="probe.run", arguments=arguments)
            oracle = Rules(document, tenant_data, strategies.plain_input(proposal, Facts(), document))
            expected = {rule["id"] for rule in document["spec"]["rules"] if oracle.fires(rule)}
            assert {verdict.rule for verdict in guard(proposal, Facts())} == expected, value


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_one_condition_fires_as_the_logic_evaluated_directly(data):
    effect = data.draw(st.sampled_from(["allow", "deny", "sanitize"]), label="effect")
    document = data.draw(strategies.single(effect), label="document")
    rule = document["spec"]["rules"][0]
    tenant_data = data.draw(strategies.tenant_data(), label="tenant data")
    guard = RulesGuard(strategies.loaded(document), tenant_data)
    for proposal, facts in data.draw(st.lists(strategies.calls(document, fitting=True), min_size=6, max_size=6), label="calls"):
        oracle = Rules(document, tenant_data, strategies.plain_input(proposal, facts, document))
        fired = bool(guard(proposal, facts))
        event(f"fired: {fired}")
        assert fired is oracle.fires(rule)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_compiled_rules_agree_with_the_logic_evaluated_directly(data):
    document = data.draw(strategies.policies(), label="document")
    tenant_data = data.draw(strategies.tenant_data(), label="tenant data")
    guard = RulesGuard(strategies.loaded(document), tenant_data)
    for _ in range(4):
        proposal, facts = data.draw(strategies.calls(document), label="call")
        expected = _expected(document, tenant_data, proposal, facts)
        decision = decide(proposal, facts, [guard])
        if expected is None:
            event("contract broken")
            assert decision.rules == (f"{proposal.tool}#contract",)
            continue
        live, shadow = expected
        event(f"rules fired: {len(live) + len(shadow)}")
        assert decision.shadow == tuple(sorted(rule["id"] for rule in shadow))
        if document["spec"]["mode"] == "shadow":
            assert decision.outcome is Outcome.ALLOW
        else:
            assert decision.matched == tuple(sorted(rule["id"] for rule in live))
            assert decision.outcome is _outcome(live)
        if shadow or document["spec"]["mode"] == "shadow":
            assert decision.would_be is _outcome(live + shadow)
        else:
            assert decision.would_be is None
