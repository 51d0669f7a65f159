"""All verdicts combined into one decision. Pure: the same proposal, facts and guards give the same decision.

Precedence, first that applies:

    error or contract violation         -> deny
    deny                                -> deny
    nothing allows                      -> deny (`default-deny`)
    approval_needed, not yet approved   -> approval_needed
    sanitize                            -> sanitize
    otherwise                           -> allow

Verdicts are combined as a set, so the order of guards and of rules never matters. A guard that raises, or says something that is
not a verdict, denies. An approval is evidence for approval_needed and for nothing else: it never stands in for a permit.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from aegis.model.decision import ApprovalTerms, Decision, Guard, Outcome, PolicyRef, Reason, Verdict
from aegis.model.facts import Facts
from aegis.model.proposal import Proposal
from aegis.policy.evidence import join_terms, satisfies
from aegis.policy.guard import NAME as RULES
from aegis.policy.ir import DEFAULT_DENY, SHADOW_REVISION, SHADOW_SET
from aegis.policy.redaction import join_redactions

ERROR = "error"
NO_POLICY = PolicyRef()
_EFFECTS = frozenset({ERROR, *map(str, Outcome)})
_DEFAULT = Verdict(guard="decide", effect=Outcome.DENY, rule=DEFAULT_DENY, reason="no rule allows this call")


def decide(proposal: Proposal, facts: Facts, guards: Sequence[Guard], *, policy: PolicyRef = NO_POLICY) -> Decision:
    """The decision about `proposal`; it never raises for anything that a guard does."""
    verdicts = [verdict for guard in guards for verdict in _asked(guard, proposal, facts)]
    live = [verdict for verdict in verdicts if verdict.live]
    outcome, winning, approved = _fold(live, proposal, facts)
    shadowed = len(live) != len(verdicts) or any(verdict.rule == SHADOW_SET for verdict in live)
    held = outcome is Outcome.APPROVAL_NEEDED
    permits = outcome is not Outcome.DENY
    return Decision(
        outcome=outcome,
        rules=_ids(winning),
        matched=_ids(live),
        reasons=_reasons(winning, outcome),
        redactions=join_redactions(each for verdict in live for each in verdict.redactions) if permits else (),
        terms=_terms(winning) if held else None,
        approval_id=facts.approval.approval_id if approved and permits and facts.approval else "",
        shadow=_ids(verdict for verdict in verdicts if not verdict.live),
        would_be=_would_be(verdicts, proposal, facts) if shadowed else None,
        policy=policy,
    )


def _asked(guard: Guard, proposal: Proposal, facts: Facts) -> tuple[Verdict, ...]:
    """What the guard says, or that it could not judge. The text of an exception may hold data and goes nowhere."""
    try:
        verdicts = tuple(guard(proposal, facts))
        if all(_sound(verdict) for verdict in verdicts):
            return verdicts
    except Exception:  # noqa: S110 - whatever went wrong, the answer below denies
        pass
    return (Verdict(guard=_name(guard), effect=ERROR, rule=f"{_name(guard)}#error", reason="this guard could not judge the call"),)


def _sound(verdict: Any) -> bool:
    return isinstance(verdict, Verdict) and verdict.effect in _EFFECTS and type(verdict.live) is bool


def _name(guard: Guard) -> str:
    try:
        return str(guard.name)
    except Exception:  # as above
        return "guard"


def _fold(verdicts: Sequence[Verdict], proposal: Proposal, facts: Facts) -> tuple[Outcome, list[Verdict], bool]:
    """(outcome, the verdicts that made it, whether an approval was used for it)."""
    by_effect: dict[str, list[Verdict]] = {effect: [] for effect in _EFFECTS}
    for verdict in verdicts:
        by_effect[verdict.effect].append(verdict)
    objections = by_effect[ERROR] or by_effect[Outcome.DENY]
    if objections:
        return Outcome.DENY, objections, False
    if not by_effect[Outcome.ALLOW]:
        return Outcome.DENY, [_DEFAULT], False
    holding = by_effect[Outcome.APPROVAL_NEEDED]
    approved = bool(holding) and satisfies(facts.approval, _terms(holding), proposal, facts.now)
    if holding and not approved:
        return Outcome.APPROVAL_NEEDED, holding, False
    if by_effect[Outcome.SANITIZE]:
        return Outcome.SANITIZE, by_effect[Outcome.SANITIZE], approved
    return Outcome.ALLOW, by_effect[Outcome.ALLOW], approved


def _would_be(verdicts: Sequence[Verdict], proposal: Proposal, facts: Facts) -> Outcome:
    """The outcome if every verdict were live; a whole revision in shadow stands in the place of the rules that decide."""
    spoken = [verdict for verdict in verdicts if verdict.rule not in (SHADOW_SET, SHADOW_REVISION)]
    if any(verdict.rule == SHADOW_REVISION for verdict in verdicts):
        spoken = [verdict for verdict in spoken if verdict.guard != RULES]
    return _fold(spoken, proposal, facts)[0]


def _terms(verdicts: Iterable[Verdict]) -> ApprovalTerms | None:
    return join_terms([verdict.terms for verdict in verdicts])


def _ids(verdicts: Iterable[Verdict]) -> tuple[str, ...]:
    return tuple(sorted({verdict.rule for verdict in verdicts}))


def _reasons(verdicts: Sequence[Verdict], outcome: Outcome) -> tuple[Reason, ...]:
    """One reason for each way in which a rule spoke; an allow needs none unless its author wrote one."""
    told = [
        Reason(rule=verdict.rule, text=verdict.reason, field=verdict.field, limit=verdict.limit)
        for verdict in verdicts
        if outcome is not Outcome.ALLOW or verdict.reason
    ]
    if len(told) < 2:
        return tuple(told)
    return tuple({_order(reason): reason for reason in sorted(told, key=_order)}.values())


def _order(reason: Reason) -> tuple[str, str, str, str]:
    return reason.rule, reason.field, repr(reason.limit), reason.text
