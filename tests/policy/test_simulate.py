"""Recorded decisions made anew by a candidate: first the pure comparison, then a journal that a real gateway wrote."""

import re
from pathlib import Path

import pytest
from tests.policy.strategies import loaded

import aegis
from aegis.model.decision import Outcome
from aegis.policy.selftest import call
from aegis.policy.simulate import IDENTITY, Candidate, Then

HEAD = {
    "apiVersion": "aegis.policy/v1",
    "kind": "PolicySet",
    "metadata": {"name": "one", "tenant": "acme", "owner": "tests@acme.example"},
}
ALLOW = {"id": "base", "effect": "allow", "tools": ["t"]}
HELD = {
    "id": "ask",
    "effect": "approval_needed",
    "tools": ["t"],
    "when": {"args.n": {"gt": 5}},
    "approval": {"approvers": ["role:lead"]},
}
CAP = {"id": "cap", "effect": "deny", "tools": ["t"], "when": {"args.n": {"gt": 5}}}


def compared(rules, then, **given):
    policy = loaded(HEAD | {"spec": {"tools": {"t": {"args": {"n": "integer"}}}, "rules": rules}})
    return Candidate(policy).compare(*call(policy, {"tool": "t", "args.n": 6} | given), then)


def test_a_call_that_a_new_rule_stops_is_a_difference():
    found = compared([ALLOW, CAP], Then(outcome=Outcome.ALLOW, rules=("base",), matched=("base",)))
    assert (found.kind, found.loosens, found.rules) == ("allow -> deny", False, ("cap",))


def test_a_call_that_is_decided_alike_is_none():
    assert compared([ALLOW], Then(outcome=Outcome.ALLOW, rules=("base",))).kind == ""


def test_a_call_that_an_old_rule_denied_is_loosened_when_the_rule_is_gone():
    found = compared([ALLOW], Then(outcome=Outcome.DENY, rules=("cap",), matched=("base", "cap")))
    assert (found.kind, found.loosens) == ("deny -> allow", True)


@pytest.mark.parametrize(
    "rule", ["chain.scope", "chain.ended", "authority.limit", "t#contract", "halted", "facts#clock", "approval#denied"]
)
def test_what_something_else_denied_stays_denied(rule):
    assert compared([ALLOW], Then(outcome=Outcome.DENY, rules=(rule,), matched=("base", rule))).kind == ""


def test_every_word_of_the_guards_of_identity_is_known():
    home = Path(aegis.__file__).parent / "identity"
    text = (home / "chain.py").read_text("utf-8")
    said = set(re.findall(r'"(chain\.[a-z_]+)"', text))
    said |= {f"authority.{word}" for word in re.findall(r'_deny\("([a-z]+)"', (home / "authority.py").read_text("utf-8"))}
    assert said == IDENTITY


def test_a_call_denied_because_the_rules_could_not_be_asked_is_decided_anew():
    assert compared([ALLOW], Then(outcome=Outcome.DENY, rules=("engine#missing",))).kind == "deny -> allow"


def test_safe_mode_goes_on_holding():
    assert compared([ALLOW], Then(outcome=Outcome.APPROVAL_NEEDED, rules=("safe-mode",))).kind == ""


def test_a_call_that_was_approved_counts_as_approved():
    then = Then(outcome=Outcome.ALLOW, rules=("base",), approval_id="apr_1")
    assert compared([ALLOW, HELD], then).kind == ""
    assert compared([ALLOW, HELD], Then(outcome=Outcome.ALLOW, rules=("base",))).kind == "allow -> approval_needed"
    assert compared([ALLOW, HELD], Then(outcome=Outcome.APPROVAL_NEEDED, rules=("ask",), approval_id="apr_1")).kind == ""


def test_other_redactions_are_a_difference():
    mask = {
        "id": "mask",
        "effect": "sanitize",
        "stage": "response",
        "tools": ["t"],
        "redact": [{"path": "/result/a", "with": "mask"}],
    }
    same = frozenset({("response", "/result/a", "mask")})
    assert compared([ALLOW, mask], Then(outcome=Outcome.SANITIZE, redactions=same)).kind == ""
    assert "other redactions" in compared([ALLOW, mask], Then(outcome=Outcome.SANITIZE)).kind
