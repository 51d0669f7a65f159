"""Findings of lint: each on a set that has exactly that fault."""

import pytest
from tests.policy.strategies import loaded

from aegis.policy.lint import lint

HEAD = {
    "apiVersion": "aegis.policy/v1",
    "kind": "PolicySet",
    "metadata": {"name": "one", "tenant": "acme", "owner": "tests@acme.example"},
}
ALLOW = {"id": "base", "effect": "allow", "tools": ["t"], "when": {"args.n": {"gte": 0}}}
APPROVAL = {"approvers": ["role:lead"]}


def checks(*rules, severities=("error", "warning"), **spec):
    written = [ALLOW, *({"effect": "deny", "tools": ["t"], "reason": "because"} | rule for rule in rules)]
    policy = loaded(HEAD | {"spec": {"tools": {"t": {"args": {"n": "integer", "s": "string"}}}, "rules": written} | spec})
    return [(each.check, each.about) for each in lint(policy) if each.severity in severities]


def test_a_sound_set_has_no_findings_but_missing_tests():
    assert checks({"id": "cap", "when": {"args.n": {"gt": 5}}}) == []
    assert checks({"id": "cap", "when": {"args.n": {"gt": 5}}}, severities=("note",)) == [("untested", "base"), ("untested", "cap")]


@pytest.mark.parametrize(
    ("rules", "finding"),
    [
        ([{"id": "never", "when": {"args.n": {"gt": 5, "lt": 3}}}], ("dead-rule", "never")),
        ([{"id": "ever", "mode": "shadow", "when": {"args.n": {"present": True}}}], ("constant-rule", "ever")),
        (
            [{"id": "a", "when": {"args.n": {"gt": 5}}}, {"id": "b", "when": {"args.n": {"gt": 7}}}],
            ("covered-rule", "b"),
        ),
        ([{"id": "all", "when": {"args.n": {"gt": -1}}}], ("denied-allow", "base")),
        ([{"id": "s.block", "effect": "allow", "when": {"args.n": {"eq": -1}}}], ("doubtful", "s.block")),
    ],
    ids=lambda each: each[0] if isinstance(each, tuple) else "",
)
def test_a_fault_is_found(rules, finding):
    assert checks(*rules) == [finding]


def test_of_two_equal_rules_one_is_reported():
    twins = [{"id": name, "when": {"args.n": {"gt": 5}}} for name in ("a", "b")]
    assert checks(*twins) == [("covered-rule", "a")]


def test_a_rule_in_shadow_does_not_replace_a_live_one():
    assert checks({"id": "a", "when": {"args.n": {"gt": 5}}, "mode": "shadow"}, {"id": "b", "when": {"args.n": {"gt": 7}}}) == []


def test_approvals_by_different_people_do_not_replace_each_other():
    other = {"approvers": ["role:other"]}
    rule = {"effect": "approval_needed", "when": {"args.n": {"gt": 5}}}
    assert checks(rule | {"id": "a", "approval": APPROVAL}, rule | {"id": "b", "approval": other}) == []
    assert checks(rule | {"id": "a", "approval": APPROVAL}, rule | {"id": "b", "approval": APPROVAL}) == [("covered-rule", "a")]


def test_unused_lists_and_references_are_found():
    assert checks(lists={"spare": ["x"]}, tenant={"limits": {"most": "integer"}}) == [
        ("unused", "spare"),
        ("unused", "limits.most"),
    ]


def test_a_denial_without_a_reason_is_noted():
    bare = {"id": "cap", "effect": "deny", "tools": ["t"], "when": {"args.n": {"gt": 5}}}
    policy = loaded(HEAD | {"spec": {"tools": {"t": {"args": {"n": "integer"}}}, "rules": [ALLOW, bare]}})
    assert ("no-reason", "cap") in [(each.check, each.about) for each in lint(policy)]


def test_a_rule_with_a_hit_and_a_near_miss_is_tested():
    tests = [
        {"name": "hit", "input": {"tool": "t", "args.n": 6}, "expect": {"rules": ["cap"]}},
        {"name": "miss", "input": {"tool": "t", "args.n": 5}, "expect": {"not_rules": ["cap"]}},
    ]
    assert checks({"id": "cap", "when": {"args.n": {"gt": 5}}}, severities=("note",), tests=tests) == [("untested", "base")]
