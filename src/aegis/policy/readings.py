"""Guards over facts that every decision needs, whatever the tool."""

from aegis.model.approval import ApprovalState, at
from aegis.model.decision import Verdict
from aegis.model.facts import Facts
from aegis.model.proposal import Proposal


class ReadingsGuard:
    """Deny when a reading that every decision needs could not be taken."""

    name = "facts"

    def __call__(self, proposal: Proposal, facts: Facts) -> tuple[Verdict, ...]:  # noqa: ARG002 - the shape of a guard
        """One error verdict for each stale reading."""
        return tuple(
            Verdict(guard=self.name, effect="error", rule=f"facts#{reading}", reason=_REASONS.get(reading, "reading unavailable"))
            for reading in sorted(facts.stale)
        )


_REASONS = {
    "clock": "the clock of this gateway stands behind the journal: set it right",
    "halts": "this gateway cannot read what is halted",
}


class RefusalGuard:
    """A person's refusal binds: the identical request stays denied until the approval has expired."""

    name = "approval"

    def __call__(self, proposal: Proposal, facts: Facts) -> tuple[Verdict, ...]:
        """A deny verdict when this exact request was refused by an approver."""
        held = facts.approval
        if held is None or held.request_hash != proposal.request_hash:
            return ()
        if at(held, facts.now).state is not ApprovalState.DENIED or facts.now >= held.expires_at:
            return ()
        return (Verdict(guard=self.name, effect="deny", rule="approval#denied", reason="an approver refused this request"),)
