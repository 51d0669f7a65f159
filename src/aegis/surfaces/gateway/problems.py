"""Refusals as RFC 9457 problem details: one table from what happened to status, type, words and what to do next."""

from typing import Any

from msgspec import Struct

from aegis.model.decision import Decision
from aegis.runtime.ask import LACKS, Answer, Kind
from aegis.runtime.record import public
from aegis.runtime.resources import BUSY
from aegis.surfaces.gateway.wire import Problem, ReasonView

PREFIX = "urn:aegis:problem:"
_UNDECIDED = (
    "Nothing is known to be wrong with the request: the gateway lacks something that it needs to decide. "
    "Tell its operator (`/readyz` names the cause), and try again later."
)

_UNTRUSTED = (
    "Do not repeat it: nobody vouches for the tool as it is now. "
    "Its operator looks at `aegis tools verify`, and `aegis tools approve` or `aegis tools sign` lets it serve."
)
_UNLISTED = (
    "Its operator names the tool under `tools` of the tenant's policy and lets a rule allow it; "
    "for a workflow, a queue or a message: `NAME: {contract: NAME@1}`."
)


class Shown(Struct, frozen=True, kw_only=True):
    """One row of the table."""

    status: int
    title: str
    detail: str
    next: str
    retryable: bool = False
    retry_after: int = 0


TABLE: dict[str, Shown] = {
    "policy-violation": Shown(
        status=403, title="The policy does not allow this call", detail="denied",
        next="Change the request so that it fits the rule, or ask the owner of the policy. Repeating it as it is will not help."),
    "contract-violation": Shown(
        status=422, title="The call does not fit the tool's contract", detail="denied before any rule was read",
        next="Mend the named field; `GET /v1/tools/{tool}` shows the contract."),
    "approval-needed": Shown(
        status=403, title="A person must approve this call", detail="held", retryable=True, retry_after=5,
        next="Wait, then send the identical request again (same key, same arguments); it runs once it is approved."),
    "idempotency-key-reused": Shown(
        status=409, title="The idempotency key stands for another request", detail="the payload differs from the first one",
        next="Use a new key for a new action."),
    "request-id-reused": Shown(
        status=409, title="The request id stands for another request", detail="nothing was done",
        next="Use a new request id, or leave the header out."),
    "in-flight": Shown(
        status=409, title="The same key is at work right now", detail="nothing was done", retryable=True, retry_after=1,
        next="Wait and send the identical request again: it gets the first result."),
    "settling": Shown(
        status=409, title="The first attempt broke off, and the tool is being asked", detail="the outcome is not known yet",
        retryable=True, retry_after=2,
        next="Send the identical request again with the same key: it gets the outcome, or runs if there was none."),
    "outcome-unknown": Shown(
        status=409, title="Nobody knows whether the tool acted", detail="the first attempt broke off",
        next="Do not repeat it under a new key. An operator settles it: `aegis calls resolve`."),
    "tool-failed": Shown(
        status=502, title="The tool refused or could not be reached", detail="surely no effect", retryable=True,
        next="Mend the cause, then send the identical request again; the key is free."),
    "interrupted": Shown(
        status=504, title="The call broke off", detail="the tool makes a repetition safe", retryable=True, retry_after=1,
        next="Send the identical request again with the same key: it happens at most once."),
    "result-withheld": Shown(
        status=502, title="The result broke the tool's contract and is not shown",
        detail="a write was recorded as done and will not be repeated",
        next="Tell the tool's owner; the sealed record has the details."),
    "result-gone": Shown(
        status=410, title="The call was done, and its result is gone",
        detail="it was done once and is not repeated; what it returned was erased, or is no longer kept",
        next="Do not send it again. What the call changed, the tool itself can tell."),
    "busy": Shown(
        status=503, title="Too much at once", detail="nothing was done", retryable=True, retry_after=1,
        next="Slow down and send the identical request again."),
    "resource-busy": Shown(
        status=409, title="Another write to the same resource is under way", detail="nothing was done", retryable=True, retry_after=1,
        next="Wait and send the identical request again: writes to one resource go one after the other."),
    "resource-conflict": Shown(
        status=409, title="Another write to the same resource was first", detail="nothing was done", retryable=True, retry_after=5,
        next="Look at what the other request (`held_by`) does before sending this one again: it may no longer be wanted."),
    "run-conflict": Shown(
        status=409, title="The run does not stand so that this could be done", detail="nothing was done",
        next="Look at the run (`GET /v1/runs/{run}`, `aegis workflow show`): somebody may have done it, or it has ended."),
    "store-unavailable": Shown(
        status=503, title="The decision could not be recorded", detail="so nothing was done, or its outcome is not yet recorded",
        retryable=True, retry_after=5,
        next="Send the identical request again with the same key; what was done once is not done twice."),
    "unauthenticated": Shown(
        status=401, title="The credential was refused", detail="refused",
        next="Get a fresh token and send it as `Authorization: Bearer`."),
    "token-refused": Shown(
        status=403, title="No token is given out", detail="refused",
        next="Ask for what is held: the detail names what was refused. A delegation that has ended is asked for anew."),
    "forbidden": Shown(status=403, title="This identity may not do that", detail="refused", next="Ask the tenant's owner."),
    "malformed": Shown(status=400, title="The request is malformed", detail="refused", next="Mend the named place."),
    "too-large": Shown(status=413, title="The body is too large", detail="refused", next="Send less at once."),
    "headers-too-large": Shown(status=431, title="The headers are too large", detail="refused", next="Send fewer or smaller headers."),
    "timeout": Shown(status=408, title="The body came too slowly", detail="refused", next="Send the request again.", retryable=True),
    "unsupported-media-type": Shown(
        status=415, title="The body is of another type", detail="expected `application/json`",
        next="Send the body as the expected `Content-Type`, without a content encoding."),
    "not-found": Shown(status=404, title="Nothing here", detail="no such resource for this identity", next="Check the path and the id."),
    "method-not-allowed": Shown(status=405, title="This path takes another method", detail="refused", next="See `/openapi.json`."),
    "approval-refused": Shown(
        status=409, title="The answer does not count", detail="refused", next="`aegis approvals show` tells where the approval stands."),
    "unknown-message": Shown(
        status=422, title="There is no such message, or no such version of it", detail="refused, and kept as a dead letter",
        next="Send or accept a type and version that the detail names; the message's owner publishes others."),
    "version-mismatch": Shown(
        status=409, title="Producer and consumer do not speak the same version", detail="the message went to the dead letters",
        next="Upgrade the side that is behind; then an operator puts the message back: `aegis messages requeue`."),
    "lease-lost": Shown(
        status=409, title="The lease is over", detail="the message is no longer this consumer's",
        next="Drop what was done with it, or make that safe to repeat: the message is handed out again."),
    "task-lost": Shown(
        status=409, title="The task is no longer this worker's", detail="its lease ran out, or the run does not want it any more",
        next="Drop it. What was done is keyed by run and node: whoever has the task now meets it, and does nothing twice."),
    "internal": Shown(
        status=500, title="Aegis could not decide", detail="so nothing was done", next="Give the request id to the operator."),
}  # fmt: skip

ASSERT = "Sign a fresh assertion with a key of the agent that is in use, for `https://aegis/TENANT`, and send it once."
_PROVE = "Send `Authorization: DPoP TOKEN`, and in `DPoP` a fresh proof by the token's key for this method, address and token."
_AGREE = "Name the parent, run, task, agent and tenant that the token names, or leave them out where it names none."
_ADVICE = {
    **dict.fromkeys(("pop_required", "pop_invalid", "pop_stale", "pop_replayed"), _PROVE),
    **dict.fromkeys(
        ("parent_required", "parent_mismatch", "txn_mismatch", "task_mismatch", "agent_mismatch", "tenant_mismatch"), _AGREE
    ),
    **dict.fromkeys(
        ("unknown_tenant", "unknown_agent", "unknown_person", "agent_disabled", "role_not_held", "scope_not_held"),
        "Ask the tenant's owner: the directory does not grant what the token says. A fresh token says what it grants now.",
    ),
    **dict.fromkeys(
        ("not_mapped", "ambiguous", "unknown_issuer"),
        "Ask the tenant's owner: its `issuers.yaml` says whose tokens it takes, and what they stand for.",
    ),
    "no_client": "Send a `client_assertion` that the agent signed. Only a token of another issuer that stands for an agent needs none.",
}
"""What helps where a credential was refused, by reason; a fresh token helps with the rest."""


def advice(reason: str) -> str:
    """What to do next about a credential that was refused for this reason; empty where the table says it."""
    return _ADVICE.get(reason, "")


_KINDS = {
    Kind.DENIED: "policy-violation",
    Kind.HELD: "approval-needed",
    Kind.SETTLING: "settling",
    Kind.IN_FLIGHT: "in-flight",
    Kind.UNKNOWN: "outcome-unknown",
    Kind.FAILED: "tool-failed",
    Kind.INTERRUPTED: "interrupted",
    Kind.WITHHELD: "result-withheld",
    Kind.GONE: "result-gone",
    Kind.BUSY: "busy",
}


def problem(
    code: str, *, detail: str = "", request_id: str = "", field: str = "", status: int = 0, advice: str = "", **more: Any
) -> Problem:
    """A problem of the table; `detail`, `advice` (what to do next) and `more` make it concrete."""
    row = TABLE[code]
    return Problem(
        type=PREFIX + code, title=row.title, status=status or row.status, detail=detail or row.detail, code=code,
        request_id=request_id, field=field, retryable=row.retryable, retry_after_seconds=row.retry_after,
        next=advice or row.next, **more,
    )  # fmt: skip


def of_answer(answer: Answer, origin: str) -> Problem:
    """The problem of a call that was not carried out as asked."""
    code = _code(answer)
    decision = answer.decision
    more: dict[str, Any] = {"repeat_of": answer.repeat_of}
    if answer.seq >= 0:
        more["audit"] = {"origin": origin, "seq": answer.seq}
    if decision is not None:
        more |= _decided(decision)
    if answer.holder is not None:
        more["held_by"] = {"request_id": answer.holder.request_id, "agent_id": answer.holder.agent_id}
    if answer.approval is not None:
        more["approval_id"] = answer.approval.approval_id
    advice = _advice(decision) if code in ("policy-violation", "contract-violation") and decision is not None else ""
    return problem(code, detail=_detail(answer, code), request_id=answer.request_id, advice=advice, **more)


def _advice(decision: Decision) -> str:
    """What to do next, where the caller cannot mend it."""
    if any(rule.startswith("tool#") for rule in decision.rules):
        return _UNTRUSTED
    if any(r.field == "tool" and r.rule.endswith("#contract") for r in decision.reasons):
        return _UNLISTED
    return _UNDECIDED if _undecided(decision) else ""


def _undecided(decision: Decision) -> bool:
    """Whether it was denied because the gateway lacked something, and not because a rule spoke against the call."""
    return any(rule.startswith(LACKS) and not rule.endswith("#input") for rule in decision.rules)


def _decided(decision: Decision) -> dict[str, Any]:
    first = decision.reasons[0] if decision.reasons else None
    return {
        "decision": str(decision.outcome),
        "rules": decision.rules,
        "policy_version": decision.policy.version,
        "reasons": tuple(ReasonView(rule=r.rule, text=r.text, field=r.field, limit=public(r.limit)) for r in decision.reasons),
        "approval_id": decision.approval_id,
        "rule": first.rule if first else "",
        "field": first.field if first else "",
        "limit": public(first.limit) if first else None,
    }


def _code(answer: Answer) -> str:
    if answer.holder is not None:
        return "resource-busy" if answer.reason == BUSY else "resource-conflict"
    if answer.kind is Kind.CONFLICT:
        return "request-id-reused" if answer.reason == "request_id_reused" else "idempotency-key-reused"
    if answer.kind is Kind.DENIED and answer.decision is not None:
        broken = ("#contract", "#unknown", "#version", "#idempotency-key")
        if any(rule.endswith(broken) for rule in answer.decision.rules):
            return "contract-violation"
    return _KINDS[answer.kind]


def _words(limit: Any) -> str:
    """A limit as the policy writes it."""
    return str(limit).lower() if isinstance(limit, bool) else str(limit)


def _detail(answer: Answer, code: str) -> str:
    decision = answer.decision
    if code in ("policy-violation", "contract-violation", "approval-needed") and decision is not None and decision.reasons:
        first = decision.reasons[0]
        where = f" at `{first.field}`" if first.field else ""
        against = f" (limit {_words(public(first.limit))})" if first.limit is not None else ""
        why = f": {first.text}" if first.text else ""
        return f"rule `{first.rule}`{where}{against}{why}"
    if answer.holder is not None:
        return f"nothing was done: request `{answer.holder.request_id}` of `{answer.holder.agent_id}` has it"
    if code in ("tool-failed", "interrupted", "result-withheld", "result-gone", "outcome-unknown", "settling"):
        status = f", status {answer.upstream_status}" if answer.upstream_status else ""
        return f"{TABLE[code].detail} ({answer.reason}{status})"
    return ""
