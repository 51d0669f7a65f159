"""One set of rules for three tenants: the rules are the same, the data differ, and so do the decisions."""

from pathlib import Path

import pytest
import yaml

from aegis.adapters import catalogue, policies
from aegis.model.decision import Outcome
from aegis.policy.decide import decide
from aegis.policy.guard import RulesGuard
from aegis.policy.selftest import call

TENANTS = Path(__file__).parents[2] / "examples" / "many-tenants" / "tenants"
NAMES = ("alpine", "borealis", "cascade")


def _document(name, file):
    return yaml.safe_load((TENANTS / name / file).read_text())


def _decided(name, given):
    policy, data = policies.load(TENANTS / name, name)
    proposal, facts = call(policy, given, data)
    return decide(proposal, facts, [RulesGuard(policy, data)])


def test_the_sets_differ_in_tenant_and_mode_only():
    for name in NAMES[1:]:
        first, other = _document("alpine", policies.FILE), _document(name, policies.FILE)
        assert other["metadata"].pop("tenant") == name
        assert first["metadata"].pop("tenant") == "alpine"
        modes = first["spec"].pop("mode"), other["spec"].pop("mode")
        assert modes == ("enforce", "shadow" if name == "cascade" else "enforce")
        assert first == other


def test_the_commands_of_the_page_make_the_other_sets():
    first = (TENANTS / "alpine" / policies.FILE).read_text()
    assert first.replace("tenant: alpine", "tenant: borealis") == (TENANTS / "borealis" / policies.FILE).read_text()
    shadow = first.replace("tenant: alpine", "tenant: cascade").replace("mode: enforce", "mode: shadow")
    assert shadow == (TENANTS / "cascade" / policies.FILE).read_text()


def test_contracts_have_the_same_arguments_for_every_tenant():
    schemas = [
        {tool: each.input_schema for tool, each in catalogue.load(TENANTS / name / policies.TOOLS, name).newest.items()}
        for name in NAMES
    ]
    assert schemas[0] == schemas[1] == schemas[2]


def test_the_bank_is_the_strictest():
    bank, usual = _document("borealis", policies.DATA), _document("alpine", policies.DATA)
    assert all(bank["limits"][name] < usual["limits"][name] for name in usual["limits"])
    assert bank["least_trust"] > usual["least_trust"]
    assert set(bank["regions"]) < set(usual["regions"])
    assert set(bank["blocked_domains"]) > set(usual["blocked_domains"])


@pytest.mark.parametrize(
    ("amount", "outcomes"),
    [
        (4999, (Outcome.ALLOW, Outcome.APPROVAL_NEEDED, Outcome.ALLOW)),
        (5000, (Outcome.APPROVAL_NEEDED, Outcome.APPROVAL_NEEDED, Outcome.ALLOW)),
        (5001, (Outcome.APPROVAL_NEEDED, Outcome.DENY, Outcome.ALLOW)),
        (20001, (Outcome.DENY, Outcome.DENY, Outcome.ALLOW)),
    ],
)
def test_one_call_is_decided_by_each_tenants_data_and_in_shadow_by_none(amount, outcomes):
    given = {"tool": "credits.grant", "agent.roles": ["support"], "args.amount_minor": amount}
    found = [_decided(name, given | {"args.currency": _document(name, policies.DATA)["currency"]}) for name in NAMES]
    assert tuple(each.outcome for each in found) == outcomes


def test_in_shadow_it_is_recorded_what_would_have_been():
    given = {"tool": "credits.grant", "agent.roles": ["support"], "args.amount_minor": 20001, "args.currency": "USD"}
    found = _decided("cascade", given)
    assert (found.outcome, found.would_be) == (Outcome.ALLOW, Outcome.DENY)
    assert "credit.ceiling" in found.shadow
