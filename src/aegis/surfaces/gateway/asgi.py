"""The gateway over HTTP, as one bare ASGI application.

A request goes through `check` (framing and headers), the route, `caller` (who asks), the body, and then `enforce`. Whatever ends it
early is a problem document; a refusal of somebody who is not authenticated is counted in the system journal, a refusal of an
authenticated caller is an event of its tenant.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from time import perf_counter
from typing import Any

import msgspec
from msgspec import Struct

from aegis.app import App
from aegis.errors import AegisError, IdentityError, InputError, StoreBusyError, StoreError
from aegis.model.contract import OWN
from aegis.model.event import origin
from aegis.runtime import ids
from aegis.runtime.approval_rows import RUN_PREFIX
from aegis.runtime.spanning import call_span
from aegis.runtime.trace import Trace
from aegis.surfaces.gateway import channels, http, routes, tokens
from aegis.surfaces.gateway.caller import Caller, authenticate, confirm
from aegis.surfaces.gateway.metrics import Metrics
from aegis.surfaces.gateway.openapi import document
from aegis.surfaces.gateway.problems import ASSERT, advice, problem
from aegis.surfaces.gateway.wire import Problem

log = logging.getLogger("aegis.gateway")
REQUEST_ID = "aegis-request-id"
MAX_FORM = 64 * 1024


class Door(Struct, frozen=True, kw_only=True):
    """How those are told of a refusal who are known by what their body holds."""

    media: str
    refused: str
    rule: str
    advice: str = ""


SIGN = "Sign id, time and body with the secret of the channel, as Standard Webhooks says, and send it within five minutes."
TOKEN = Door(media=http.FORM, refused="token-refused", rule="token", advice=ASSERT)
STATEMENT = Door(media=http.JSON, refused="approval-refused", rule="statement", advice=SIGN)


class Exchange(Struct, kw_only=True):
    """One request on its way: what the log line, the metrics and the answer's headers need."""

    request: http.Request
    started: float
    request_id: str = ""
    tenant: str = ""
    agent_id: str = ""
    tool: str = ""
    outcome: str = ""
    rules: tuple[str, ...] = ()
    trace: Trace
    links: tuple[tuple[str, str], ...] = ()
    person: bool = False

    def headers(self) -> dict[str, str]:
        """Headers that every answer carries."""
        return {REQUEST_ID: self.request_id, "traceparent": self.trace.traceparent}


Handler = Callable[["Gateway", Exchange, Caller, bytes, tuple[str, ...]], Awaitable[tuple[int, Any]]]


class Gateway:
    """The ASGI application. `open_app` builds the parts when the server starts, so that a failure stops the start."""

    def __init__(self, open_app: Callable[[], Awaitable[App]]) -> None:
        self._open = open_app
        self._app: App | None = None
        self.failure: AegisError | None = None
        self._taken = 0
        self._forms = 0
        self.metrics = Metrics()
        self._openapi = msgspec.json.encode(document())

    @property
    def app(self) -> App:
        """The running parts; only valid between start and stop."""
        if self._app is None:
            raise StoreError("the gateway has not started")
        return self._app

    async def __call__(self, scope: http.Scope, receive: http.Receive, send: http.Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1003})

    async def _lifespan(self, receive: http.Receive, send: http.Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    self._app = await self._open()
                    self.metrics.attach(self._app)
                    await self._app.start()
                except Exception as error:
                    self.failure = error if isinstance(error, AegisError) else None
                    reason = f"{error.code}: {error}" if isinstance(error, AegisError) else f"{type(error).__name__}: {error}"
                    await send({"type": "lifespan.startup.failed", "message": reason})
                    return
                await send({"type": "lifespan.startup.complete"})
            else:
                if self._app is not None:
                    await self._app.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _http(self, scope: http.Scope, receive: http.Receive, send: http.Send) -> None:
        started = perf_counter()
        exchange: Exchange | None = None
        headers: Mapping[str, str] = {}
        try:
            request = http.check(scope)
            trace = Trace.continued(request.headers.get("traceparent", ""))
            exchange = Exchange(request=request, started=started, trace=trace)
            if await self._plain(request, send):
                return
            status, answer = await self._governed(exchange, receive)
        except http.RefusedError as refused:
            status, answer = refused.answer.status, refused.answer
            if exchange is None or not exchange.tenant:
                await self._noise(refused.reason, scope)
        except Exception as error:
            log.exception("unexpected", extra={"request_id": exchange.request_id if exchange else ""})
            answer = problem("internal", request_id=exchange.request_id if exchange else "")
            status, _ = answer.status, error
        if exchange is not None:
            headers = exchange.headers()
        if isinstance(answer, Problem):
            if exchange is not None and not answer.request_id:
                answer = msgspec.structs.replace(answer, request_id=exchange.request_id)
            await http.send_problem(send, answer, headers)
        else:
            await http.send_json(send, status, answer, headers)
        self._finished(exchange, status, started, answer.code if isinstance(answer, Problem) else "")

    async def _plain(self, request: http.Request, send: http.Send) -> bool:
        """Answer what needs no identity: liveness, readiness, metrics, the API's own description."""
        path = request.path
        if request.method not in ("GET", "HEAD") or len(path) != 1:
            return False
        if path[0] == "healthz":
            await http.send_text(send, 200, b"ok\n", "text/plain; charset=utf-8", {})
        elif path[0] == "readyz":
            why = await self.app.unready()
            if not self._operator(request):  # what the trouble is about may name a tenant
                why = [": ".join(each.split(": ", 2)[:2]) for each in why]
            text = "\n".join(why) if why else "ready"
            await http.send_text(send, 503 if why else 200, text.encode() + b"\n", "text/plain; charset=utf-8", {})
        elif path[0] == "metrics":
            operator = self._operator(request)
            if "authorization" in request.headers and not operator:
                raise http.refuse("unauthenticated", "refused: expected the key `monitor.token`", reason="monitor_token")
            content = await self.metrics.render(self.app, operator=operator)
            await http.send_text(send, 200, content, "text/plain; version=0.0.4; charset=utf-8", {})
        elif path[0] == "openapi.json":
            await http.send_text(send, 200, self._openapi, "application/json", {})
        else:
            return False
        return True

    async def _governed(self, exchange: Exchange, receive: http.Receive) -> tuple[int, Any]:
        request, settings = exchange.request, self.app.settings.gateway
        exchange.request_id = caller_request_id(request) or ids.new("req", self.app.gate.clock.now())
        found, arguments = routes.find(request)
        if found is tokens.token:
            return await self._stranger(exchange, receive, partial(tokens.token, self, exchange), TOKEN)
        if found is channels.answer:
            return await self._stranger(exchange, receive, partial(channels.answer, self, exchange, parts=arguments), STATEMENT)
        handler: Handler = found
        caller = authenticate(self.app, request)
        exchange.tenant, exchange.agent_id, exchange.person = caller.tenant, caller.name, caller.agent is None
        try:
            confirm(caller, request.headers)
            if request.method != "POST":
                await self._once(caller)
                return await handler(self, exchange, caller, b"", arguments)
            if caller.agent is not None and self._taken >= settings.max_in_flight:
                return 503, problem(
                    "busy", detail="too many requests are under way in this process", request_id=exchange.request_id
                )
            self._taken += 1
            try:
                body = await http.read_body(request, receive, limit=settings.max_body_bytes, seconds=settings.body_timeout_seconds)
                caller = authenticate(self.app, request)  # the body may have taken long: what was revoked meanwhile stays out
                await self._once(caller)
                if caller.agent is not None:
                    exchange.trace = await self.app.gate.trace_of(caller.agent, exchange.trace)
                return await handler(self, exchange, caller, body, arguments)
            finally:
                self._taken -= 1
        except InputError as error:
            place = f"`{error.path}`: " if error.path else ""
            raise await self._refused(exchange, problem("malformed", detail=f"{place}{error}", field=error.path)) from None
        except http.RefusedError as refused:
            raise await self._refused(exchange, refused.answer) from None
        except IdentityError as error:
            detail = f"{error.reason}: {error}" if str(error) != error.reason else error.reason
            raise await self._refused(exchange, problem("policy-violation", detail=detail, rule=f"chain.{error.reason}")) from None
        except StoreBusyError as error:
            return 503, problem("busy", request_id=exchange.request_id, detail=str(error))
        except StoreError as error:
            log.error("store", extra={"code": error.code, "request_id": exchange.request_id})  # noqa: TRY400 - no trace needed
            return 503, problem("store-unavailable", request_id=exchange.request_id)

    async def _stranger(
        self, exchange: Exchange, receive: http.Receive, work: Callable[[bytes], Awaitable[tuple[int, Any]]], door: Door
    ) -> tuple[int, Any]:
        """The token endpoint and the channels: who asks is known only by what the body holds."""
        settings = self.app.settings.gateway
        limit = min(settings.max_body_bytes, MAX_FORM)
        busy = problem("busy", detail="too many requests are under way in this process", request_id=exchange.request_id)
        if self._forms >= settings.max_in_flight:
            return 503, busy
        self._forms += 1
        try:
            # Nobody is known yet: who only sends slowly must not take the places of those who call tools.
            body = await http.read_body(
                exchange.request, receive, limit=limit, seconds=settings.body_timeout_seconds, expected=door.media
            )
        finally:
            self._forms -= 1
        if self._taken >= settings.max_in_flight:
            return 503, busy
        self._taken += 1
        try:
            return await work(body)
        except InputError as error:
            refused = problem("malformed", detail=f"`{error.path}`: {error}" if error.path else str(error), field=error.path)
            raise (await self._refused(exchange, refused) if exchange.tenant else http.RefusedError(refused)) from None
        except IdentityError as error:
            detail = f"{error.reason}: {error}" if str(error) != error.reason else error.reason
            if not exchange.tenant:
                refused = problem("unauthenticated", detail=f"refused: {error.reason}", advice=advice(error.reason) or door.advice)
                raise http.RefusedError(refused, error.reason) from None
            raise await self._refused(exchange, problem(door.refused, detail=detail, rule=f"{door.rule}.{error.reason}")) from None
        except http.RefusedError as refusal:
            raise (await self._refused(exchange, refusal.answer) if exchange.tenant else refusal) from None
        except StoreError as error:
            log.error("store", extra={"code": error.code, "request_id": exchange.request_id})  # noqa: TRY400 - no trace needed
            return 503, problem("store-unavailable", request_id=exchange.request_id)
        finally:
            self._taken -= 1

    async def _once(self, caller: Caller) -> None:
        """Use up the proof of possession that came with the request."""
        if caller.proof is None:
            return
        try:
            await self.app.gate.once.use(caller.tenant, caller.proof.once, agent_id=caller.name, what="proof_used")
        except IdentityError as error:
            raise http.refuse("unauthenticated", f"refused: {error.reason}", reason=error.reason) from None

    async def _refused(self, exchange: Exchange, answer: Problem) -> http.RefusedError:
        """Record the refusal in the tenant's journal before it is told."""
        try:
            await self.app.gate.refuse(
                exchange.tenant,
                exchange.agent_id,
                answer.code,
                answer.detail,
                request_id=exchange.request_id,
                door="http",
                trace=exchange.trace,
            )
        except StoreError:
            return http.RefusedError(problem("store-unavailable", request_id=exchange.request_id))
        exchange.outcome = exchange.outcome or "refused"
        return http.RefusedError(answer)

    async def _noise(self, reason: str, scope: http.Scope) -> None:
        client = scope.get("client") or ("local", 0)
        self.metrics.refused.labels(reason).inc()
        if self._app is not None:
            await self._app.gate.store.count_noise(reason, str(client[0]), self._app.gate.clock.now())

    def _finished(self, exchange: Exchange | None, status: int, started: float, refused: str) -> None:
        seconds = perf_counter() - started
        path = routes.label(exchange.request) if exchange else "malformed"
        self.metrics.requests.labels(path, str(status)).inc()
        self.metrics.seconds.labels(path).observe(seconds)
        if exchange is None:
            log.info("request", extra={"path": path, "status": status})
            return
        if exchange.tenant and exchange.request.method == "POST":
            self._traced(exchange, status, seconds, path, refused)
        if exchange.outcome:
            self.metrics.decided(exchange.tenant, self._known_tool(exchange), exchange.outcome)
        log.info(
            "request",
            extra={
                "path": path,
                "status": status,
                "ms": round(seconds * 1000, 2),
                "request_id": exchange.request_id,
                "tenant": exchange.tenant,
                "agent_id": exchange.agent_id,
                "tool": exchange.tool,
                "outcome": exchange.outcome,
                "rules": list(exchange.rules),
                "trace_id": exchange.trace.trace_id,
            },
        )

    def _traced(self, exchange: Exchange, status: int, seconds: float, path: str, refused: str) -> None:
        """Put down the span of a call. Who is not known has none: strangers must not fill what watches us."""
        known = self._known_tool(exchange) == exchange.tool or exchange.tool.startswith(OWN)
        self.app.gate.spans.put(
            call_span(
                exchange.trace, now=self.app.gate.clock.now(), duration_us=round(seconds * 1_000_000), tenant=exchange.tenant,
                agent="" if exchange.person else exchange.agent_id, tool=exchange.tool, known=known,
                method=exchange.request.method, route=path, status=status, request_id=exchange.request_id,
                outcome=exchange.outcome, problem=refused, links=exchange.links,
            )
        )  # fmt: skip

    def _operator(self, request: http.Request) -> bool:
        """Whether whoever watches the gateway asks, and not just anybody."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self.app.is_operator(token)

    def _known_tool(self, exchange: Exchange) -> str:
        """The tool's name if there is such a tool: made-up names must not fill the metrics."""
        tenant = self.app.gate.snapshot.get(exchange.tenant)
        return exchange.tool if tenant is not None and exchange.tool in tenant.contracts else "unknown"

    def audit_origin(self, tenant: str) -> str:
        """Name of the log that holds the tenant's events."""
        return origin(tenant)


def caller_request_id(request: http.Request) -> str:
    """The caller's own request id, if it sent one that can stand in the journal."""
    given = request.headers.get(REQUEST_ID, "")
    allowed = len(given) <= 128 and all(char.isascii() and (char.isalnum() or char in "._:@-") for char in given)
    if given and (not allowed or not given[0].isalnum()):
        raise http.refuse("malformed", f"header `{REQUEST_ID}`: expected at most 128 letters, digits and `._:@-`")
    if given.startswith(RUN_PREFIX):  # a run calls under such ids: whoever took one before it would let its step fail
        raise http.refuse(
            "malformed", f"header `{REQUEST_ID}`: ids that begin with `{RUN_PREFIX}` are those of runs; choose another"
        )
    return given
