"""The OpenAPI document, made from the wire types themselves so that it cannot drift from them."""

from typing import Any

import msgspec

from aegis.crypto.webhook import ID, SIGNATURE, TIMESTAMP
from aegis.surfaces.gateway import envelope, plans, runwire, taskwire, wire
from aegis.surfaces.gateway.tokens import FIELDS

_TYPES = (
    wire.CallBody, wire.DecideBody, wire.OutcomeBody, wire.AnswerBody, wire.CallView, wire.DecideView, wire.ToolView,
    wire.ApprovalView, wire.DelegationBody, wire.DelegationView, wire.TokenView, wire.Problem, *envelope.TYPES,
    *taskwire.TYPES, *plans.TYPES, *runwire.TYPES,
)  # fmt: skip
_REFUSED = {"400", "401", "403", "404", "405", "409", "413", "415", "422", "431", "500", "502", "503", "504", "408"}
_OF_STEPS = {
    "retry": "New attempts for a step that is parked, or for a compensation that failed",
    "requeue": "The same, as an action of its own for policy",
    "edit": "The same with other arguments",
    "discard": "Give a parked step up",
    "settle": "Say that a person has undone by hand what a compensation could not",
}


def document() -> dict[str, Any]:
    """OpenAPI 3.1 of everything that the gateway answers."""
    _, components = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Aegis gateway", "version": "1",
            "description": "Agents call tools through here. Refusals are RFC 9457 problem details.",
        },
        "security": [{"bearer": []}, {"dpop": []}],
        "paths": _paths(),
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "dpop": {"type": "http", "scheme": "dpop", "bearerFormat": "JWT"},
            },
        },
    }  # fmt: skip


def _paths() -> dict[str, Any]:
    key = _header("Idempotency-Key", "Required for writes: the same key does the action once.", required=False)
    rid = _header("Aegis-Request-Id", "Your own id for this request, unique in the tenant.", required=False)
    override = _header("Aegis-Override", "The one-time token of an approval.", required=False)
    listed = {"type": "object", "required": ["tools"], "properties": {"tools": _array("ToolView")}}
    held = {"type": "object", "required": ["approvals"], "properties": {"approvals": _array("ApprovalView")}}
    story = {
        "type": "object", "required": ["request_id", "agent_id", "events"],
        "properties": {
            "request_id": {"type": "string"}, "agent_id": {"type": "string"},
            "events": {"type": "array", "items": {"type": "object"}},
        },
    }  # fmt: skip
    reported = {
        "type": "object", "required": ["request_id", "state"],
        "properties": {"request_id": {"type": "string"}, "state": {"enum": ["done", "reopened"]}},
    }  # fmt: skip
    state = {
        "name": "state", "in": "query", "required": False, "description": "Which approvals; `pending` unless given.",
        "schema": {"enum": ["all", "pending", "approved", "denied", "expired", "used", "withdrawn"]},
    }  # fmt: skip
    limit = {
        "name": "limit", "in": "query", "required": False, "description": "How many at most; 200 unless given.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 200},
    }  # fmt: skip
    after = {
        "name": "after", "in": "query", "required": False, "description": "The last approval of the page before.",
        "schema": {"type": "string"},
    }  # fmt: skip
    return {
        "/v1/tools/{tool}/call": {"post": _operation(
            "Call a tool", _ref("CallView"), body="CallBody", parameters=[_part("tool"), key, rid, override])},
        "/v1/decide": {"post": _operation(
            "Decide, for a caller that enforces by itself", _ref("DecideView"), body="DecideBody",
            parameters=[key, rid, override])},
        "/v1/decide/{request_id}/outcome": {"post": _operation(
            "Report what came of a decided call", reported, body="OutcomeBody", parameters=[_part("request_id")])},
        "/v1/token": {"post": _token()},
        "/v1/delegations": {"post": _operation(
            "Hand a task down", _ref("DelegationView"), body="DelegationBody", parameters=[rid])},
        "/v1/delegations/{request_id}/end": {"post": _operation(
            "The task is over, and everything below it", reported, parameters=[_part("request_id")])},
        "/v1/tools": {"get": _operation("The tools that the token opens", listed)},
        "/v1/tools/{tool}": {"get": _operation("One tool with its contract", _ref("ToolView"), parameters=[_part("tool")])},
        "/v1/approvals": {"get": _operation("What waits for people", held, parameters=[state, limit, after])},
        "/v1/approvals/{approval_id}": {"get": _operation(
            "Where an approval stands", _ref("ApprovalView"), parameters=[_part("approval_id")])},
        "/v1/approvals/{approval_id}/answer": {"post": _operation(
            "Answer with a signed statement", _ref("ApprovalView"), body="AnswerBody", parameters=[_part("approval_id")])},
        "/v1/channels/{tenant}/{channel}/answers": {"post": _over_a_channel()},
        "/v1/requests/{request_id}": {"get": _operation(
            "What the journal holds of a request", story, parameters=[_part("request_id")])},
        "/v1/plans": {"post": _operation(
            "Submit a plan; its run begins if the gates let it pass", _ref("PlanView"), body="PlanBody", parameters=[key, rid])},
        "/v1/plans/{plan_id}": {"get": _operation("Where a plan stands", _ref("PlanView"), parameters=[_part("plan_id")])},
        "/v1/runs": {"get": _operation("Runs of workflows, newest first", _ref("RunsView"), parameters=[
            _asked("workflow"), _asked("state"), _asked("limit"), _asked("after")])},
        "/v1/runs/{run}": {"get": _operation(
            "Where a run stands, step by step", _ref("OneRun"), parameters=[_part("run"), _asked("values")])},
        "/v1/runs/{run}/events": {"get": _operation(
            "What the journal holds of a run", story, parameters=[_part("run"), _asked("after")])},
        "/v1/runs/{run}/cancel": {"post": _operation(
            "End a run and undo what it did", _ref("Operated"), body="OperateBody", parameters=[_part("run"), key, rid])},
        "/v1/runs/{run}/signal": {"post": _operation(
            "Say that what a step waits for has happened", _ref("Operated"), body="SignalBody",
            parameters=[_part("run"), key, rid])},
        **{f"/v1/runs/{{run}}/steps/{{node}}/{name}": {"post": _operation(
            what, _ref("Operated"), body="OperateBody", parameters=[_part("run"), _part("node"), key, rid])}
            for name, what in _OF_STEPS.items()},
        "/v1/messages": {"post": _operation(
            "Send a message in a CloudEvents 1.0 envelope", _ref("SentView"), body="Envelope", status="202",
            parameters=[key, rid, override])},
        "/v1/messages/lease": {"post": _operation("Take the next message", _ref("ReceivedView"), body="LeaseBody")},
        "/v1/messages/{message_id}/ack": {"post": _operation(
            "Say that a message is done with", _ref("SettledView"), body="AckBody", parameters=[_part("message_id")])},
        "/v1/messages/{message_id}/nack": {"post": _operation(
            "Give a message back", _ref("SettledView"), body="NackBody", parameters=[_part("message_id")])},
        "/v1/queues/{queue}/lease": {"post": _operation(
            "Take the next task of an owned queue", _ref("TaskLeaseView"), body="TaskLeaseBody", parameters=[_part("queue")])},
        "/v1/tasks/{task_id}/heartbeat": {"post": _operation(
            "Keep a task, and renew its credential", _ref("HeartbeatView"), body="HeartbeatBody", parameters=[_part("task_id")])},
        "/v1/tasks/{task_id}/complete": {"post": _operation(
            "Say that a task is done", _ref("TaskEndView"), body="CompleteBody", parameters=[_part("task_id")])},
        "/v1/tasks/{task_id}/fail": {"post": _operation(
            "Say that a task came to nothing", _ref("TaskEndView"), body="FailBody", parameters=[_part("task_id")])},
        "/healthz": {"get": _plain("The process lives", "200")},
        "/readyz": {"get": _plain("The gateway can decide and record", "200", "503")},
        "/metrics": {"get": _plain("Prometheus metrics", "200")},
        "/openapi.json": {"get": _plain("This document", "200")},
    }  # fmt: skip


def _operation(
    summary: str, answer: dict[str, Any], *, body: str = "", parameters: list[dict[str, Any]] | None = None, status: str = "200"
) -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": _ref("Problem")}}
    responses: dict[str, Any] = {status: {"description": summary, "content": {"application/json": {"schema": answer}}}}
    responses |= {code: {"description": "Refused; the body says why and what to do", "content": problem} for code in _REFUSED}
    operation: dict[str, Any] = {"summary": summary, "responses": dict(sorted(responses.items()))}
    if parameters:
        operation["parameters"] = parameters
    if body:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(body)}}}
    return operation


def _token() -> dict[str, Any]:
    """The token endpoint: a form, and no `Authorization`."""
    form = {"type": "object", "required": ["grant_type"], "properties": {name: {"type": "string"} for name in sorted(FIELDS)}}
    body = {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": form}}}
    dpop = _header("DPoP", "Binds the token to the key of this proof (RFC 9449).", required=False)
    return {**_operation("Get an access token", _ref("TokenView"), parameters=[dpop]), "requestBody": body, "security": []}


def _over_a_channel() -> dict[str, Any]:
    """A statement in a signed webhook, and no `Authorization`."""
    signed = [_header(name, "As Standard Webhooks says.", required=True) for name in (ID, TIMESTAMP, SIGNATURE)]
    parameters = [_part("tenant"), _part("channel"), *signed]
    summary = "Answer with a signed statement, over a channel"
    return {**_operation(summary, _ref("ApprovalView"), body="AnswerBody", parameters=parameters), "security": []}


def _plain(summary: str, *statuses: str) -> dict[str, Any]:
    return {"summary": summary, "security": [], "responses": {status: {"description": summary} for status in statuses}}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _array(name: str) -> dict[str, Any]:
    return {"type": "array", "items": _ref(name)}


def _part(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _asked(name: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": {"type": "string"}}


def _header(name: str, why: str, *, required: bool) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": required, "description": why, "schema": {"type": "string"}}
