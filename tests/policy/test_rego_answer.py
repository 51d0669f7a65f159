"""Answers of OPA become the verdicts of native evaluation; what is altered on the way denies."""

from copy import deepcopy
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.policy import oracle, strategies
from tests.policy.variants import Variants

from aegis.model.decision import Outcome
from aegis.model.facts import Facts
from aegis.model.principal import Principal
from aegis.model.proposal import Proposal
from aegis.policy.decide import decide
from aegis.policy.guard import RulesGuard
from aegis.policy.rego.answer import Reader, verdicts

NOW = datetime(2026, 1, 7, 12, 0, tzinfo=UTC)
CALL = Proposal(principal=Principal(tenant="acme", agent_id="a", subject="s"), tool="a.b", arguments={})


class Says:
    name = "rules"

    def __init__(self, said):
        self.said = said

    def __call__(self, *_):
        return self.said


def told(decision):
    """A decision without what only native evaluation can say: which of several comparisons made a rule fire."""
    reasons = {(reason.rule, reason.text) for reason in decision.reasons if not reason.rule.endswith("#contract")}
    return replace(decision, reasons=()), reasons


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_the_decision_from_an_answer_is_the_native_decision(data):
    document = data.draw(strategies.policies())
    bases = [data.draw(strategies.calls(document, fitting=True)) for _ in range(3)]
    variants = Variants(data.draw(st.integers(0, 2**32)), document, {}, bases)
    policy = strategies.loaded(document)
    guard, reader = RulesGuard(policy), Reader(policy)
    with oracle.Opa(policy, {}) as opa:
        for _ in range(30):
            proposal, facts = variants.call()
            if opa.answer(proposal, facts) == oracle.UNENCODABLE:
                continue
            said = reader.verdicts(opa.ask(oracle.document(proposal, facts, policy)))
            assert told(decide(proposal, facts, [Says(said)])) == told(decide(proposal, facts, [guard]))


RULES = [
    {"id": "may", "effect": "allow", "tools": ["*"]},
    {"id": "ask", "effect": "approval_needed", "tools": ["*"], "approval": {"approvers": ["role:lead"]}},
    {"id": "hide", "effect": "sanitize", "tools": ["*"], "stage": "response", "redact": [{"path": "/result/a", "with": "mask"}]},
    {"id": "no", "effect": "deny", "tools": ["*"], "mode": "shadow"},
    {"id": "never", "effect": "deny", "tools": ["*"]},
]


def policy(*rules, mode="enforce"):
    document = {
        "apiVersion": "aegis.policy/v1",
        "kind": "PolicySet",
        "metadata": {"name": "small", "tenant": "acme", "owner": "tests@acme.example"},
        "spec": {"mode": mode, "tools": {"a.b": {"args": {}}}, "rules": list(rules)},
    }
    return strategies.loaded(document)


def answer(set_, **changes):
    found = {
        "outcome": "approval_needed",
        "would_be": "deny",
        "rules": ["ask"],
        "matched": ["ask", "hide", "may"],
        "shadow": ["no"],
        "redactions": [{"stage": "response", "path": "/result/a", "form": "mask"}],
        "terms": {"approver_sets": [["role:lead"]], "quorum": 1, "ttl_seconds": 1800, "not_requester": True},
        "custom": [],
        "revision": set_.digest,
    }
    return found | changes


SET = policy(*RULES)


def test_an_answer_brings_what_the_set_says():
    said = verdicts(answer(SET), SET)
    assert [(each.rule, str(each.effect), each.live) for each in said] == [
        ("ask", "approval_needed", True),
        ("hide", "sanitize", True),
        ("may", "allow", True),
        ("no", "deny", False),
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"outcome": "allow"},
        {"outcome": "alow"},
        {"outcome": None},
        {"outcome": ["approval_needed"]},
        {"rules": []},
        {"rules": "ask"},
        {"matched": ["may"]},
        {"matched": ["may", "hide"], "outcome": "sanitize", "rules": ["hide"]},
        {"matched": ["ask", "hide", "may", "other"]},
        {"matched": ["ask", "hide", "may", "no"], "shadow": []},
        {"matched": ["ask", "hide", "may", "shadow-set"]},
        {"matched": ["ask", "hide", "may", "none#contract"]},
        {"shadow": ["no", "never"]},
        {"shadow": []},
        {"would_be": None},
        {"would_be": "allow"},
        {"redactions": []},
        {"redactions": [{"stage": "response", "path": "/result/b", "form": "mask"}]},
        {"terms": None},
        {"terms": {"approver_sets": [["role:lead"]], "quorum": 1, "ttl_seconds": 1, "not_requester": False}},
        {"custom": [{"id": "x.y", "effect": "allow", "live": True, "custom": True}], "matched": ["ask", "hide", "may", "x.y"]},
        {"more": 1},
    ],
    ids=repr,
)
def test_an_answer_that_was_altered_is_not_believed(changes):
    said = verdicts(answer(SET, **changes), SET)
    assert [(each.rule, each.effect) for each in said] == [("opa#answer", "error")]


@pytest.mark.parametrize("missing", sorted(answer(SET)))
def test_an_answer_with_a_part_missing_is_not_believed(missing):
    found = answer(SET)
    del found[missing]
    assert [each.rule for each in verdicts(found, SET)] == ["opa#answer"]


@pytest.mark.parametrize("junk", [None, 7, "allow", [], {}, {"allow": True}, {"outcome": "allow"}, [answer(SET)]], ids=repr)
def test_junk_is_not_believed(junk):
    assert [each.effect for each in verdicts(junk, SET)] == ["error"]


def test_an_answer_about_another_revision_says_so():
    assert [each.rule for each in verdicts(answer(SET, revision="sha256:other"), SET)] == ["opa#revision"]
    other = policy(*RULES[:4])
    assert [each.rule for each in verdicts(answer(other), SET)] == ["opa#revision"]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_single_change_of_an_answer_permits_more(data):
    found = deepcopy(answer(SET))
    key = data.draw(st.sampled_from(sorted(found)))
    found[key] = data.draw(
        st.sampled_from([None, [], {}, "allow", "sanitize", "deny", ["may"], ["may", "hide"], ["never"], 1, True, [["may"]]])
    )
    decision = decide(CALL, Facts(now=NOW), [Says(verdicts(found, SET))])
    assert decision.outcome in (Outcome.DENY, Outcome.APPROVAL_NEEDED)


@pytest.mark.parametrize("rule", ["policy#tenant", "policy#data", "policy#error", "a.b#contract", "unknown#contract"])
def test_errors_of_the_engine_are_errors_here(rule):
    found = answer(SET, outcome="deny", rules=[rule], matched=[rule], shadow=[], would_be=None, redactions=[], terms=None)
    assert [(each.rule, each.effect) for each in verdicts(found, SET)] == [(rule, "error")]
