"""What a person is told about a decision."""

from pathlib import Path

import pytest

from aegis.model.decision import Decision, Outcome, PolicyRef, Reason
from aegis.model.facts import Facts
from aegis.policy.decide import decide
from aegis.policy.explain import FAILS, HOLDS, UNKNOWN, explain
from aegis.policy.guard import RulesGuard
from aegis.policy.language import load
from aegis.policy.selftest import call

SETS = Path(__file__).parents[2] / "conformance" / "policy" / "sets"
TEXT = (SETS / "acme-core.yaml").read_text()
CORE = load(TEXT, source="acme-core.yaml")
HOURS = Reason(rule="r", text="two people", field="now.time", limit=("08:00", "18:00"))
DATA = {"limits": {"max_transfer_minor": 5000000}}


def _explained(given, policy=CORE):
    proposal, facts = call(policy, given)
    decision = decide(proposal, facts, [RulesGuard(policy, DATA)], policy=policy.ref)
    return explain(
        decision,
        tool=proposal.tool,
        agent_id=proposal.principal.agent_id,
        policy=policy,
        proposal=proposal,
        facts=facts,
        tenant_data=DATA,
    )


def _rule(found, rule):
    return next(each for each in found.rules if each.rule == rule)


def test_a_refusal_names_rule_field_and_limit_in_one_sentence():
    found = _explained(
        {
            "tool": "payments.transfer",
            "agent.roles": ["treasury"],
            "args.amount_minor": 7654321,
            "args.iban": "DE89370400440532013000",
        }
    )
    assert found.sentence == (
        "`test-agent` was refused `payments.transfer`: rule `fin.transfer.ceiling` "
        "(above the tenant ceiling; `args.amount_minor` against tenant.limits.max_transfer_minor)."
    )
    assert found.policy == f"acme-core@{CORE.ref.version}"


def test_when_nothing_allows_each_allow_rule_says_condition_by_condition_why_it_did_not_apply():
    found = _explained({"tool": "ehr.read_record", "agent.roles": ["clinician"], "args.purpose": "research-unmistakable"})
    assert [rule.rule for rule in found.missed] == ["phi.read"]
    results = [(each.path, each.operator, each.limit, each.result) for each in found.missed[0].comparisons]
    assert results == [("agent.roles", "contains", "clinician", HOLDS), ("args.purpose", "in", "phi_purposes", FAILS)]
    line = next(number for number, text in enumerate(TEXT.splitlines(), 1) if "id: phi.read," in text)
    assert found.missed[0].place == f"acme-core.yaml:{line}:7"
    assert "no rule allows this call" in found.sentence


def test_no_observed_value_is_ever_shown():
    given = {
        "tool": "payments.transfer",
        "agent.roles": ["role-unmistakable"],
        "args.memo": "078-05-1120",
        "args.iban": "GB-UNMISTAKABLE",
        "args.amount_minor": 7654321,
    }
    shown = repr(_explained(given))
    for value in ("078-05-1120", "UNMISTAKABLE", "7654321", "unmistakable"):
        assert value not in shown


def test_a_comparison_with_something_missing_is_unknown():
    found = _explained({"tool": "payments.transfer", "args.iban": "DE89370400440532013000"})
    assert _rule(found, "fin.transfer.memo").comparisons[0].result == FAILS  # absent and optional, in a sanitize rule
    missing = explain(
        Decision(outcome=Outcome.DENY), tool="payments.transfer", agent_id="a", policy=CORE,
        proposal=call(CORE, {"tool": "payments.transfer"})[0], facts=Facts(),
    )  # fmt: skip
    assert _rule(missing, "fin.transfer.ceiling").comparisons[0].result == UNKNOWN
    assert _rule(missing, "fin.transfer.ceiling").fires


def test_quantified_conditions_are_named_by_their_array():
    found = _explained({"tool": "crm.get_customer", "agent.roles": ["support"], "chain": [{"id": "agent-x", "trust": 1}]})
    (only,) = _rule(found, "core.untrusted-ancestor").comparisons
    assert (only.path, only.operator, only.limit, only.result) == ("chain", "any", None, HOLDS)


def test_a_broken_contract_is_the_only_account():
    found = _explained({"tool": "ehr.export", "args.mrn": None})
    assert [rule.rule for rule in found.rules] == ["ehr.export#contract"]
    assert "`args.mrn` against string" in found.sentence


def test_an_unknown_tool_has_no_accounts():
    found = _explained({"tool": "no.such"})
    assert found.rules == ()
    assert "the policy set does not know this tool" in found.sentence


def test_another_version_of_the_set_explains_nothing_by_rule():
    decision = Decision(
        outcome=Outcome.DENY, rules=("default-deny",), policy=PolicyRef(name="acme-core", version="x", digest="sha256:x")
    )
    proposal, facts = call(CORE, {"tool": "ehr.export"})
    found = explain(decision, tool="ehr.export", agent_id="a", policy=CORE, proposal=proposal, facts=facts)
    assert found.rules == ()


@pytest.mark.parametrize(
    ("decision", "sentence"),
    [
        (Decision(outcome=Outcome.ALLOW, rules=("r",)), "`a` was allowed to call `t`: r."),
        (
            Decision(outcome=Outcome.ALLOW, rules=("r",), approval_id="apr_1"),
            "`a` was allowed to call `t`, approved under apr_1: r.",
        ),
        (
            Decision(outcome=Outcome.SANITIZE, rules=("r",), reasons=(Reason(rule="r"),)),
            "`a` was allowed to call, with data removed, `t`: rule `r`.",
        ),
        (
            Decision(outcome=Outcome.APPROVAL_NEEDED, rules=("r",), reasons=(HOURS,)),
            "`a` must wait for a person before calling `t`: rule `r` (two people; `now.time` against [08:00, 18:00]).",
        ),
        (
            Decision(outcome=Outcome.ALLOW, rules=("r",), shadow=("s",), would_be=Outcome.DENY),
            "`a` was allowed to call `t`: r. Rules in shadow (s) would have made it deny.",
        ),
    ],
)  # fmt: skip
def test_each_outcome_has_its_sentence(decision, sentence):
    assert explain(decision, tool="t", agent_id="a").sentence == sentence
