"""Native evaluation against real OPA: generated policies, tenants' data and calls; outcome, ids, redactions and terms must be equal.

Half of the sets come from seeds, dense with rules, and cover operators and polarities evenly; the others are drawn by Hypothesis and
have every shape. A difference is cut down, the set and the call, to what it needs, and printed whole. The interpreter of
tests/policy/kleene.py, which shares no code with either engine, is asked about a part of the calls.

`AEGIS_OPA_CAMPAIGN` is the number of sets of the long campaign, which starts where the everyday seeds end.
"""

import json
import os
from copy import deepcopy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.policy import kleene, oracle, strategies
from tests.policy.dense import Sets
from tests.policy.variants import Variants

from aegis.errors import DocumentError
from aegis.policy.guard import RulesGuard
from aegis.policy.rego import module
from aegis.policy.rego.lib import LIB

PER_SET = 100
SHARDS = 4
SETS_PER_SHARD = 28
DRAWN = 30
RULES = 14
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
    """Sets in both engines; it counts what it compared."""

    def __init__(self) -> None:
        self.compared = 0
        self.refused = 0

    def dense(self, seed):
        sets = Sets(seed)
        document = sets.document(RULES)
        self.calls(seed, document, sets.tenant_data(), [sets.call() for _ in range(3)])

    def drawn(self, data):
        document = data.draw(policies())
        tenant_data = data.draw(strategies.tenant_data())
        bases = [data.draw(strategies.calls(document, fitting=True)) for _ in range(3)]
        self.calls(data.draw(st.integers(0, 2**32)), document, tenant_data, bases)

    def calls(self, seed, document, tenant_data, bases):
        variants = Variants(seed, document, tenant_data, bases)
        policy = strategies.loaded(document)
        guard = RulesGuard(policy, tenant_data)
        with oracle.Opa(policy, tenant_data) as opa:
            for number in range(PER_SET):
                call = bases[number] if number < len(bases) else variants.call()
                if not self.same(opa, guard, call):
                    pytest.fail(report(*smallest(document, tenant_data, call)), pytrace=False)
        for call in bases:
            directly(document, tenant_data, guard, call)

    def same(self, opa, guard, call):
        found = opa.answer(*call)
        if found == oracle.UNENCODABLE:
            self.refused += 1
            return True
        self.compared += 1
        return found == oracle.native(guard, *call)


def directly(document, tenant_data, guard, call):
    """The interpreter agrees about which rules fire."""
    given_ = strategies.plain_input(*call, document)
    if given_ is None:
        return
    rules = kleene.Rules(document, tenant_data, given_)
    covering = [rule for rule in document["spec"]["rules"] if {"*", call[0].tool} & set(rule["tools"])]
    fired = sorted(rule["id"] for rule in covering if rules.fires(rule))
    assert fired == sorted(verdict.rule for verdict in guard(*call) if verdict.rule != "shadow-set")


def answers(document, tenant_data, call):
    """(OPA, native)."""
    policy = strategies.loaded(document)
    with oracle.Opa(policy, tenant_data) as opa:
        return opa.answer(*call), oracle.native(RulesGuard(policy, tenant_data), *call)


def differ(document, tenant_data, call):
    try:
        found, wanted = answers(document, tenant_data, call)
    except DocumentError:
        return False
    return found not in (wanted, oracle.UNENCODABLE)


def smallest(document, tenant_data, call):
    """Rules and call with everything left out that the difference does not need."""
    rules = document["spec"]["rules"]
    for path in reversed(list(places(rules))):
        smaller = without(rules, path)
        if differ(with_rules(document, smaller), tenant_data, call):
            rules = smaller
    document = with_rules(document, rules)
    proposal, facts = call
    for path in reversed(list(places(proposal.arguments))):
        fewer = replace(proposal, arguments=without(proposal.arguments, path))
        if differ(document, tenant_data, (fewer, facts)):
            proposal = fewer
    return document, tenant_data, (proposal, facts)


def with_rules(document, rules):
    return {**document, "spec": {**document["spec"], "rules": rules}}


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


def report(document, tenant_data, call):
    found, wanted = answers(document, tenant_data, call)
    return "\n".join(
        [
            "the engines differ",
            f"rules: {json.dumps(document['spec']['rules'], indent=1)}",
            f"tools: {document['spec']['tools']}",
            f"tenant data: {tenant_data}",
            f"call: {call}",
            f"opa:    {found}",
            f"native: {wanted}",
        ]
    )


@pytest.mark.parametrize("shard", range(SHARDS))
def test_native_and_opa_decide_alike(shard):
    oracle.engine_class()
    found = Differential()
    for seed in range(shard * SETS_PER_SHARD, (shard + 1) * SETS_PER_SHARD):
        found.dense(seed)
    assert found.compared >= 10_000 / SHARDS, f"only {found.compared} calls compared, {found.refused} refused"


def test_native_and_opa_decide_alike_about_sets_of_every_shape():
    oracle.engine_class()
    found = Differential()
    settings(max_examples=DRAWN, deadline=None, suppress_health_check=list(HealthCheck))(given(st.data())(found.drawn))()
    assert found.compared >= 1_800, f"only {found.compared} calls compared, {found.refused} refused"


@pytest.mark.campaign
def test_native_and_opa_decide_alike_in_a_long_campaign():
    oracle.engine_class()
    found = Differential()
    for seed in range(SHARDS * SETS_PER_SHARD, SHARDS * SETS_PER_SHARD + CAMPAIGN):
        found.dense(seed)
    print(f"compared {found.compared} calls, {found.refused} could not be encoded")
    assert found.compared >= CAMPAIGN * PER_SET * 3 // 4


def test_a_difference_is_cut_down_to_what_it_needs(monkeypatch):
    """With a guard taken out of the shared functions, what is printed is one rule with one comparison."""
    broken = LIB.replace("\tis_integer(v)\n\tis_number(k)\n\tv > k\n", "\tis_number(k)\n\tv > k\n")
    assert broken != LIB
    monkeypatch.setattr(module, "LIB", broken)
    oracle.engine_class()
    sets = Sets(0)
    document = sets.document(0)
    when = {"any": [{"agent.trust": {"lt": 0}}, {"all": [{"args.body.level": {"gt": 10}}, {"args.text": {"present": True}}]}]}
    document["spec"]["rules"] = [
        {"id": "base", "effect": "allow", "tools": ["*"]},
        {"id": "extra", "effect": "allow", "tools": ["probe.run"], "when": when},
    ]
    proposal, facts = sets.call()
    call = (replace(proposal, tool_version="1.2.0", arguments=proposal.arguments | {"body": {"level": "many", "name": "x"}}), facts)
    document["spec"]["tools"]["probe.run"].pop("version", None)
    assert differ(document, {}, call)
    document, _, (proposal, _) = smallest(document, {}, call)
    (rule,) = document["spec"]["rules"]
    assert rule["when"] in ({"any": [{"all": [{"args.body.level": {"gt": 10}}]}]}, {"args.body.level": {"gt": 10}})
    assert proposal.arguments["body"] == {"level": "many"}
