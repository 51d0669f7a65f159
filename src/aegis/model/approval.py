"""An approval: a person's answer to one exact request, and how it moves from pending to used.

It is asked for a held call, or for a step of a workflow (`StepAsked`). That of a call is used by the identical call when it
returns; that of a step is used by its run in the moment in which it is granted, so it cannot expire afterwards.

`answer`, `use`, `escalate`, `withdraw` and `at` are the transition function: pure, and everything that is not listed is refused.
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
    WITHDRAWN = "withdrawn"
    """Nobody needs it any more: the run that asked unwinds."""


_WAITING = frozenset({ApprovalState.PENDING, ApprovalState.APPROVED})


class Answer(Struct, frozen=True, kw_only=True):
    """What one person said. `statement` is the signed text itself (a compact JWS), kept so that anyone can check it later.

    `automatic`: the directory says that no human answers under this name, but a guardrail.
    """

    person: str
    approve: bool
    at: datetime
    roles: tuple[str, ...] = ()
    reason: str = ""
    statement: str = ""
    automatic: bool = False


class StepAsked(Struct, frozen=True, kw_only=True):
    """The step of a workflow for which an approval was asked.

    `definition` is the digest of the workflow, `plan` that of the plan where a whole plan is approved. The values shown are sealed
    beside `event`.
    """

    workflow: str
    version: str
    definition: str
    step: str
    node: str
    dispatch: int
    event: str
    plan: str = ""


class Approval(Struct, frozen=True, kw_only=True):
    """One held request and the answers to it.

    `requesters` are the agent, its subject and everyone in its chain: none of them may answer. `approver_sets`: each set must
    have a member (`role:<name>` or `person:<name>`) among those who approved; `quorum` counts distinct people. `expires_at`
    covers waiting and use alike. `traceparent` is the span of the request that was held.

    `run` is the run of a workflow that waits, for a step of its own or for a call that it made; `step` is there for a step only.
    From `escalates_at` on, if nobody has ended it, those of `escalates_to` may answer too. `findings` are what gates found.
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
    run: str = ""
    step: StepAsked | None = None
    findings: tuple[str, ...] = ()
    escalates_at: datetime | None = None
    escalates_to: tuple[str, ...] = ()
    escalated: bool = False

    @property
    def live(self) -> bool:
        """Whether time still changes something about it."""
        return self.state in _WAITING and not (self.step and self.state is ApprovalState.APPROVED)

    @property
    def next_at(self) -> datetime:
        """When something happens to it by itself: more people are asked, or it expires."""
        waits = self.state is ApprovalState.PENDING and not self.escalated and self.escalates_at is not None
        return min(self.escalates_at, self.expires_at) if waits and self.escalates_at else self.expires_at


class Refused(Struct, frozen=True, kw_only=True):
    """Why an answer or a use was not accepted: a stable code and a sentence."""

    code: str
    text: str


def at(approval: Approval, now: datetime) -> Approval:
    """`approval` as it stands at `now`: what waits or is granted expires, what is final stays."""
    over = approval.live and now >= approval.expires_at
    return replace(approval, state=ApprovalState.EXPIRED) if over else approval


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


def escalate(approval: Approval, now: datetime) -> Approval | None:
    """The approval that more people may answer, or `None` when that is not due, is done already, or is of no use any more."""
    current = at(approval, now)
    due = current.escalates_at is not None and now >= current.escalates_at
    if current.state is not ApprovalState.PENDING or current.escalated or not due:
        return None
    return replace(current, escalated=True, approver_sets=widened(current.approver_sets, current.escalates_to))


def widened(groups: tuple[tuple[str, ...], ...], more: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """The approver sets with `more` in each of them."""
    return tuple((*group, *(name for name in more if name not in group)) for group in groups)


def withdraw(approval: Approval, now: datetime) -> Approval | None:
    """The approval that nobody needs any more, or `None` when it has ended already."""
    return replace(approval, state=ApprovalState.WITHDRAWN) if at(approval, now).live else None


def _member(said: Answer, group: tuple[str, ...]) -> bool:
    return said.person in group or any(f"role:{role}" in group for role in said.roles)
