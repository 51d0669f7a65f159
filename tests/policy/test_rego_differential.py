"""Native evaluation against real OPA: generated policies, tenants' data and calls; outcome, ids, redactions and terms must be equal.

A difference is shrunk, the policy by Hypothesis and the call by leaving out what does not matter, and printed whole. The interpreter
of tests/policy/kleene.py, which shares no code with either, is asked about a part of the calls.
"""

import json
import os
from copy import deepcopy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.policy import kleene, oracle, strategies
from tests.policy.variants import Variants

from aegis.policy.guard import RulesGuard

PER_POLICY = 100
POLICIES = 65
SHARDS = 4
CAMPAIGN = int(os.environ.get("AEGIS_OPA_CAMPAIGN", "2000"))


INSIDE = dict.fromkeys(strategies.BODY_PATHS, "any") | {"args.items": "array", "args.count": "integer", "args.ratio": "number"}


@st.composite
def policies(draw):
    """A set, with one or two rules more about values that no contract has looked at."""
    document = draw(strategies.policies(most=5))
    for number in range(draw(st.integers(0, 2))):
        effect = draw(st.sampled_from(["allow", "deny"]))
        when = draw(strategies.conditions(INSIDE, loosens=effect == "allow", depth=1))
        document["spec"]["rules"].append({"id": f"in{number}", "effect": effect, "tools": ["probe.run"], "when": when})
    return document


class Differential:
    """One generated set in both engines; it counts what it compared."""

    def __init__(self) -> None:
        self.compared = 0
        self.refused = 0

    def run(self, data):
        document = data.draw(policies())
        tenant_data = data.draw(strategies.tenant_data())
        bases = [data.draw(strategies.calls(document, fitting=True)) for _ in range(3)]
        variants = Variants(data.draw(st.integers(0, 2**32)), document, tenant_data, bases)
        policy = strategies.loaded(document)
        guard = RulesGuard(policy, tenant_data)
        with oracle.Opa(policy, tenant_data) as opa:
            for number in range(PER_POLICY):
                call = bases[number] if number < len(bases) else variants.call()
                if not self.same(opa, guard, call):
                    pytest.fail(report(document, tenant_data, opa, guard, smallest(opa, guard, call)), pytrace=False)
            for call in bases:
                self.directly(document, tenant_data, guard, call)

    def same(self, opa, guard, call):
        found = opa.answer(*call)
        if found == oracle.UNENCODABLE:
            self.refused += 1
            return True
        self.compared += 1
        return found == oracle.native(guard, *call)

    def directly(self, document, tenant_data, guard, call):
        """The interpreter agrees about which rules fire."""
        given_ = strategies.plain_input(*call, document)
        if given_ is None:
            return
        rules = kleene.Rules(document, tenant_data, given_)
        covering = [rule for rule in document["spec"]["rules"] if {"*", call[0].tool} & set(rule["tools"])]
        fired = sorted(rule["id"] for rule in covering if rules.fires(rule))
        assert fired == sorted(verdict.rule for verdict in guard(*call) if verdict.rule != "shadow-set")


def differs(opa, guard, call):
    found = opa.answer(*call)
    return found != oracle.UNENCODABLE and found != oracle.native(guard, *call)


def smallest(opa, guard, call):
    """The call with everything left out that the difference does not need."""
    proposal, facts = call
    for path in reversed(list(places(proposal.arguments))):
        smaller = replace(proposal, arguments=without(proposal.arguments, path))
        if differs(opa, guard, (smaller, facts)):
            proposal = smaller
    return proposal, facts


def places(value, path=()):
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


def without(value, path):
    changed = deepcopy(value)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return changed


def report(document, tenant_data, opa, guard, call):
    rules = json.dumps(document["spec"]["rules"], indent=1)
    return "\n".join(
        [
            "the engines differ",
            f"rules: {rules}",
            f"tools: {document['spec']['tools']}",
            f"tenant data: {tenant_data}",
            f"call: {call}",
            f"opa:    {opa.answer(*call)}",
            f"native: {oracle.native(guard, *call)}",
        ]
    )


def compare(policies):
    found = Differential()
    check = settings(max_examples=policies, deadline=None, suppress_health_check=list(HealthCheck))(given(st.data())(found.run))
    check()
    return found


@pytest.mark.parametrize("shard", range(SHARDS))
def test_native_and_opa_decide_alike(shard):
    oracle.engine_class()
    found = compare(POLICIES)
    assert found.compared >= 20_000 / SHARDS, f"only {found.compared} calls compared, {found.refused} refused"


@pytest.mark.campaign
def test_native_and_opa_decide_alike_in_a_long_campaign():
    oracle.engine_class()
    found = compare(CAMPAIGN)
    print(f"compared {found.compared} calls, {found.refused} could not be encoded")
    assert found.compared >= CAMPAIGN * PER_POLICY * 3 // 4
