"""The events that a call leaves behind: public fields and digests, never an argument or a result.

Fields follow one table for every door, so that a reader finds the same name for the same thing. Text that came from outside is
cut and stripped of control and bidirectional characters: one event is one record, whatever an agent put into it. `traced` are the
ids of the span that tells of the same, so that a span that was changed can be found.
"""

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from aegis.journal.unit import Payload
from aegis.model.approval import Answer, Approval
from aegis.model.decision import Decision
from aegis.model.event import Event, instant
from aegis.model.facts import Facts
from aegis.model.principal import Principal
from aegis.model.proposal import Proposal

MAX_TEXT = 256


def text(value: str, limit: int = MAX_TEXT) -> str:
    """`value` without control, format and surrogate characters, cut to `limit` characters."""
    if value.isascii() and value.isprintable():
        return value[:limit]
    return "".join(char for char in value[:limit] if unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp"))


def public(value: Any) -> Any:
    """A limit from a rule or schema as an event may hold it: no floats, nothing long."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**53 else str(value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [public(item) for item in value[:16]]
    return text(str(value))


def actor(principal: Principal) -> dict[str, Any]:
    """Who acted, for whom, through whom: `act` is newest first as in RFC 8693, section 4.1."""
    return {
        "sub": principal.subject,
        "act": [{"sub": principal.agent_id}, *({"sub": link.agent_id} for link in principal.chain)],
    }


def decision(
    proposal: Proposal,
    made: Decision,
    *,
    event_id: str,
    now: datetime,
    instance: str,
    door: str,
    trace_id: str,
    span_id: str,
    parent_span_id: str = "",
    latency_us: int,
    sealed: Payload | None,
    effect: str,
    facts: Facts,
    cost_micros: int = 0,
    kind: str = "decision",
) -> Event:
    """The decision, as it must be durable before anything happens. `kind` is the event's type, where it is not about a tool.

    `cost_micros` is what the call costs if it is allowed; an event tells it where there is a cost.
    """
    principal = proposal.principal
    data: dict[str, Any] = {
        "actor": actor(principal),
        "agent_id": principal.agent_id,
        "agent": {
            "roles": [text(role) for role in principal.roles],
            "scopes": [text(scope) for scope in principal.scopes],
            "trust": principal.trust,
            "chain": [{"id": link.agent_id, "trust": link.trust} for link in principal.chain],
            "txn": text(principal.txn),
            "task": text(principal.task),
        },
        "token_jti": text(principal.token_id),
        "tool": {
            "name": text(proposal.tool),
            "version": text(proposal.tool_version),
            "digest": proposal.tool_digest,
            "effect": effect,
        },
        "decision": str(made.outcome),
        "rules": list(made.rules),
        "matched": list(made.matched),
        "reasons": [_reason(reason) for reason in made.reasons],
        "policy": {"bundle": made.policy.name, "version": made.policy.version, "digest": made.policy.digest},
        "redactions": [{"stage": str(r.stage), "path": r.path, "form": r.form.split(":", 1)[0]} for r in made.redactions],
        "approval_id": made.approval_id,
        "request_hash": proposal.request_hash,
        "idempotency_key": text(proposal.idempotency_key),
        "inputs": {"pii_commit": commitment(sealed)} if sealed else {},
        "environment": proposal.environment,
        "door": door,
        "gateway": instance,
        "latency_us": latency_us,
    }
    if made.shadow or made.would_be:
        data["shadow"] = {"rules": list(made.shadow), "would_be": str(made.would_be or made.outcome)}
    if read := _read(facts):
        data["facts"] = read
    if made.permits and cost_micros:
        data["cost_micros"] = cost_micros
    if principal.ancestors:
        data["token_ancestors"] = [text(each) for each in principal.ancestors]
    if principal.prompt:
        data["model"] = {"prompt_sha256": text(principal.prompt)}
    if principal.parent:
        data["parent_request_id"] = text(principal.parent.request_id)
        data["parent_agent_id"] = principal.parent.agent_id
    if trace_id:
        data |= {"trace_id": trace_id, "span_id": span_id, **({"parent_span_id": parent_span_id} if parent_span_id else {})}
    return _event(event_id, kind, proposal, now, data)


def outcome(
    proposal: Proposal,
    *,
    event_id: str,
    now: datetime,
    state: str,
    reason: str,
    upstream_status: int,
    duration_us: int,
    sealed: Payload | None,
    redacted: tuple[str, ...],
    approval_id: str,
    instance: str,
    decision_event: str,
    cost_micros: int = 0,
    traced: Mapping[str, str],
) -> Event:
    """What came of an allowed call. `state` is the call's new state, `reason` a stable word."""
    return _event(
        event_id,
        "outcome",
        proposal,
        now,
        {
            "actor": actor(proposal.principal),
            "agent_id": proposal.principal.agent_id,
            "agent": {"txn": text(proposal.principal.txn), "task": text(proposal.principal.task)},
            "tool": {"name": proposal.tool, "version": proposal.tool_version, "digest": proposal.tool_digest},
            "outcome": str(state),
            "reason": reason,
            "upstream_status": upstream_status,
            "duration_us": duration_us,
            "decision_event": decision_event,
            "approval_id": approval_id,
            "redacted": [text(path) for path in redacted],
            "result": {"pii_commit": commitment(sealed)} if sealed else {},
            "gateway": instance,
            **({"cost_micros": cost_micros} if cost_micros else {}),
            **traced,
        },
    )


def settled(
    tenant: str,
    request_id: str,
    *,
    event_id: str,
    now: datetime,
    state: str,
    reason: str,
    agent_id: str,
    tool: str,
    by: str,
    decision_event: str,
    txn: str = "",
    statement: str = "",
    traced: Mapping[str, str],
) -> Event:
    """How a call ended that its own process could not finish: `by` is `recovery`, `caller` or a person."""
    data: dict[str, Any] = {
        "agent_id": agent_id,
        "tool": {"name": tool},
        "outcome": str(state),
        "reason": text(reason),
        "by": by,
        "decision_event": decision_event,
        **traced,
    }
    if txn:
        data["agent"] = {"txn": text(txn)}
    if statement:
        data["statement"] = statement
    return Event(id=event_id, type="outcome", tenant=tenant, time=now, request_id=request_id, data=data)


def repeat(proposal: Proposal, *, event_id: str, now: datetime, of: str, result: str, traced: Mapping[str, str]) -> Event:
    """The same key or request came again and was not carried out again; `result` says what the caller was told."""
    return _event(
        event_id,
        "repeat",
        proposal,
        now,
        {
            "agent_id": proposal.principal.agent_id,
            "tool": {"name": text(proposal.tool)},
            "of": of,
            "result": result,
            "request_hash": proposal.request_hash,
            "idempotency_key": text(proposal.idempotency_key),
            **traced,
        },
    )


def approval_used(approval: Approval, *, event_id: str, now: datetime, request_id: str, traced: Mapping[str, str]) -> Event:
    """The one use of an approval."""
    return Event(
        id=event_id,
        type="override_used",
        tenant=approval.tenant,
        time=now,
        request_id=request_id,
        data={
            "approval_id": approval.approval_id,
            "request_hash": approval.request_hash,
            "held_request_id": approval.request_id,
            "agent_id": approval.agent_id,
            "approvers": [said.person for said in approval.answers if said.approve],
            **traced,
        },
    )


def approval_answer(
    approval: Approval, said: Answer, *, event_id: str, now: datetime, shown: str, traced: Mapping[str, str]
) -> Event:
    """What a person answered, with the signed statement itself so that anyone can check it."""
    return Event(
        id=event_id,
        type="approval",
        tenant=approval.tenant,
        time=now,
        request_id=approval.request_id,
        data={
            "approval_id": approval.approval_id,
            "request_hash": approval.request_hash,
            "approver": said.person,
            "answer": "approve" if said.approve else "deny",
            "state": str(approval.state),
            "reason": text(said.reason),
            "shown": shown,
            "statement": said.statement,
            "agent_id": approval.agent_id,
            "tool": {"name": approval.tool},
            **({"automatic": True} if said.automatic else {}),
            **({"txn": approval.run} if approval.run else {}),
            **traced,
        },
    )


def approval_asked(approval: Approval, *, now: datetime, sealed: Payload) -> Event:
    """People are asked about a step of a workflow; what they are shown is sealed beside it."""
    data = {
        **_about(approval),
        "agent_id": approval.agent_id,
        "tool": {"name": text(approval.tool)},
        "approver_sets": [[text(name) for name in group] for group in approval.approver_sets],
        "quorum": approval.quorum,
        "requesters": [text(name) for name in approval.requesters],
        "expires_at": instant(approval.expires_at),
        "findings": [text(each) for each in approval.findings],
        "inputs": {"pii_commit": commitment(sealed)},
    }
    event_id = f"approval_asked:{approval.approval_id}"
    return Event(id=event_id, type="approval_asked", tenant=approval.tenant, time=now, request_id=approval.request_id, data=data)


def approval_moved(
    approval: Approval, kind: str, *, now: datetime, reason: str = "", traced: Mapping[str, str] | None = None
) -> Event:
    """Something happened to an approval that nobody answered: `kind` is `approval_escalated`, `_expired` or `_withdrawn`."""
    data = {
        **_about(approval),
        "agent_id": approval.agent_id,
        "tool": {"name": text(approval.tool)},
        "state": str(approval.state),
        "approver_sets": [[text(name) for name in group] for group in approval.approver_sets],
        **({"reason": text(reason)} if reason else {}),
        **(traced or {}),
    }
    event_id = f"{kind}:{approval.approval_id}"
    return Event(id=event_id, type=kind, tenant=approval.tenant, time=now, request_id=approval.request_id, data=data)


def _about(approval: Approval) -> dict[str, Any]:
    """Which approval, and of which step."""
    found: dict[str, Any] = {"approval_id": approval.approval_id, "request_hash": approval.request_hash}
    if approval.run:
        found["txn"] = approval.run
    if step := approval.step:
        found["workflow"] = {"name": text(step.workflow), "version": text(step.version), "digest": step.definition}
        found |= {"step": text(step.node), "dispatch": step.dispatch}
        found |= {"plan": step.plan} if step.plan else {}
    return found


def refusal(
    tenant: str,
    *,
    event_id: str,
    now: datetime,
    request_id: str,
    agent_id: str,
    reason: str,
    what: str,
    door: str,
    traced: Mapping[str, str],
) -> Event:
    """A refusal of an authenticated caller beside a decision: malformed input, a foreign id, an answer that cannot count."""
    return Event(
        id=event_id,
        type="refusal",
        tenant=tenant,
        time=now,
        request_id=request_id,
        data={
            "agent_id": agent_id,
            "reason": reason,
            "what": text(what),
            "door": door,
            **traced,
        },
    )


def commitment(sealed: Payload) -> str:
    """Digest that ties the event to its payload without telling anything about it: over nonce and ciphertext."""
    return "sha256:" + hashlib.sha256(sealed.nonce + sealed.ciphertext).hexdigest()


def _read(facts: Facts) -> dict[str, Any]:
    """What rules could read beyond the call itself: by it a decision can be made again."""
    found: dict[str, Any] = {}
    if facts.history:
        found["history"] = dict(facts.history)
    if facts.run_labels:
        found["run_labels"] = [text(label) for label in facts.run_labels]
    if facts.stated:
        found["stated"] = dict(facts.stated)
    return found


def _reason(reason: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"rule": reason.rule}
    if reason.text:
        found["text"] = text(reason.text)
    if reason.field:
        found["field"] = text(reason.field)
    if reason.limit is not None:
        found["limit"] = public(reason.limit)
    return found


def _event(event_id: str, kind: str, proposal: Proposal, now: datetime, data: dict[str, Any]) -> Event:
    return Event(id=event_id, type=kind, tenant=proposal.principal.tenant, time=now, request_id=proposal.request_id, data=data)
