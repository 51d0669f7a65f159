"""Roles keep to what the directory says they are for, or a call shows that they do not."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from access.tenants import POLICY, opened, small
from aegis.errors import ConfigError
from aegis.model.decision import Outcome
from aegis.policy.access.check import as_yaml
from aegis.policy.fmt import with_tests
from aegis.policy.language import load
from aegis.policy.selftest import run_tests
from aegis.runtime.reach import kept, reach
from aegis.runtime.ruling import ruled
from aegis.runtime.tenant import Ruling


def findings(tenant, *roles):
    return [finding for result in kept(tenant, reach(tenant), roles) for finding in result.findings]


def cells(tenant, who):
    made = reach(tenant)
    row = next(row for row in (*made.rows, *made.people) if row.name == who)
    return {tool: cell.words for tool, cell in row.cells.items()}


def test_the_matrix_tells_what_each_can_come_to(tmp_path):
    tenant = small(tmp_path)
    assert cells(tenant, "treasury") == {"files.drop": "none", "files.read": "allow", "pay.send": "allow/approval if"}
    assert cells(tenant, "clerk") == {"files.drop": "allow", "files.read": "allow", "pay.send": "none"}
    assert cells(tenant, "agent:payer") == {"files.drop": "none", "files.read": "none", "pay.send": "allow/approval if"}
    assert cells(tenant, "agent:clerk") == {"files.drop": "allow", "files.read": "allow", "pay.send": "none"}
    assert cells(tenant, "role:lead") == {"files.drop": "none", "files.read": "none", "pay.send": "approves"}
    assert {row.name for row in reach(tenant).rows} == {"clerk", "treasury", "agent:payer", "agent:clerk"}
    assert findings(tenant) == []


OPENED = "- {id: opened, effect: allow, tools: [TOOL], when: CONDITION}"
CONDITIONS = {
    "by role": {"agent.roles": {"contains": "ROLE"}},
    "by argument": {"all": [{"agent.roles": {"contains": "ROLE"}}, {"args.path": {"starts_with": "/public/"}}]},
    "by the clock": {"all": [{"agent.roles": {"contains": "ROLE"}}, {"now.time": {"between": ["22:00", "23:00"]}}]},
    "by another role's absence": {"not": {"agent.roles": {"contains": "treasury"}}},
    "by agent": {"agent.id": {"eq": "agent:clerk"}},
    "by history": {
        "all": [{"agent.roles": {"contains": "ROLE"}}, {"history": {"formerly": {"event": {"tool": "files.read"}, "within": "1h"}}}]
    },
}


def opening(tool, role, condition):
    """The rule that opens a tool to a role."""
    text = json.dumps(condition).replace("ROLE", role)
    if tool != "files.drop":
        text = text.replace("args.path", "args.to").replace("/public/", "acct_0")
    return f"    - {{id: opened, effect: allow, tools: [{tool}], when: {text}}}\n  tests:"


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    opened_=st.sampled_from([("clerk", "pay.send"), ("treasury", "files.drop")]),
    condition=st.sampled_from([CONDITIONS["by role"], CONDITIONS["by argument"], CONDITIONS["by the clock"]]),
    effect=st.sampled_from(["allow", "held"]),
)
def test_law_opening_a_tool_to_a_role_is_found_with_a_call_that_can_be_pasted_into_the_tests(
    tmp_path_factory, opened_, condition, effect
):
    role, tool = opened_
    rule = opening(tool, role, condition)
    if effect == "held":
        look = f'    - {{id: look, effect: approval_needed, tools: [{tool}], approval: {{approvers: ["role:lead"]}}}}\n    - {{id: opened'
        rule = rule.replace("    - {id: opened", look)
    tenant = small(tmp_path_factory.mktemp("opened"), of_policy=[("  tests:", rule)])
    (found,) = findings(tenant, role)
    assert (found.who, found.tool, found.example.outcome) == (
        role,
        tool,
        Outcome.APPROVAL_NEEDED if effect == "held" else Outcome.ALLOW,
    )
    text = with_tests(POLICY.replace("  tests:", rule), [found.case], source="policy.yaml")
    pasted = load(text, source="policy.yaml")
    assert found.case["name"] in [result.name for result in run_tests(pasted) if not result.passed]
    mended = load(with_tests(POLICY, [found.case], source="policy.yaml"), source="policy.yaml")
    assert [result.name for result in run_tests(mended) if not result.passed] == []
    assert all(line in as_yaml(found.case) for line in ("  input:", f"    tool: {tool}", "  expect: {outcome: deny}"))


@pytest.mark.parametrize("condition", CONDITIONS.values(), ids=CONDITIONS.keys())
def test_a_tool_that_is_opened_to_a_role_in_any_way_is_found(tmp_path, condition):
    tenant = small(tmp_path, of_policy=[("  tests:", opening("pay.send", "clerk", condition))])
    assert [(finding.who, finding.tool) for finding in findings(tenant, "clerk") if finding.example] == [("clerk", "pay.send")]


def test_what_could_not_be_proven_does_not_pass(tmp_path):
    """The set opens the tool for arguments that its contract never lets through: no call shows it, and no rule rules it out."""
    rule = {"all": [{"agent.roles": {"contains": "clerk"}}, {"args.amount": {"lt": 0}}]}
    tenant = small(tmp_path, of_policy=[("  tests:", opening("pay.send", "clerk", rule))])
    assert cells(tenant, "clerk")["pay.send"] == "maybe"
    (found,) = findings(tenant, "clerk")
    assert (found.example, found.case) == (None, None)
    assert "not proven" in found.text


def test_people_may_approve_only_what_their_roles_say(tmp_path):
    tenant = small(tmp_path, of_directory=[("lead: {approves: [pay.send]}", "lead: {approves: [files.*]}")])
    (found,) = findings(tenant, "lead")
    assert (found.who, found.tool) == ("role:lead", "pay.send")
    assert found.case["expect"] == {"outcome": "approval_needed", "rules": ["pay.look"]}
    assert run_tests(load(with_tests(POLICY, [found.case], source="p"), source="p"))[-1].passed


def test_a_person_whom_a_rule_names_is_held_to_the_roles_too(tmp_path):
    tenant = small(tmp_path, of_policy=[('approvers: ["role:lead"]', 'approvers: ["role:lead", "person:max"]')])
    (found,) = findings(tenant)
    assert (found.who, found.tool) == ("person:max", "pay.send")


def test_operators_approve_whatever_safe_mode_holds(tmp_path):
    roles = [("person:max: {roles: []}", "person:max: {roles: [operator]}"), ("    lead:", "    operator: {}\n    lead:")]
    tenant = small(tmp_path, of_directory=roles)
    assert cells(tenant, "role:operator") == {"files.drop": "approves", "files.read": "none", "pay.send": "approves"}
    assert [(found.who, found.tool, found.case) for found in findings(tenant, "operator")] == [
        ("role:operator", "files.drop", None),
        ("role:operator", "pay.send", None),
    ]
    may = [*roles[:1], ("    lead:", "    operator: {approves: [pay.*, files.drop]}\n    lead:")]
    assert findings(small(tmp_path, of_directory=may)) == []


@pytest.mark.parametrize(("scopes", "outside"), [("[files.*, pay.send]", "pay.send"), ('["*"]', "*"), ("[file.*]", "file.*")])
def test_an_agents_scopes_stay_within_the_tools_of_its_roles(tmp_path, scopes, outside):
    tenant = small(
        tmp_path,
        of_directory=[("agent:clerk: {roles: [clerk], scopes: [files.*]", f"agent:clerk: {{roles: [clerk], scopes: {scopes}")],
    )
    (found,) = findings(tenant)
    assert (found.who, found.tool) == ("agent:clerk", outside)


def test_an_agent_that_is_disabled_reaches_nothing_but_its_scopes_are_looked_at(tmp_path):
    tenant = small(tmp_path, of_directory=[("scopes: [files.*], enabled", 'scopes: ["*"], enabled')])
    assert [found.who for found in findings(tenant)] == ["agent:off"]


def test_a_role_that_nobody_has_is_held_to_its_tools_whoever_gets_it(tmp_path):
    later = [("    lead:", "    later: {tools: [files.drop]}\n    lead:")]
    assert [found.tool for found in findings(small(tmp_path, of_directory=later))] == ["files.read"]
    assert cells(small(tmp_path, of_directory=later), "later") == {"files.drop": "none", "files.read": "allow", "pay.send": "none"}


def test_an_agent_may_drop_a_role_that_stands_in_its_way(tmp_path):
    tenant = small(
        tmp_path,
        of_directory=[
            ("agent:payer: {roles: [treasury]", "agent:payer: {roles: [treasury, clerk]"),
            ("clerk: {tools: [files.*]}", "clerk: {tools: [files.*]}"),
        ],
        of_policy=[
            ("  tests:", "    - {id: never, effect: deny, tools: [pay.send], when: {agent.roles: {contains: clerk}}}\n  tests:")
        ],
    )
    assert cells(tenant, "agent:payer")["pay.send"] == "allow/approval if"
    assert next(row for row in reach(tenant).rows if row.name == "agent:payer").cells["pay.send"].witness.given["agent.roles"] == [
        "treasury"
    ]


@pytest.mark.parametrize(
    ("shadow", "words"), [("  mode: shadow\n", {"files.drop": "allow", "files.read": "allow", "pay.send": "none"}), ("", None)]
)
def test_a_set_that_is_in_shadow_stops_nothing_but_scopes_do(tmp_path, shadow, words):
    tenant = small(tmp_path, of_policy=[("spec:\n", f"spec:\n{shadow}"), ("expect: {outcome: allow}", "expect: {would_be: allow}")])
    assert words is None or cells(tenant, "agent:clerk") == words
    assert bool(findings(tenant)) is bool(shadow)


def test_without_a_policy_nobody_reaches_anything(tmp_path):
    tenant = ruled(small(tmp_path), None, None)
    assert {cell.words for row in reach(tenant).rows for cell in row.cells.values()} == {"none"}
    assert findings(tenant) == []


def test_a_set_beside_the_one_that_decides_opens_nothing(tmp_path):
    tenant = small(tmp_path)
    wide = load(POLICY.replace(", when: {agent.roles: {contains: clerk}}", "").replace("name: small", "name: wide"), source="p")
    tenant = ruled(tenant, tenant.enforced, Ruling(policy=wide, data={}, ref=wide.ref))
    assert cells(tenant, "treasury")["files.drop"] == "none"


def test_a_tool_whose_versions_the_set_does_not_take_cannot_be_reached(tmp_path):
    tenant = small(tmp_path, of_policy=[("files.drop: {args", 'files.drop: {version: ">=2.0.0", args')])
    assert cells(tenant, "clerk")["files.drop"] == "none"


def test_a_tool_of_hand_written_rego_is_not_proven(tmp_path):
    tenant = small(tmp_path)
    from aegis.policy.ir import RegoModule

    policy = replace(tenant.enforced.policy, rego=(RegoModule(file="a.rego", text="", tools=("files.drop",)),))
    tenant = ruled(tenant, Ruling(policy=policy, data={}, ref=policy.ref), None)
    assert cells(tenant, "treasury")["files.drop"] == "maybe"
    assert cells(tenant, "role:lead")["files.drop"] == "maybe"
    assert ["not proven" in found.text for found in findings(tenant, "treasury", "lead")] == [True, True]


def test_a_rule_that_holds_calls_for_people_whom_nobody_can_be_denies(tmp_path):
    tenant = small(tmp_path, of_policy=[('approvers: ["role:lead"]', 'approvers: ["role:saint"]'), ("{gte: 100}", "{gte: 0}")])
    assert cells(tenant, "treasury")["pay.send"] in ("none", "maybe")  # amounts below 0 are refused by the contract alone


def test_unknown_roles_and_directories_that_say_nothing_are_told(tmp_path):
    tenant = small(tmp_path)
    with pytest.raises(ConfigError, match=r"no role `clrek` under `spec\.roles` of tenant `acme`; .*did you mean `clerk`"):
        kept(tenant, reach(tenant), ("clrek",))
    path = tmp_path / "tenants/acme/directory.yaml"
    path.write_text(path.read_text().split("  roles:\n")[0])
    with pytest.raises(ConfigError, match=r"has no `spec\.roles`"):
        kept(opened(tmp_path, "acme"), reach(tenant))


CHAINED = "    - {id: handed, effect: deny, tools: [pay.send], when: CONDITION, reason: only what was handed down}\n  tests:"


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("{chain: {shorter_than: 1}}", "allow/approval if"),
        ("{not: {chain: {any: {id: {eq: agent:clerk}, trust: {eq: 2}}}}}", "allow/approval if"),
        ("{not: {chain: {any: {trust: {gte: 3}}}}}", "maybe"),
        ("{chain: {longer_than: 0}}", "allow/approval if"),
    ],
)
def test_a_call_that_must_be_handed_down_is_tried_under_agents_that_are_there(tmp_path, condition, words):
    rule = CHAINED.replace("CONDITION", condition)
    tenant = small(tmp_path, of_policy=[("  tests:", rule)])
    assert cells(tenant, "agent:payer")["pay.send"] == words


def test_an_agent_under_whom_nobody_may_put_it_stands_in_no_chain(tmp_path):
    rule = CHAINED.replace("CONDITION", "{chain: {shorter_than: 1}}")
    alone = [("scopes: [files.*], trust: 2", "scopes: [files.*], trust: 2, may_delegate_to: []")]
    assert cells(small(tmp_path, of_policy=[("  tests:", rule)], of_directory=alone), "agent:payer")["pay.send"] == "none"


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("effect: deny, tools: [pay.send], when: {agent.trust: {lt: 3}}", "allow/approval if"),
        ("effect: deny, tools: [pay.send], when: {agent.trust: {gte: 3}}", "none"),
        ("effect: deny, tools: [pay.send], when: {agent.id: {eq: agent:payer}}", "none"),
        ("effect: deny, tools: [pay.send], when: {agent.id: {eq: agent:clerk}}", "allow/approval if"),
        ("effect: deny, tools: [pay.send], when: {agent.roles: {shorter_than: 2}}", "maybe"),  # a token may state a role twice
        ("effect: deny, tools: [pay.send], when: {environment: {eq: dev}}", "none"),
        ("effect: deny, tools: [pay.send], when: {environment: {eq: production}}", "allow/approval if"),
        ("effect: deny, tools: [pay.send], when: {args.amount: {lt: 100}}", "approval if"),
        ("effect: deny, tools: [pay.send], when: {args.amount: {gte: 100}}", "allow if"),
        ('effect: approval_needed, tools: [pay.send], approval: {approvers: ["role:lead"]}', "approval if"),
    ],
)
def test_what_is_known_of_a_caller_counts_and_nothing_else(tmp_path, rule, words):
    tenant = small(tmp_path, of_policy=[("  tests:", f"    - {{id: more, {rule}}}\n  tests:")])
    assert cells(tenant, "agent:payer")["pay.send"] == words


def test_a_call_that_only_another_role_has_to_wait_for_passes(tmp_path):
    look = [("when: {args.amount: {gte: 100}}", "when: {agent.roles: {contains: clerk}}")]
    assert cells(small(tmp_path, of_policy=look), "agent:payer")["pay.send"] == "allow if"
