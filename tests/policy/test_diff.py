"""What two versions of a set differ in, in words and in decisions."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.policy.strategies import loaded, policies

from aegis.policy.diff import diff

HEAD = {
    "apiVersion": "aegis.policy/v1",
    "kind": "PolicySet",
    "metadata": {"name": "one", "tenant": "acme", "owner": "tests@acme.example"},
}
ALLOW = {"id": "base", "effect": "allow", "tools": ["t"]}
CAP = {"id": "cap", "effect": "deny", "tools": ["t"], "when": {"args.n": {"gt": 5}}}


def compared(old, new, **changes):
    tools = {"tools": {"t": {"args": {"n": "integer"}}}}
    return diff(loaded(HEAD | {"spec": tools | {"rules": old}}), loaded(HEAD | {"spec": tools | {"rules": new} | changes}))


def test_a_raised_limit_is_told_with_the_calls_between():
    found = compared([ALLOW, CAP], [ALLOW, CAP | {"when": {"args.n": {"gt": 7}}}])
    (change,) = found.changes
    assert (change.name, change.details) == ("cap", ("when: no longer `args.n` gt 5", "when: now `args.n` gt 7"))
    assert {flip.given["args.n"] for flip in found.flips} == {6, 7}
    assert all((str(flip.before), str(flip.after), flip.loosens) == ("deny", "allow", True) for flip in found.flips)


def test_a_rule_that_demands_the_past_does_not_hide_a_raised_limit():
    look = {"event": {"tool": "look"}, "same": ["agent.id"], "within": "1h"}
    looked = {"id": "looked", "effect": "deny", "tools": ["t"], "when": {"not": {"history": {"formerly": look}}}}
    mine = ALLOW | {"when": {"agent.roles": {"contains": "payer"}}}
    raised = CAP | {"when": {"args.n": {"gt": 7}}}
    spec = {"tools": {"t": {"args": {"n": "integer"}}, "look": {"args": {}, "history": []}}}
    old, new = (loaded(HEAD | {"spec": spec | {"rules": [mine, looked, cap]}}) for cap in (CAP, raised))
    assert {flip.given["args.n"] for flip in diff(old, new).flips if flip.loosens} == {6, 7}
    assert diff(new, old).loosened == 0


def test_a_new_rule_tightens():
    found = compared([ALLOW], [ALLOW, CAP])
    assert [(change.change, change.name) for change in found.changes] == [("added", "cap")]
    assert {flip.given["args.n"] for flip in found.flips} == {6}
    assert found.loosened == 0


def test_what_loosens_stands_first():
    old = [ALLOW, CAP]
    new = [
        ALLOW,
        CAP | {"when": {"args.n": {"gt": 7}}},
        {"id": "low", "effect": "deny", "tools": ["t"], "when": {"args.n": {"lt": 0}}},
    ]
    marks = [flip.loosens for flip in compared(old, new).flips]
    assert marks == sorted(marks, reverse=True)
    assert set(marks) == {True, False}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"effect": "allow"}, "effect: deny -> allow"),
        ({"mode": "shadow"}, "mode: enforce -> shadow"),
        ({"tools": ["*"], "when": {"agent.trust": {"lt": 1}}}, "tools: t -> *"),
        ({"when": {"not": {"args.n": {"gt": 5}}}}, "when: the same comparisons, joined in another way"),
    ],
)
def test_a_changed_rule_is_told_in_words(change, words):
    assert words in compared([CAP], [CAP | change]).changes[0].details


def test_lists_tools_and_the_mode_of_the_set_are_compared():
    found = compared([ALLOW], [ALLOW], lists={"hosts": ["a.example"]}, mode="shadow", tools={"t": {"args": {"n": "integer?"}}})
    assert {(each.what, each.name, each.change) for each in found.changes} == {
        ("list", "hosts", "added"),
        ("set", "mode", "changed"),
        ("tool", "t", "changed"),
    }


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_law_a_set_does_not_differ_from_itself(data):
    policy = loaded(data.draw(policies(most=3)))
    found = diff(policy, policy)
    assert (found.changes, found.flips) == ((), ())
