"""An approval: a person's answer to one exact request, and how it moves from pending to used.

`answer`, `use` and `at` are the transition function: pure, and everything that is not listed is refused.
"""

from datetime import datetime
from enum import StrEnum

from msgspec import Struct
from msgspec.structs import replace


class ApprovalState(StrEnum):
    """Where an approval stands."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"
    USED = "used"


class Answer(Struct, frozen=True, kw_only=True):
    """What one person said. `statement` is the signed text itself (a compact JWS), kept so that anyone can check it later."""

    person: str
    approve: bool
    at: datetime
    roles: tuple[str, ...] = ()
    reason: str = ""
    statement: str = ""


class Approval(Struct, frozen=True, kw_only=True):
    """One held request and the answers to it.

    `requesters` are the agent, its subject and everyone in its chain: none of them may answer. `approver_sets`: each set must
    have a member (`role:<name>` or `person:<name>`) among those who approved; `quorum` counts distinct people. `expires_at`
    covers waiting and use alike. `traceparent` is the span of the request that was held.
    """

    approval_id: str
    tenant: str
    request_id: str
    request_hash: str
    agent_id: str
    tool: str
    requesters: tuple[str, ...]
    approver_sets: tuple[tuple[str, ...], ...]
    quorum: int
    not_requester: bool
    created_at: datetime
    expires_at: datetime
    state: ApprovalState = ApprovalState.PENDING
    answers: tuple[Answer, ...] = ()
    rules: tuple[str, ...] = ()
    reason: str = ""
    idempotency_key: str = ""
    used_by: str = ""
    traceparent: str = ""


class Refused(Struct, frozen=True, kw_only=True):
    """Why an answer or a use was not accepted: a stable code and a sentence."""

    code: str
    text: str


def at(approval: Approval, now: datetime) -> Approval:
    """`approval` as it stands at `now`: what waits or is granted expires, what is final stays."""
    waiting = approval.state in (ApprovalState.PENDING, ApprovalState.APPROVED)
    return replace(approval, state=ApprovalState.EXPIRED) if waiting and now >= approval.expires_at else approval


def answer(approval: Approval, said: Answer) -> Approval | Refused:
    """The approval after `said`, or why it does not count. One refusal by an entitled person ends it."""
    current = at(approval, said.at)
    if current.state is not ApprovalState.PENDING:
        return Refused(code=f"approval_{current.state}", text=f"the approval is already {current.state}")
    if current.not_requester and f"{said.person}" in current.requesters:
        return Refused(code="self_approval", text="who asked, or stands in the chain, may not answer")
    if any(earlier.person == said.person for earlier in current.answers):
        return Refused(code="same_person", text="this person has answered; another one is needed")
    if not any(_member(said, group) for group in current.approver_sets):
        wanted = ", ".join(sorted({name for group in current.approver_sets for name in group}))
        return Refused(code="not_an_approver", text=f"expected one of: {wanted}")
    if not said.approve:
        return replace(current, state=ApprovalState.DENIED, answers=(*current.answers, said))
    answers = (*current.answers, said)
    granted = len(answers) >= current.quorum and all(
        any(_member(each, group) for each in answers) for group in current.approver_sets
    )
    return replace(current, answers=answers, state=ApprovalState.APPROVED if granted else ApprovalState.PENDING)


def use(approval: Approval, request_hash: str, request_id: str, now: datetime) -> Approval | Refused:
    """The approval after its one use by `request_id`, or why it cannot be used."""
    current = at(approval, now)
    if current.request_hash != request_hash:
        return Refused(code="approval_hash_mismatch", text="the approval is for another request")
    if current.state is not ApprovalState.APPROVED:
        return Refused(code=f"approval_{current.state}", text=f"the approval is {current.state}")
    return replace(current, state=ApprovalState.USED, used_by=request_id)


def _member(said: Answer, group: tuple[str, ...]) -> bool:
    return said.person in group or any(f"role:{role}" in group for role in said.roles)
