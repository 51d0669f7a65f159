"""The span of each work that the gate does, made of what its event is made of. Names stand in `model.conventions`."""

from datetime import datetime
from functools import lru_cache
from urllib.parse import urlsplit

from aegis.model import conventions as names
from aegis.model.approval import Approval
from aegis.model.call import Call
from aegis.model.contract import OWN, Contract
from aegis.model.decision import Decision
from aegis.model.message import MessageContract
from aegis.model.proposal import Proposal
from aegis.model.span import Kind, Span, Value, Work
from aegis.runtime.record import text
from aegis.runtime.tenant import Tenant
from aegis.runtime.trace import Trace

UNKNOWN = "unknown"


def micros(time: datetime) -> int:
    """Microseconds since 1970."""
    return round(time.timestamp() * 1_000_000)


def decision_span(
    trace: Trace,
    tenant: Tenant,
    proposal: Proposal,
    made: Decision,
    *,
    now: datetime,
    latency_us: int,
    door: str,
    event_id: str,
    seq: int = -1,
    approval: Approval | None = None,
    repeated: str = "",
    repeat_of: str = "",
    to: str = "",
) -> Span:
    """The span of a decision. `approval` is the one that was read; `to` is the agent that a task was handed to.

    `repeated` is what the caller was told instead, when the request came again; then `repeat_of` is the first one.
    """
    principal, end, contract = proposal.principal, micros(now), tenant.contracts.get(proposal.tool)
    deciding = tenant.enforced or tenant.shadow
    attributes: dict[str, Value] = {
        names.OPERATION: names.EXECUTE_TOOL,
        names.TENANT: principal.tenant,
        names.AGENT_ID: principal.agent_id,
        names.TOOL_NAME: text(proposal.tool),
        names.REQUEST_ID: proposal.request_id,
        names.DOOR: door,
        names.AUDIT_EVENT: event_id,
        names.DECISION: str(made.outcome),
        names.RULE: made.rules,
        names.POLICY_NAME: made.policy.name,
        names.POLICY_VERSION: made.policy.version,
        names.ENFORCED: deciding is None or not deciding.policy.shadow,
        **_present(
            (names.APPROVAL_ID, made.approval_id),
            (names.SHADOW_RULE, made.shadow),
            (names.RUN_ID, text(principal.txn)),
            (names.EFFECT, contract.effect if contract else ""),
            (names.REPEAT_OF, repeat_of),
            (names.REPEATED, repeated),
            (names.TO, to),
        ),
    }
    if seq >= 0:
        attributes[names.AUDIT_SEQ] = seq
    if principal.parent:
        attributes[names.PARENT_REQUEST_ID] = text(principal.parent.request_id)
        attributes[names.PARENT_AGENT_ID] = principal.parent.agent_id
    if made.permits and contract is not None and not repeated:
        attributes[names.COST] = contract.cost_micros
    return _span(
        Work.DECISION,
        names.GUARDRAIL,
        principal.tenant,
        trace,
        end - latency_us,
        end,
        attributes,
        tool=proposal.tool if contract is not None or proposal.tool.startswith(OWN) else UNKNOWN,
        agent=principal.agent_id,
        result=str(made.outcome),
        links=link(approval.traceparent) if approval and made.approval_id == approval.approval_id else (),
    )


def upstream_span(
    trace: Trace,
    contract: Contract,
    proposal: Proposal,
    *,
    now: datetime,
    duration_us: int,
    result: str,
    outcome: str,
    reason: str,
    status: int,
    event_id: str,
    approval_id: str = "",
    to: tuple[str, ...] = (),
) -> Span:
    """The span of a conversation with a tool. `outcome` is the state that the journal gives the call by it."""
    end, kind = micros(now), Kind.CLIENT
    attributes: dict[str, Value] = {
        names.TENANT: contract.tenant,
        names.AGENT_ID: proposal.principal.agent_id,
        names.TOOL_NAME: contract.name,
        names.REQUEST_ID: proposal.request_id,
        names.AUDIT_EVENT: event_id,
        names.OUTCOME: outcome,
        names.EFFECT: contract.effect,
        **_present((names.APPROVAL_ID, approval_id), (names.RUN_ID, text(proposal.principal.txn))),
    }
    if isinstance(contract, MessageContract):
        kind, name = Kind.PRODUCER, f"send {contract.type}"
        attributes |= {
            names.MESSAGING_SYSTEM: "aegis",
            names.MESSAGING_OPERATION: "send",
            names.MESSAGING_OPERATION_TYPE: "send",
            names.MESSAGING_DESTINATION: contract.type,
            names.TO: to,
        }
    else:
        operation = contract.operations["call"]
        template = "/" + "/".join(f"{{{each.argument}}}" if each.argument else each.text for each in operation.path)
        name = f"{operation.method} {template}"
        host, port = _server(contract.upstream.url)
        attributes |= {
            names.HTTP_METHOD: operation.method,
            names.URL_TEMPLATE: template,
            names.SERVER_ADDRESS: host,
            names.SERVER_PORT: port,
        }
        if status:
            attributes[names.HTTP_STATUS] = status
    return _span(
        Work.UPSTREAM,
        name,
        contract.tenant,
        trace,
        end - duration_us,
        end,
        attributes,
        kind=kind,
        tool=contract.name,
        agent=proposal.principal.agent_id,
        result=result,
        error=reason,
    )


def approval_span(trace: Trace, approval: Approval, *, now: datetime, event_id: str) -> Span:
    """The span of a wait for people, from the moment the request was held to the answer that ended it.

    Who answered is told by the event of this id, and nowhere else.
    """
    return _span(
        Work.APPROVAL,
        names.WAIT,
        approval.tenant,
        trace,
        micros(approval.created_at),
        micros(now),
        {
            names.TENANT: approval.tenant,
            names.AGENT_ID: approval.agent_id,
            names.TOOL_NAME: text(approval.tool),
            names.REQUEST_ID: approval.request_id,
            names.APPROVAL_ID: approval.approval_id,
            names.AUDIT_EVENT: event_id,
            names.OUTCOME: str(approval.state),
            names.RULE: approval.rules,
        },
        tool=approval.tool,
        agent=approval.agent_id,
        result=str(approval.state),
    )


def settle_span(trace: Trace, tenant: str, call: Call, *, now: datetime, event_id: str, state: str, reason: str, by: str) -> Span:
    """The span of a settlement, from the decision to the moment when it was known what came of the call."""
    return _span(
        Work.SETTLE,
        names.SETTLE,
        tenant,
        trace,
        micros(call.at),
        micros(now),
        {
            names.TENANT: tenant,
            names.AGENT_ID: call.agent_id,
            names.TOOL_NAME: text(call.tool),
            names.REQUEST_ID: call.request_id,
            names.AUDIT_EVENT: event_id,
            names.OUTCOME: state,
            **_present((names.RUN_ID, text(call.txn))),
        },
        tool=call.tool,
        agent=call.agent_id,
        result=state,
        error="" if state == "done" else reason if by == "recovery" else "",
    )


def call_span(
    trace: Trace,
    *,
    now: datetime,
    duration_us: int,
    tenant: str,
    agent: str,
    tool: str,
    known: bool,
    method: str,
    route: str,
    status: int,
    request_id: str,
    outcome: str,
    problem: str = "",
    links: tuple[tuple[str, str], ...] = (),
) -> Span:
    """The span of a whole request. `problem` is the code of its refusal; who is a person is not named."""
    end = micros(now)
    attributes: dict[str, Value] = {
        names.TENANT: tenant,
        names.HTTP_METHOD: method,
        names.HTTP_ROUTE: route,
        names.HTTP_STATUS: status,
        names.REQUEST_ID: request_id,
        **_present((names.AGENT_ID, agent), (names.TOOL_NAME, text(tool)), (names.OUTCOME, outcome)),
    }
    name = f"{method} {route}"
    if tool and known:
        attributes[names.OPERATION] = names.EXECUTE_TOOL
        name = f"{names.EXECUTE_TOOL} {tool}"
    return _span(
        Work.CALL,
        name,
        tenant,
        trace,
        end - duration_us,
        end,
        attributes,
        kind=Kind.SERVER,
        tool=tool if known else UNKNOWN if tool else "",
        agent=agent,
        result=outcome,
        error=problem,
        links=links,
    )


def _span(
    work: Work,
    name: str,
    tenant: str,
    trace: Trace,
    start_us: int,
    end_us: int,
    attributes: dict[str, Value],
    *,
    kind: Kind = Kind.INTERNAL,
    tool: str = "",
    agent: str = "",
    result: str = "",
    error: str = "",
    links: tuple[tuple[str, str], ...] = (),
) -> Span:
    return Span(
        work=work,
        name=name,
        tenant=tenant,
        trace_id=trace.trace_id,
        span_id=trace.span_id,
        parent_id=trace.parent_id,
        flags=trace.flags,
        start_us=min(start_us, end_us),  # the clock may have been set back meanwhile
        end_us=end_us,
        attributes=attributes,
        kind=kind,
        tool=tool,
        agent=agent,
        result=result,
        error=error,
        links=links,
    )


def _present(*pairs: tuple[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in pairs if value}


def link(traceparent: str) -> tuple[tuple[str, str], ...]:
    """A link to the span of a traceparent of ours; none when there is none."""
    return ((traceparent[3:35], traceparent[36:52]),) if traceparent else ()


@lru_cache(maxsize=1024)
def _server(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
