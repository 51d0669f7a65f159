"""The paths of the gateway and what each does."""

from typing import Any

from aegis.errors import InputError
from aegis.model.approval import Approval, ApprovalState
from aegis.model.authority import covers
from aegis.model.operation import to_arguments
from aegis.model.principal import Principal
from aegis.runtime.recorded import events_of
from aegis.surfaces.gateway import channels, http, messages, plans, runs, tasks, tokens, wire
from aegis.surfaces.gateway.asking import OK, ask_of, shaped, taken, told
from aegis.surfaces.gateway.caller import Caller, agent
from aegis.surfaces.gateway.views import approval_view, request_view, tool_view

MOST = 200
"""So many approvals are told at once."""


def find(request: http.Request) -> tuple[Any, tuple[str, ...]]:
    """The handler of a request and the variable parts of its path."""
    allowed = []
    for (method, pattern), handler in ROUTES.items():
        found = _match(pattern, request.path)
        if found is None:
            continue
        if method == request.method:
            return handler, found
        allowed.append(method)
    if allowed:
        raise http.refuse("method-not-allowed", f"expected {' or '.join(sorted(allowed))}")
    raise http.refuse("not-found")


def label(request: http.Request) -> str:
    """The pattern of the request's path, for metrics: bounded, whatever callers send."""
    for _, pattern in ROUTES:
        if _match(pattern, request.path) is not None:
            return "/" + "/".join(pattern)
    return "other"


def _match(pattern: tuple[str, ...], path: tuple[str, ...]) -> tuple[str, ...] | None:
    if len(pattern) != len(path):
        return None
    if any(not want.startswith("{") and want != got for want, got in zip(pattern, path, strict=True)):
        return None
    return tuple(got for want, got in zip(pattern, path, strict=True) if want.startswith("{"))


async def call(gateway: Any, exchange: Any, caller: Caller, body: bytes, parts: tuple[str, ...]) -> tuple[int, Any]:
    """`POST /v1/tools/{tool}/call`."""
    who = agent(caller)
    asked = shaped(gateway, body, wire.CallBody)
    caller.agrees(asked.parent_agent_id, asked.parent_request_id, asked.txn, asked.task)
    ask = ask_of(gateway, exchange, who, _tool_name(parts[0]), asked.arguments, asked.version)
    return told(gateway, exchange, await gateway.app.gate.call(ask))


async def decide(gateway: Any, exchange: Any, caller: Caller, body: bytes, parts: tuple[str, ...]) -> tuple[int, Any]:  # noqa: ARG001
    """`POST /v1/decide`."""
    who = agent(caller)
    asked = shaped(gateway, body, wire.DecideBody)
    caller.agrees(asked.parent_agent_id, asked.parent_request_id, asked.txn, asked.task)
    arguments = asked.arguments
    if (arguments is None) == (asked.http is None):
        raise InputError("expected exactly one of `arguments` and `http`")
    if asked.http is not None:
        known = gateway.app.gate.tenant(who.tenant)
        wanted = (asked.tool, asked.version)
        contract = known.contracts.get(asked.tool)
        if contract is not None and asked.version:
            contract = next((c for c in known.by_digest.values() if (c.name, c.version) == wanted), None)
        if contract is None:
            raise InputError("no such tool or version", "/tool")
        seen = asked.http
        headers = {name.lower(): value for name, value in seen.headers.items()}
        if len(headers) != len(seen.headers):
            raise InputError("a header is named twice", "/http/headers")
        arguments = to_arguments(contract.operations["call"], seen.method, seen.path, seen.query, headers, seen.body)
    ask = ask_of(gateway, exchange, who, asked.tool, arguments or {}, asked.version)
    return told(gateway, exchange, await gateway.app.gate.decide(ask), enforced=False)


async def outcome(gateway: Any, exchange: Any, caller: Caller, body: bytes, parts: tuple[str, ...]) -> tuple[int, Any]:  # noqa: ARG001
    """`POST /v1/decide/{request_id}/outcome`."""
    who = agent(caller)
    said = shaped(gateway, body, wire.OutcomeBody)
    result = (said.result,) if said.done else ()
    if not await gateway.app.gate.report(who.tenant, who.agent_id, parts[0], done=said.done, result=result):
        raise http.refuse("not-found", "no decided call of this agent waits for its outcome under this id")
    return OK, {"request_id": parts[0], "state": "done" if said.done else "reopened"}


async def tools(gateway: Any, exchange: Any, caller: Caller, body: bytes, parts: tuple[str, ...]) -> tuple[int, Any]:  # noqa: ARG001
    """`GET /v1/tools`: the tools that the caller's token opens."""
    contracts = gateway.app.gate.tenant(caller.tenant).contracts
    visible = [c for name, c in sorted(contracts.items()) if caller.agent is None or _opens(caller.agent, name)]
    return OK, {"tools": [tool_view(contract, whole=False) for contract in visible]}


async def tool(gateway: Any, exchange: Any, caller: Caller, body: bytes, parts: tuple[str, ...]) -> tuple[int, Any]:  # noqa: ARG001
    """`GET /v1/tools/{tool}`: one tool with its contract."""
    contract = gateway.app.gate.tenant(caller.tenant).contracts.get(parts[0])
    if contract is None or (caller.agent is not None and not _opens(caller.agent, parts[0])):
        raise http.refuse("not-found")
    return OK, tool_view(contract, whole=True)


async def approvals(gateway: Any, exchange: Any, caller: Caller, body: bytes, parts: tuple[str, ...]) -> tuple[int, Any]:  # noqa: ARG001
    """`GET /v1/approvals?state=pending&limit=200&after=ID`: for people, newest first; `after` ended the page before."""
    if caller.agent is not None:
        raise http.refuse("forbidden", "only people list approvals; an agent asks for one by its id")
    wanted = exchange.request.query.get("state", "pending")
    if wanted != "all" and wanted not in set(ApprovalState):
        raise http.refuse("malformed", f"state: expected all, {', '.join(ApprovalState)}", field="state")
    state = None if wanted == "all" else ApprovalState(wanted)
    limit, after = _limit(exchange.request.query.get("limit", str(MOST))), exchange.request.query.get("after", "")
    found = await gateway.app.gate.desk.listed(caller.tenant, state, limit, after)
    return OK, {"approvals": [approval_view(approval) for approval in found]}


async def approval(gateway: Any, exchange: Any, caller: Caller, body: bytes, parts: tuple[str, ...]) -> tuple[int, Any]:  # noqa: ARG001
    """`GET /v1/approvals/{approval_id}`: the requester learns where it stands, a person sees the card."""
    desk = gateway.app.gate.desk
    found = await desk.find(caller.tenant, parts[0])
    if found is None or (caller.agent is not None and found[0].agent_id != caller.agent.agent_id):
        raise http.refuse("not-found")
    held = found[0]
    if caller.agent is not None:
        token = gateway.app.override_token(held, caller.agent) if held.state is ApprovalState.APPROVED else ""
        return OK, approval_view(held, override_token=token)
    if not _may_see(caller, held):
        raise http.refuse("not-found")
    return OK, approval_view(held, card=await desk.card(caller.tenant, held))


async def answer(gateway: Any, exchange: Any, caller: Caller, body: bytes, parts: tuple[str, ...]) -> tuple[int, Any]:
    """`POST /v1/approvals/{approval_id}/answer`: a person's signed statement."""
    if caller.agent is not None:
        raise http.refuse("forbidden", "agents do not answer approvals")
    gateway.app.require_fresh()
    said = shaped(gateway, body, wire.AnswerBody)
    statement = gateway.app.verifier.statement(said.statement, now=gateway.app.gate.clock.now())
    if statement.tenant != caller.tenant or statement.approval_id != parts[0] or statement.approver != caller.person:
        raise http.refuse("approval-refused", "the statement is for another approval, person or tenant")
    return await taken(gateway, exchange, statement, said.statement)


async def request(gateway: Any, exchange: Any, caller: Caller, body: bytes, parts: tuple[str, ...]) -> tuple[int, Any]:  # noqa: ARG001
    """`GET /v1/requests/{request_id}`: what the journal holds of a request; an agent sees its own."""
    events = await events_of(gateway.app.gate.store, caller.tenant, parts[0])
    view = request_view(parts[0], events, caller.agent.agent_id if caller.agent else "")
    if not view["events"]:
        raise http.refuse("not-found")
    return OK, view


def _tool_name(name: str) -> str:
    if len(name) > 128 or not all(part and part.replace("-", "").replace("_", "").isalnum() for part in name.split(".")):
        raise http.refuse("not-found", "no such tool")
    return name


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 4 and 1 <= int(text) <= MOST):
        raise http.refuse("malformed", f"limit: expected a whole number from 1 to {MOST}", field="limit")
    return int(text)


def _opens(who: Principal, name: str) -> bool:
    return any(covers(scope, name) for scope in who.scopes)


def _may_see(caller: Caller, held: Approval) -> bool:
    names = {caller.person, *(f"role:{role}" for role in caller.person_roles)}
    return any(names & set(group) for group in held.approver_sets)


ROUTES: dict[tuple[str, tuple[str, ...]], Any] = {
    ("POST", ("v1", "decide")): decide,
    ("POST", ("v1", "decide", "{request_id}", "outcome")): outcome,
    ("POST", ("v1", "tools", "{tool}", "call")): call,
    ("GET", ("v1", "tools")): tools,
    ("GET", ("v1", "tools", "{tool}")): tool,
    ("GET", ("v1", "approvals")): approvals,
    ("GET", ("v1", "approvals", "{approval_id}")): approval,
    ("POST", ("v1", "approvals", "{approval_id}", "answer")): answer,
    ("GET", ("v1", "requests", "{request_id}")): request,
    ("POST", ("v1", "token")): tokens.token,
    ("POST", ("v1", "channels", "{tenant}", "{channel}", "answers")): channels.answer,
    ("POST", ("v1", "delegations")): tokens.delegate,
    ("POST", ("v1", "delegations", "{request_id}", "end")): tokens.end,
    **messages.ROUTES,
    **tasks.ROUTES,
    **plans.ROUTES,
    **runs.ROUTES,
}
