"""What travels over HTTP: the bodies of requests and answers, and the one table of refusals.

Bodies are parsed strictly (`crypto.ijson`) before they are put into these shapes, so an unknown member, a duplicate key or a
number as text never gets through.
"""

from typing import Annotated, Any, Literal, TypeVar

from msgspec import Meta, Struct, convert
from msgspec import ValidationError as ShapeError

from aegis.crypto import ijson
from aegis.errors import InputError

Shape = TypeVar("Shape", bound=Struct)
ToolName = Annotated[str, Meta(pattern="^[a-z][a-z0-9_-]*(\\.[a-z0-9_-]+)*$", max_length=128)]
Version = Annotated[str, Meta(pattern="^([0-9]+\\.[0-9]+\\.[0-9]+)?$", max_length=64)]
Id = Annotated[str, Meta(pattern="^[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}$")]


class CallBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`POST /v1/tools/{tool}/call`. The parent members are required exactly when the token is delegated.

    `txn` and `task` need not be sent; if they are, they must be those of the token.
    """

    arguments: dict[str, Any]
    version: Version = ""
    parent_agent_id: str = ""
    parent_request_id: str = ""
    txn: str = ""
    task: str = ""


class DecideBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`POST /v1/decide`: as a call, for a caller that enforces by itself.

    Give `arguments`, or `http` with the request as the tool would receive it: then its parts are mapped back to arguments, and a
    part that the contract does not map is refused.
    """

    tool: ToolName
    arguments: dict[str, Any] | None = None
    http: "HttpRequest | None" = None
    version: Version = ""
    parent_agent_id: str = ""
    parent_request_id: str = ""
    txn: str = ""
    task: str = ""


class HttpRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An HTTP request to a tool, as a proxy saw it. `path` is the raw path, `query` the raw query without `?`."""

    method: str
    path: str
    query: str = ""
    headers: dict[str, str] = {}
    body: Any = None


class OutcomeBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/decide/{request_id}/outcome`: whether the effect happened, and what the tool answered."""

    done: bool
    result: Any = None


class AnswerBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/approvals/{approval_id}/answer`: the statement that the person signed (`approval+jwt`)."""

    statement: str


class DelegationBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """`POST /v1/delegations`: hand a task down to the agent `to`, or to oneself for a credential that is good for one task.

    Either `scopes` or `tools`, as in the claim `authz` of a token; with neither, all that the caller's token opens. An empty list
    is not the same as none: no scopes are refused, no tools open nothing.
    """

    to: Annotated[str, Meta(max_length=128)] = ""
    scopes: (
        Annotated[tuple[Annotated[str, Meta(min_length=1, max_length=256, pattern="^[^ ]+$")], ...], Meta(max_length=128)] | None
    ) = None
    tools: Any = None
    budget_micros: Annotated[int, Meta(ge=0, le=2**53 - 1)] | None = None
    ttl_seconds: Annotated[int, Meta(ge=1, le=300)] = 300
    task: Annotated[str, Meta(max_length=256, pattern="^[^ ]*$")] = ""
    max_depth: Annotated[int, Meta(ge=0, le=8)] = 8
    parent_agent_id: str = ""
    parent_request_id: str = ""
    txn: str = ""


class DelegationView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A task that was handed down. Give `delegation` to the agent `to` with the task; end the task by `request_id`."""

    request_id: str
    delegation: str
    to: str
    expires_in: int
    scopes: tuple[str, ...]
    depth: int
    txn: str
    task: str = ""
    tools: list[dict[str, Any]] | None = None
    budget_micros: int | None = None


class TokenView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An access token (RFC 6749, section 5.1). A delegated one names the parent that each call must name too."""

    access_token: str
    issued_token_type: str
    token_type: str
    expires_in: int
    scope: str
    agent_id: str
    parent_agent_id: str = ""
    parent_request_id: str = ""
    task: str = ""


class ReasonView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why: the rule, and the field and limit where they are known. Never the observed value."""

    rule: str
    text: str = ""
    field: str = ""
    limit: Any = None


class CallView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A call that was carried out. `repeat_of` is set when this is the recorded result of an earlier request."""

    request_id: str
    decision: str
    result: Any
    policy_version: str
    rules: tuple[str, ...]
    approval_id: str = ""
    repeat_of: str = ""


class DecideView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A decision that permits. The caller must act on `arguments`, not on its own, and must edit the result by `redact`.

    `state` is `decided`, or `done` when the call of this key was carried out before: then `result` is what came of it, and the
    caller must not act again.
    """

    request_id: str
    decision: str
    arguments: dict[str, Any]
    policy_version: str
    rules: tuple[str, ...]
    redact: tuple[dict[str, str], ...] = ()
    approval_id: str = ""
    repeat_of: str = ""
    state: Literal["decided", "done"] = "decided"
    result: Any = None


class ToolView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A tool that the caller's token opens."""

    name: str
    version: str
    digest: str
    effect: str
    description: str = ""
    input: Any = None


class ApprovalView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An approval as its requester or an approver may see it; `arguments` and `shown` only for an approver.

    `run`, `workflow`, `step`, `plan` (digests with their names) and `findings` tell of the run that waits, if one does. `automatic`
    are those of `approved_by` that are guardrails.
    """

    approval_id: str
    state: str
    tool: str
    agent_id: str
    request_id: str
    request_hash: str
    created_at: str
    expires_at: str
    approvers: tuple[tuple[str, ...], ...]
    quorum: int
    approved_by: tuple[str, ...]
    reason: str = ""
    arguments: Any = None
    shown: str = ""
    override_token: str = ""
    run: str = ""
    workflow: str = ""
    definition: str = ""
    step: str = ""
    plan: str = ""
    findings: tuple[str, ...] = ()
    escalated: bool = False
    automatic: tuple[str, ...] = ()


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A refusal, as RFC 9457 says: stable `type`, and what to do `next`.

    `retryable` tells a program whether the same request can ever succeed as it is. `held_by` is the
    request, and its agent, whose write has the resource.
    """

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    request_id: str = ""
    decision: str = ""
    rule: str = ""
    field: str = ""
    limit: Any = None
    rules: tuple[str, ...] = ()
    reasons: tuple[ReasonView, ...] = ()
    policy_version: str = ""
    approval_id: str = ""
    retry_after_seconds: int = 0
    repeat_of: str = ""
    held_by: dict[str, str] | None = None
    next: str = ""
    audit: dict[str, Any] | None = None


def body(data: bytes, shape: type[Shape], *, max_depth: int, max_size_bytes: int) -> Shape:
    """Parse and shape a request body, or `InputError` with the place."""
    value = ijson.parse(data, max_depth=max_depth, max_size_bytes=max_size_bytes)
    try:
        return convert(value, shape, strict=True)
    except ShapeError as error:
        what, _, place = str(error).partition(" - at `$")
        raise InputError(what, place.rstrip("`").replace(".", "/").replace("[", "/").replace("]", "")) from None
