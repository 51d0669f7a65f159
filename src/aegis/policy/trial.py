"""Try inputs of tests on one set: the set is compiled once for all inputs that state the same data of the tenant."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from aegis.model.decision import Decision
from aegis.model.facts import Facts
from aegis.model.proposal import Proposal
from aegis.policy.decide import decide
from aegis.policy.guard import RulesGuard
from aegis.policy.ir import Policy
from aegis.policy.nearmiss import whole_call


class Tried(Struct, frozen=True, kw_only=True):
    """A call, what was known, and what was decided."""

    proposal: Proposal
    facts: Facts
    tenant_data: Mapping[str, Any]
    decision: Decision


class Trial:
    """One set with one tenant's data."""

    def __init__(self, policy: Policy, tenant_data: Mapping[str, Any]) -> None:
        self._policy = policy
        self._data = tenant_data
        self._guards: dict[str, RulesGuard] = {}
        # Rules matter for what a call is only where they look back.
        self._calls = policy if policy.terms else replace(policy, rules=(), tests=())

    def run(self, given: Mapping[str, Any], known: Policy | None = None) -> Tried:
        """What the set decides; another set may fill in what the input leaves out."""
        data = stated_data(self._data, given)
        proposal, facts = whole_call(self._calls, given, data)
        if known is not None and known is not self._policy:
            bare = replace(known, rules=(), tests=(), terms={}, tenant=self._policy.tenant)
            proposal, readings = whole_call(bare, given, data)
            facts = replace(facts, now=readings.now)
        return Tried(proposal=proposal, facts=facts, tenant_data=data, decision=decide(proposal, facts, [self._guard(given, data)]))

    def _guard(self, given: Mapping[str, Any], data: Mapping[str, Any]) -> RulesGuard:
        stated = repr(sorted((path, value) for path, value in given.items() if path.startswith("tenant.")))
        if stated not in self._guards:
            self._guards[stated] = RulesGuard(self._policy, data)
        return self._guards[stated]


def stated_data(tenant_data: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The tenant's data with the values that an input states at `tenant.*`."""
    found = _copied(tenant_data)
    for path, value in given.items():
        root, *names = path.split(".")
        if root != "tenant" or not names:
            continue
        inner = found
        for name in names[:-1]:
            inner = inner.setdefault(name, {})
        inner[names[-1]] = value
    return found


def _copied(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _copied(value) if isinstance(value, Mapping) else value for name, value in data.items()}
