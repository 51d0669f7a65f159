"""From a request to an ask, and from its answer to the caller: what every path that has something done shares."""

from typing import Any

from aegis.identity.token import Statement
from aegis.model.approval import Refused
from aegis.model.decision import Stage
from aegis.model.principal import Principal
from aegis.runtime.ask import Answer, Ask, Kind
from aegis.surfaces.gateway import http, wire
from aegis.surfaces.gateway.problems import of_answer, problem
from aegis.surfaces.gateway.views import approval_view, call_view, decide_view

OK = 200


def shaped(gateway: Any, body: bytes, shape: type[wire.Shape]) -> wire.Shape:
    """The body in its shape, within what this gateway takes."""
    settings = gateway.app.settings.gateway
    return wire.body(body, shape, max_depth=settings.max_depth, max_size_bytes=settings.max_body_bytes)


def ask_of(gateway: Any, exchange: Any, who: Principal, name: str, arguments: dict[str, Any], version: str) -> Ask:
    """What the caller wants done, with the headers that go with it."""
    headers = exchange.request.headers
    exchange.tool = name
    key = headers.get("idempotency-key", "")
    if len(key) > 128 or not all(" " < char <= "~" for char in key):
        raise http.refuse("malformed", "header `idempotency-key`: expected at most 128 visible ASCII characters")
    override_hash = ""
    if token := headers.get("aegis-override", ""):
        found = gateway.app.verifier.override(token, now=gateway.app.gate.clock.now())
        if found.tenant != who.tenant or found.agent_id != who.agent_id:
            raise http.refuse("unauthenticated", "refused: the override token is another agent's", reason="override_owner")
        override_hash = found.request_hash
    return Ask(
        principal=who,
        tool=name,
        arguments=arguments,
        version=version,
        idempotency_key=key,
        request_id=exchange.request_id,
        override_hash=override_hash,
        traceparent=exchange.trace.traceparent,
    )


async def taken(gateway: Any, exchange: Any, statement: Statement, text: str) -> tuple[int, Any]:
    """What becomes of a verified statement, whichever door it came through."""
    moved = await gateway.app.gate.desk.answer(statement, text, exchange.trace)
    if isinstance(moved, Refused):
        if moved.code == "approval_unknown":
            raise http.refuse("not-found", "no such approval")
        exchange.outcome = "approval_refused"
        return 409, problem("approval-refused", detail=f"{moved.code}: {moved.text}", request_id=exchange.request_id)
    return OK, approval_view(moved)


def told(gateway: Any, exchange: Any, said: Answer, *, enforced: bool = True) -> tuple[int, Any]:
    """The answer to an ask as status and body; the log and the metrics learn of it on the way."""
    exchange.request_id = said.request_id
    exchange.outcome = str(said.decision.outcome) if said.decision and said.kind is not Kind.BUSY else str(said.kind)
    exchange.rules = said.decision.rules if said.decision else ()
    if said.kind is Kind.DONE and enforced:
        return OK, call_view(said)
    if said.kind in (Kind.DECIDED, Kind.DONE):
        return OK, decide_view(said, Stage.RESPONSE)
    found = of_answer(said, gateway.audit_origin(exchange.tenant))
    return found.status, found
