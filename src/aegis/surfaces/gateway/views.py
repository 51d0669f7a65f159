"""Our values as the bodies of answers."""

from collections.abc import Sequence
from typing import Any

import msgspec

from aegis.model.approval import Approval
from aegis.model.contract import Contract
from aegis.model.decision import Stage
from aegis.model.event import Stored, instant
from aegis.runtime.approvals import Card
from aegis.runtime.ask import Answer, Kind
from aegis.surfaces.gateway.wire import ApprovalView, CallView, DecideView, ToolView


def call_view(said: Answer) -> CallView:
    """A call that was carried out."""
    decision = said.decision
    assert decision is not None, "a call that was carried out has a decision"
    return CallView(
        request_id=said.request_id,
        decision=str(decision.outcome),
        result=said.result,
        rules=decision.rules,
        policy_version=decision.policy.version,
        approval_id=decision.approval_id,
        repeat_of=said.repeat_of,
    )


def decide_view(said: Answer, stage: Stage) -> DecideView:
    """A permit for a caller that enforces by itself, with the obligations of `stage`."""
    decision = said.decision
    assert decision is not None, "a permit has a decision"
    return DecideView(
        request_id=said.request_id,
        decision=str(decision.outcome),
        arguments=said.arguments or {},
        rules=decision.rules,
        policy_version=decision.policy.version,
        approval_id=decision.approval_id,
        repeat_of=said.repeat_of,
        redact=tuple({"path": r.path, "with": r.form} for r in decision.redactions if r.stage is stage),
        state="done" if said.kind is Kind.DONE else "decided",
        result=said.result,
    )


def tool_view(contract: Contract, *, whole: bool) -> ToolView:
    """A tool; with its input schema when `whole`."""
    return ToolView(
        name=contract.name,
        version=contract.version,
        digest=contract.digest,
        effect=contract.effect,
        description=contract.description,
        input=contract.input_schema if whole else None,
    )


def approval_view(held: Approval, *, card: Card | None = None, override_token: str = "") -> ApprovalView:
    """An approval; what was asked for only on the card of an approver."""
    step = held.step
    return ApprovalView(
        approval_id=held.approval_id,
        state=str(held.state),
        tool=held.tool,
        agent_id=held.agent_id,
        request_id=held.request_id,
        request_hash=held.request_hash,
        created_at=instant(held.created_at),
        expires_at=instant(held.expires_at),
        approvers=held.approver_sets,
        quorum=held.quorum,
        approved_by=tuple(said.person for said in held.answers if said.approve),
        reason=held.reason,
        arguments=card.arguments if card else None,
        shown=card.shown if card else "",
        override_token=override_token,
        run=held.run,
        workflow=f"{step.workflow}@{step.version}" if step else "",
        definition=step.definition if step else "",
        step=step.node if step else "",
        plan=step.plan if step else "",
        findings=held.findings,
        escalated=held.escalated,
        automatic=tuple(said.person for said in held.answers if said.approve and said.automatic),
    )


def request_view(request_id: str, events: Sequence[Stored], agent_id: str = "") -> dict[str, Any]:
    """The events of a request, oldest first, as the journal holds them; with `agent_id` only those of that agent.

    Anybody may name any request id, so an agent is shown what it did under this one and nothing else.
    """
    bodies = [msgspec.json.decode(event.body) for event in events]
    if agent_id:
        bodies = [body for body in bodies if body.get("agent_id") == agent_id]
    owner = next((body["agent_id"] for body in bodies if body["type"] == "decision"), agent_id)
    return {"request_id": request_id, "agent_id": owner, "events": bodies}
