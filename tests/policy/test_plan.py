"""Checks at plan time: what is said must hold for every completion of what is unknown."""

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from tests.policy.strategies import calls, loaded, policies, single, tenant_data

from aegis.errors import DocumentError
from aegis.policy.decide import decide
from aegis.policy.guard import RulesGuard
from aegis.policy.plan import Plan, Step, check, read
from aegis.policy.plan.document import Unknown

HEAD = {
    "apiVersion": "aegis.policy/v1",
    "kind": "PolicySet",
    "metadata": {"name": "one", "tenant": "acme", "owner": "tests@acme.example"},
}
RULES = [
    {"id": "pay", "effect": "allow", "tools": ["pay"], "when": {"agent.roles": {"contains": "treasury"}}},
    {"id": "cap", "effect": "deny", "tools": ["pay"], "when": {"args.n": {"gt": {"ref": "tenant.most"}}}, "reason": "too much"},
    {
        "id": "ask", "effect": "approval_needed", "tools": ["pay"],
        "when": {"args.n": {"gte": 50}}, "approval": {"approvers": ["role:lead"]},
    },
    {"id": "night", "effect": "deny", "tools": ["late"], "when": {"now.time": {"outside": ["08:00", "18:00"]}}},
    {"id": "late", "effect": "allow", "tools": ["late"]},
    {"id": "low", "effect": "deny", "tools": ["torn"], "when": {"args.n": {"lte": 5}}},
    {"id": "high", "effect": "deny", "tools": ["torn"], "when": {"args.n": {"gt": 5}}},
    {"id": "torn", "effect": "allow", "tools": ["torn"]},
]  # fmt: skip
TOOLS = {name: {"args": {"n": "integer", "url": "url?"}} for name in ("pay", "torn")} | {"late": {"args": {}}}
POLICY = loaded(HEAD | {"spec": {"tenant": {"most": "integer"}, "tools": TOOLS, "rules": RULES}})
PLAN = """
apiVersion: aegis.plan/v1
kind: Plan
context: {agent.roles: [treasury]}
steps:
  - {id: a, tool: %s, args: %s}
"""


def verdict(tool, args, **changes):
    text = PLAN % (tool, args)
    for old, new in changes.items():
        text = text.replace(old, new)
    (found,) = check(read(text, source="plan.yaml"), POLICY, {"most": 100})
    return found


@pytest.mark.parametrize(
    ("tool", "args", "outcome", "rules"),
    [
        ("pay", "{n: 10}", "allow", []),
        ("pay", "{n: 60}", "approval_needed", ["ask"]),
        ("pay", "{n: 101}", "deny", ["cap"]),
        ("pay", "{n: {unknown: true}}", "depends", ["cap"]),
        ("pay", '{n: "10"}', "deny", ["pay#contract"]),
        ("pay", "{}", "deny", ["pay#contract"]),
        ("pay", '{n: 1, url: "https://a@b.example/"}', "deny", ["pay#contract"]),
        ("drop", "{}", "deny", ["drop#contract"]),
        ("late", "{}", "depends", ["night"]),
        ("torn", "{n: {unknown: true}}", "deny", ["low", "high"]),
    ],
)
def test_a_step_is_judged_with_what_is_unknown_left_open(tool, args, outcome, rules):
    found = verdict(tool, args)
    assert (found.outcome, [why.rule for why in found.why]) == (outcome, rules)


def test_a_denial_names_rule_field_and_limit():
    (why,) = verdict("pay", "{n: 101}").why
    assert (why.rule, why.field, why.limit, why.text) == ("cap", "args.n", "tenant.most", "too much")


def test_what_a_step_depends_on_is_named():
    assert verdict("late", "{}").on == ("now.time",)


def test_an_agent_that_no_rule_allows_is_told_so():
    found = verdict("pay", "{n: 1}", treasury="clerk")
    assert (found.outcome, found.why[0].rule) == ("deny", "default-deny")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("agent.roles", "agent.role", "did you mean `agent.roles`"),
        ("{n: 1}", "{n: {from: b}}", "expected nothing here"),
        ("kind: Plan", "kind: Plans", "expected `Plan`"),
        ("[treasury]", "treasury", "expected a list"),
    ],
)
def test_a_broken_plan_is_refused_at_its_place(old, new, words):
    with pytest.raises(DocumentError, match=r"plan\.yaml:") as told:
        read((PLAN % ("pay", "{n: 1}")).replace(old, new), source="plan.yaml")
    assert words in str(told.value)


def holed(data, value):
    """A value some of which is not known."""
    if data.draw(st.integers(0, 3)) == 0:
        return Unknown()
    if isinstance(value, dict):
        return {key: holed(data, inner) for key, inner in value.items()}
    return [holed(data, inner) for inner in value] if isinstance(value, list) else value


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_law_what_is_said_of_a_step_holds_for_the_call_that_it_becomes(data):
    document = data.draw(st.one_of(policies(), single("allow"), single("deny")))
    policy, tenant = loaded(document), data.draw(tenant_data())
    proposal, facts = data.draw(calls(document, fitting=True))
    decision = decide(proposal, facts, [RulesGuard(policy, tenant)])
    if any(rule.endswith("#contract") for rule in decision.rules):
        return
    who = proposal.principal
    context = {
        "agent.id": who.agent_id, "agent.roles": list(who.roles), "agent.scopes": list(who.scopes), "agent.trust": who.trust,
        "subject.id": who.subject, "run.id": who.txn, "run.task": who.task, "version": proposal.tool_version,
    }  # fmt: skip
    if all(link.agent_id for link in who.chain):
        context["chain"] = [{"id": link.agent_id, "trust": link.trust} for link in who.chain]
    known = data.draw(st.frozensets(st.sampled_from(sorted(context))))
    args = {name: holed(data, value) for name, value in proposal.arguments.items()}
    for name in document["spec"]["tools"][proposal.tool]["args"].keys() - args.keys():
        args |= {name: Unknown()} if data.draw(st.booleans()) else {}  # what is not known yet may turn out to be absent
    step = Step(id="a", tool=proposal.tool, args=args, context={name: context[name] for name in context.keys() & known})
    (found,) = check(Plan(steps=(step,)), policy, tenant)
    event(found.outcome)
    if found.outcome == "allow":
        assert decision.permits
    elif found.outcome != "depends":
        assert str(decision.outcome) == found.outcome


@pytest.mark.parametrize(("shape", "kind", "listed"), [("integer[]", "integer", [443]), ("string[]", "string", ["red"])])
def test_a_list_of_the_tenants_data_can_be_met_by_what_stands_in_it(shape, kind, listed):
    rule = {"id": "known", "effect": "allow", "tools": ["t"], "when": {"args.x": {"in": {"ref": "tenant.known"}}}}
    policy = loaded(HEAD | {"spec": {"tenant": {"known": shape}, "tools": {"t": {"args": {"x": kind}}}, "rules": [rule]}})
    step = Step(id="a", tool="t", args={"x": Unknown()}, context={})
    assert check(Plan(steps=(step,)), policy, {"known": listed})[0].outcome == "depends"
    assert check(Plan(steps=(step,)), policy, {"known": []})[0].outcome == "deny"
