"""Approval terms of several rules joined, and whether an approval that exists satisfies them today."""

from collections.abc import Sequence
from datetime import datetime

from aegis.model.approval import Answer, Approval, Refused, use
from aegis.model.decision import ApprovalTerms
from aegis.model.principal import Principal
from aegis.model.proposal import Proposal


def join_terms(terms: Sequence[ApprovalTerms | None]) -> ApprovalTerms | None:
    """Terms that satisfy all: every approver set, the largest quorum, the shortest time, never the requester if any says so.

    `None` when some rule names nobody who could approve: then nothing satisfies it.
    """
    known = [each for each in terms if each is not None and each.approver_sets and all(each.approver_sets)]
    if not known or len(known) != len(terms):
        return None
    return ApprovalTerms(
        approver_sets=tuple(sorted({tuple(sorted(set(group))) for each in known for group in each.approver_sets})),
        quorum=max(1, *(each.quorum for each in known)),
        ttl=min(each.ttl for each in known),
        not_requester=any(each.not_requester for each in known),
    )


def satisfies(approval: Approval | None, terms: ApprovalTerms | None, proposal: Proposal, now: datetime) -> bool:
    """Whether `approval` is valid evidence for this very request under the terms of today.

    It must be granted, unused and in time (also by a ttl that was shortened since), for the same request hash of the same tenant,
    and the answers must still be enough: terms may have been tightened while it waited.
    """
    if approval is None or terms is None or approval.tenant != proposal.principal.tenant or not proposal.request_hash:
        return False
    if isinstance(use(approval, proposal.request_hash, proposal.request_id, now), Refused):
        return False
    if now >= approval.created_at + terms.ttl:
        return False
    if any(not said.approve for said in approval.answers):
        return False
    counted = [said for said in approval.answers if _counts(said, terms, proposal.principal)]
    return len({said.person for said in counted}) >= terms.quorum and all(
        any(_member(said, group) for said in counted) for group in terms.approver_sets
    )


def _counts(said: Answer, terms: ApprovalTerms, principal: Principal) -> bool:
    """An agent of the chain never counts; the person for whom it acts counts unless the terms say otherwise."""
    if said.person == principal.agent_id or any(said.person == link.agent_id for link in principal.chain):
        return False
    if terms.not_requester and principal.involves(said.person):
        return False
    return any(_member(said, group) for group in terms.approver_sets)


def _member(said: Answer, group: tuple[str, ...]) -> bool:
    return said.person in group or any(f"role:{role}" in group for role in said.roles)
