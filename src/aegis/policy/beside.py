"""A whole revision in shadow: it is asked beside the one that decides, and only recorded.

Every verdict of it is in shadow, also a violation of its contract lines. The marker `shadow-revision` tells `decide` that it was
asked, even if none of its rules spoke, so that `would_be` is the outcome with this revision in place of the one that decides. No
policy engine is asked for a revision in shadow: its rules are evaluated here, and its hand-written Rego is left out.
"""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from aegis.model.decision import Outcome, Verdict
from aegis.model.facts import Facts
from aegis.model.proposal import Proposal
from aegis.policy.guard import RulesGuard
from aegis.policy.ir import SHADOW_REVISION, SHADOW_SET, Policy

NAME = "rules-in-shadow"
_MARKER = Verdict(guard=NAME, effect=Outcome.ALLOW, rule=SHADOW_REVISION, live=False)


class ShadowGuard:
    """Asks a policy set whose answers change nothing."""

    name = NAME

    def __init__(self, policy: Policy, tenant_data: Mapping[str, Any] | None = None) -> None:
        self._rules = RulesGuard(replace(policy, rego=()), tenant_data)
        self.policy = policy.ref

    def __call__(self, proposal: Proposal, facts: Facts) -> tuple[Verdict, ...]:
        """What the set says, all of it in shadow."""
        spoken = (each for each in self._rules(proposal, facts) if each.rule != SHADOW_SET)
        return (_MARKER, *(replace(each, guard=NAME, live=False) for each in spoken))
