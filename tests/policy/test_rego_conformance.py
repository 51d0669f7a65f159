"""The language-neutral decisions of conformance/policy through real OPA."""

from functools import cache

import msgspec
import pytest
from tests.policy import oracle
from tests.policy.test_conformance import _cases, _set

from aegis.model.facts import Facts
from aegis.model.proposal import Proposal
from aegis.policy.guard import RulesGuard

_CASES = [case for case in _cases("decisions") if "effects" not in case.values[0]]


@cache
def _opa(name, tenant_data):
    return oracle.Opa(_set(name), msgspec.json.decode(tenant_data))


@pytest.mark.parametrize(("common", "case"), _CASES)
def test_decision(common, case):
    proposal = msgspec.convert(case["proposal"], Proposal)
    facts = msgspec.convert({key: value for key, value in case.get("facts", {}).items() if key != "approval"}, Facts)
    name, tenant_data = case.get("policy", common["policy"]), common.get("tenant_data", {})
    found = _opa(name, msgspec.json.encode(tenant_data)).answer(proposal, facts)
    assert found == oracle.native(RulesGuard(_set(name), tenant_data), proposal, facts)
    approved = case.get("facts", {}).get("approval")
    for key in () if approved else found.keys() & case["decision"].keys() - {"terms"}:
        assert found[key] == case["decision"][key]
