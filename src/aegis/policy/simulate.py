"""Decide recorded calls anew by a candidate set.

Only the rules are asked again. What the other guards said then still stands: a call that the chain, what was handed down, the full
contract, the kill switch, a reading or an approver's refusal denied stays denied, and safe mode goes on asking for a person. A call
that was permitted under an approval keeps that approval: if the candidate holds it for approval too, it counts as permitted.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from aegis.model.decision import Decision, Outcome, Verdict
from aegis.model.facts import Facts
from aegis.model.proposal import Proposal
from aegis.policy.decide import decide
from aegis.policy.guard import RulesGuard
from aegis.policy.guards import HALTED, SAFE_MODE
from aegis.policy.ir import DEFAULT_DENY, Policy

_CHAIN = (
    "parent_unexpected", "loop", "depth", "parent_missing", "parent_mismatch", "parent_not_live", "run_mismatch", "ended", "scope",
)  # fmt: skip
_AUTHORITY = ("tool", "digest", "limit", "calls", "budget")
IDENTITY = frozenset({*(f"chain.{word}" for word in _CHAIN), *(f"authority.{word}" for word in _AUTHORITY)})
"""What the guards of identity say, word by word: a rule of a set may have an id that begins as theirs do."""
_BY_RULES = ("policy#", "engine#", "rules#")
"""What is said in place of the rules when they could not be asked; they are asked now."""
_ORDER = (Outcome.DENY, Outcome.APPROVAL_NEEDED, Outcome.SANITIZE, Outcome.ALLOW)


class Then(Struct, frozen=True, kw_only=True):
    """How the call was decided: the winning rules, every live rule that fired, and the redactions as (stage, path, form).

    `approval_id` names the approval that the call used, or that it waits for.
    """

    outcome: Outcome
    rules: tuple[str, ...] = ()
    matched: tuple[str, ...] = ()
    redactions: frozenset[tuple[str, str, str]] = frozenset()
    approval_id: str = ""


class Compared(Struct, frozen=True, kw_only=True):
    """One call then and now. `kind` is empty when nothing changed."""

    before: Outcome
    after: Outcome
    kind: str
    rules: tuple[str, ...]
    loosens: bool


class Candidate:
    """A set that may replace the one that decided, with the tenant's data."""

    def __init__(self, policy: Policy, tenant_data: Mapping[str, Any] | None = None) -> None:
        self._rules = RulesGuard(policy, tenant_data)
        self._known = frozenset(rule.id for rule in policy.rules)

    def compare(self, proposal: Proposal, facts: Facts, then: Then) -> Compared:
        """What the candidate makes of a recorded call."""
        made = self._decide(proposal, facts, then)
        kind = f"{then.outcome} -> {made.outcome}"
        changed = made.outcome is not then.outcome
        if not changed and made.outcome is Outcome.SANITIZE and _redactions(made) != then.redactions:
            changed, kind = True, f"{kind}, other redactions"
        return Compared(
            before=then.outcome,
            after=made.outcome,
            kind=kind if changed else "",
            rules=made.rules,
            loosens=loosens(then.outcome, made.outcome),
        )

    def _decide(self, proposal: Proposal, facts: Facts, then: Then) -> Decision:
        others = _Others(kept(then, self._known))
        made = decide(proposal, facts, [others, self._rules])
        approved = then.approval_id and then.outcome in (Outcome.ALLOW, Outcome.SANITIZE)
        if made.outcome is Outcome.APPROVAL_NEEDED and approved:
            return decide(proposal, facts, [others, _Approved(self._rules)])
        return made


def loosens(before: Outcome, after: Outcome) -> bool:
    """Whether less stands in the way of the call than before."""
    return _ORDER.index(after) > _ORDER.index(before)


def kept(then: Then, known: Iterable[str] = ()) -> tuple[Verdict, ...]:
    """What guards other than the rules said then, apart from ids that are rules of the candidate."""
    mine = frozenset(known) | {DEFAULT_DENY}
    return tuple(
        Verdict(guard="then", effect=Outcome.APPROVAL_NEEDED if rule == SAFE_MODE else "error", rule=rule)
        for rule in sorted({*then.rules, *then.matched})
        if _elsewhere(rule) and rule not in mine
    )


def _elsewhere(rule: str) -> bool:
    return rule in IDENTITY or rule in (HALTED, SAFE_MODE) or ("#" in rule and not rule.startswith(_BY_RULES))


def _redactions(made: Decision) -> frozenset[tuple[str, str, str]]:
    return frozenset((str(each.stage), each.path, each.form.split(":", 1)[0]) for each in made.redactions)


class _Others:
    """The guards of then, by what they said."""

    name = "then"

    def __init__(self, verdicts: tuple[Verdict, ...]) -> None:
        self._verdicts = verdicts

    def __call__(self, proposal: Proposal, facts: Facts) -> tuple[Verdict, ...]:  # noqa: ARG002 - the shape of a guard
        """The same whatever is asked."""
        return self._verdicts


class _Approved:
    """Rules whose demand for an approval was met."""

    name = "rules"

    def __init__(self, rules: RulesGuard) -> None:
        self._rules = rules

    def __call__(self, proposal: Proposal, facts: Facts) -> tuple[Verdict, ...]:
        """Everything else that they say."""
        return tuple(each for each in self._rules(proposal, facts) if each.effect != Outcome.APPROVAL_NEEDED)
