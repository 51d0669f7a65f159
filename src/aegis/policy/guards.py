"""The kill switch, and its milder form."""

from collections.abc import Mapping

from aegis.model.decision import ApprovalTerms, Outcome, Verdict
from aegis.model.facts import Facts
from aegis.model.proposal import Proposal

HALTED = "halted"
SAFE_MODE = "safe-mode"
READ = "read"
OPERATORS = ApprovalTerms(approver_sets=(("role:operator",),))


class HaltedGuard:
    """Denies everything while `facts.halted`; holds whatever is not a read for a person while `facts.safe_mode`.

    `effects` maps a tool to `read`, `write` or `dangerous`; a tool that it does not name is held. `terms` say who may let a held
    call pass.
    """

    name = HALTED

    def __init__(self, effects: Mapping[str, str], terms: ApprovalTerms = OPERATORS) -> None:
        self._effects = dict(effects)
        self._terms = terms

    def __call__(self, proposal: Proposal, facts: Facts) -> tuple[Verdict, ...]:
        """A deny, an approval_needed, or nothing."""
        if facts.halted:
            return (Verdict(guard=self.name, effect=Outcome.DENY, rule=HALTED, reason=facts.halted),)
        if facts.safe_mode and self._effects.get(proposal.tool) != READ:
            return (
                Verdict(
                    guard=self.name,
                    effect=Outcome.APPROVAL_NEEDED,
                    rule=SAFE_MODE,
                    reason=facts.safe_mode,
                    terms=self._terms,
                ),
            )
        return ()
