"""What counts as hit, nearly missed, governed and exercised."""

from tests.policy.strategies import loaded

from aegis.policy.coverage import cover
from aegis.policy.nearmiss import as_case, few, probes

HEAD = {
    "apiVersion": "aegis.policy/v1",
    "kind": "PolicySet",
    "metadata": {"name": "one", "tenant": "acme", "owner": "tests@acme.example"},
}
TOOLS = {
    "pay": {"critical": True, "args": {"n": "integer", "to": "string"}},
    "read": {"critical": True, "args": {}},
}
RULES = [
    {"id": "pay", "effect": "allow", "tools": ["pay"], "when": {"agent.roles": {"contains": "treasury"}}},
    {"id": "cap", "effect": "deny", "tools": ["pay"], "when": {"all": [{"args.n": {"gt": 5}}, {"args.to": {"eq": "x"}}]}},
    {"id": "read", "effect": "allow", "tools": ["read"]},
]


def covered(*tests, **keywords):
    written = [
        {"name": f"t{i}", "input": given, "expect": {"not_rules": []} | {"outcome": "deny"}} for i, given in enumerate(tests)
    ]
    found = cover(loaded(HEAD | {"spec": {"tools": TOOLS, "rules": RULES, "tests": written}}), **keywords)
    return {rule.rule: (rule.hits, rule.misses) for rule in found.rules}, {tool.tool: tool.lacking for tool in found.tools}, found


def test_one_comparison_away_is_a_near_miss_and_two_are_not():
    assert covered({"tool": "pay", "args.n": 5, "args.to": "x"})[0]["cap"] == (0, 1)
    assert covered({"tool": "pay", "args.n": 6, "args.to": "y"})[0]["cap"] == (0, 1)
    assert covered({"tool": "pay", "args.n": 5, "args.to": "y"})[0]["cap"] == (0, 0)
    assert covered({"tool": "pay", "args.n": 6, "args.to": "x"})[0]["cap"] == (1, 0)


def test_a_call_that_breaks_the_contract_exercises_nothing():
    assert covered({"tool": "pay", "args.n": "6", "args.to": "x"})[0]["cap"] == (0, 0)


def test_a_critical_tool_is_exercised_by_a_call_that_passes_and_one_that_does_not():
    passes = {"tool": "pay", "agent.roles": ["treasury"], "args.n": 5}
    stops = {"tool": "pay", "agent.roles": ["treasury"], "args.n": 6, "args.to": "x"}
    assert covered(passes)[1]["pay"] == ("no test stops it",)
    rules, tools, found = covered(passes, stops, {"tool": "read"})
    assert tools["pay"] == ()
    assert "nothing can stop it" in tools["read"][0]
    assert found.critical_percent == 50
    assert rules["read"] == (1, 0)


def test_tools_that_the_set_does_not_know_are_named():
    assert covered(seen={"pay", "drop"})[2].ungoverned == ("drop",)


def test_generated_tests_that_are_written_down_cover_every_rule():
    policy = loaded(HEAD | {"spec": {"tools": TOOLS, "rules": RULES}})
    made = probes(policy)
    counted = cover(policy, generated=made).rules
    assert all(rule.hits == 0 and rule.generated_hits > 0 for rule in counted)
    tests = [as_case(call, shadow=False, number=number) for each in made for number, call in enumerate(few(each))]
    assert cover(loaded(HEAD | {"spec": {"tools": TOOLS, "rules": RULES, "tests": tests}})).rules_percent == 100
