"""What the clients say and understand, without any I/O: both transports share it."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson
from msgspec import Struct

from aegis.errors import ApprovalPending, GatewayError, PolicyViolation
from aegis.sdk import tracing

UNAUTHENTICATED = 401
_OVER = frozenset(f"refused: {reason}" for reason in ("expired", "revoked", "ancestor_revoked", "key_retired", "unknown_kid"))


class Message(Struct, frozen=True, kw_only=True):
    """One HTTP request to the gateway."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""


class Called(Struct, frozen=True, kw_only=True):
    """A call that was carried out. `repeated` tells that this is the recorded result of an earlier identical request."""

    result: Any
    request_id: str
    decision: str
    policy_version: str = ""
    approval_id: str = ""
    repeated: bool = False


class Decided(Struct, frozen=True, kw_only=True):
    """A permit for a caller that enforces by itself: act on `arguments`, edit the result by `redact`, report the outcome.

    When `finished`, the call of this key was carried out before: take `result` and do not act again.
    """

    arguments: dict[str, Any]
    request_id: str
    decision: str
    redact: tuple[dict[str, str], ...] = ()
    approval_id: str = ""
    repeated: bool = False
    finished: bool = False
    result: Any = None


def ask(
    path: str,
    body: Mapping[str, Any],
    *,
    key: str = "",
    request_id: str = "",
    parent: tuple[str, str] | None = None,
    override: str = "",
    traceparent: str = "",
) -> Message:
    """A POST with the headers and members that go with it, but for what proves who asks. `parent` is (agent id, request id).

    Without a `traceparent` it belongs to the span that is current in this process, if any.
    """
    content = dict(body)
    if parent is not None:
        content |= {"parent_agent_id": parent[0], "parent_request_id": parent[1]}
    headers = {"content-type": "application/json"}
    given = {"idempotency-key": key, "aegis-request-id": request_id, "aegis-override": override}
    given["traceparent"] = traceparent or tracing.current()
    headers |= {name: value for name, value in given.items() if value}
    return Message(method="POST", path=path, headers=headers, body=orjson.dumps(content))


def get(path: str) -> Message:
    """A GET."""
    return Message(method="GET", path=path, headers={})


def tool_path(tool: str, *more: str) -> str:
    """`/v1/tools/{tool}/...`, with the name in safe form."""
    return "/".join(("/v1/tools", quote(tool, safe=""), *more))


def understood(status: int, body: bytes) -> dict[str, Any]:
    """The answer's members, or the error that stands for the refusal.

    Raises:
        PolicyViolation: Denied by a rule or the contract.
        ApprovalPending: Held for a person.
        GatewayError: Everything else.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise GatewayError(f"the gateway answered status {status} without a JSON object")
    if 200 <= status < 300:
        return value
    code, detail = value.get("code", ""), str(value.get("detail", value.get("title", "")))
    if code in ("policy-violation", "contract-violation"):
        raise PolicyViolation(detail, value)
    if code == "approval-needed":
        wait = float(value.get("retry_after_seconds", 5))
        raise ApprovalPending(detail, str(value.get("approval_id", "")), wait, value)
    raise GatewayError(f"{code}: {detail}" if code else f"status {status}", value)


def over(status: int, body: bytes) -> bool:
    """Whether the token was refused because its time is over: taken back, or its key is. Nothing was done; a fresh one may do."""
    if status != UNAUTHENTICATED:
        return False
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(value, dict) and value.get("detail") in _OVER


def called(value: Mapping[str, Any]) -> Called:
    """The answer to a call."""
    return Called(
        result=value["result"],
        request_id=value["request_id"],
        decision=value["decision"],
        policy_version=value.get("policy_version", ""),
        approval_id=value.get("approval_id", ""),
        repeated=bool(value.get("repeat_of")),
    )


def decided(value: Mapping[str, Any]) -> Decided:
    """The answer to a decision."""
    return Decided(
        arguments=value["arguments"],
        request_id=value["request_id"],
        decision=value["decision"],
        redact=tuple(value.get("redact", ())),
        approval_id=value.get("approval_id", ""),
        repeated=bool(value.get("repeat_of")),
        finished=value.get("state") == "done",
        result=value.get("result"),
    )
