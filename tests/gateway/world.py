"""A whole Aegis for tests: a real gateway over real HTTP, a real tool server that writes down what it did, agents and people."""

import base64
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from tests.made_once import copy_keys, copy_store

from aegis.adapters import keyfiles, monitorkey
from aegis.app import App, open_app
from aegis.identity.access import build_access
from aegis.identity.token import build_person, build_statement, mint
from aegis.runtime import ids
from aegis.runtime.clock import Clock
from aegis.runtime.revocations import Revocations, RevokedToken
from aegis.settings import GatewaySettings, Settings, StoreSettings
from aegis.surfaces.gateway.asgi import Gateway
from aegis.surfaces.gateway.server import config

TENANTS = ("acme", "globex")

DIRECTORY = """
apiVersion: aegis.directory/v1
kind: Directory
metadata: {{tenant: {tenant}}}
spec:
  agents:
    agent:payer: {{roles: [treasury], scopes: ["*"], trust: 4}}
    agent:other: {{roles: [treasury], scopes: ["*"], trust: 4}}
    agent:reader: {{roles: [reader], scopes: [records.*], trust: 3}}
    agent:off: {{roles: [], scopes: [], enabled: false}}
    agent:desk: {{roles: [desk], scopes: ["*"], trust: 3}}
    agent:planner: {{roles: [planner], scopes: [pay.*, records.*], trust: 2, may_delegate_to: [agent:payer, agent:reader, agent:remote]}}
    agent:remote: {{roles: [treasury], scopes: [pay.*], trust: 1, proof: required}}
  people:
    person:alice: {{roles: [lead]}}
    person:bob: {{roles: [lead]}}
    person:carol: {{roles: [clerk]}}
"""

_TOOL_LINE = '{{version: ">=1.0.0 <2.0.0", args: {{amount: integer, memo: "string?"}}}}'
POLICY = f"""
apiVersion: aegis.policy/v1
kind: PolicySet
metadata: {{{{name: test-core, tenant: {{tenant}}, owner: security@{{tenant}}.example}}}}
spec:
  timezone: UTC
  tools:
    pay.honours: {_TOOL_LINE}
    pay.ask: {_TOOL_LINE}
    pay.neither: {_TOOL_LINE}
    records.read: {{{{version: ">=1.0.0 <2.0.0", args: {{{{id: string}}}}}}}}
    nobody.approves: {_TOOL_LINE}
    pay.costly: {_TOOL_LINE}
  rules:
    - {{{{id: pay.allow, effect: allow, tools: [pay.honours, pay.ask, pay.neither, pay.costly, nobody.approves], when: {{{{agent.roles: {{{{contains: treasury}}}}}}}}}}}}
    - {{{{id: pay.ceiling, effect: deny, tools: [pay.honours, pay.ask, pay.neither], when: {{{{args.amount: {{{{gt: 5000}}}}}}}}, reason: too much}}}}
    - id: pay.two-eyes
      effect: approval_needed
      tools: [pay.honours, pay.ask, pay.neither]
      when: {{{{args.amount: {{{{gte: 1000}}}}}}}}
      approval: {{{{approvers: ["role:lead"], quorum: 1, ttl: 10m, not_requester: true}}}}
      reason: a lead must look
    - id: pay.four-eyes
      effect: approval_needed
      tools: [pay.honours]
      when: {{{{args.amount: {{{{gte: 3000}}}}}}}}
      approval: {{{{approvers: ["role:lead"], quorum: 2, ttl: 10m, not_requester: true}}}}
      reason: two leads must look
    - {{{{id: pay.memo, effect: sanitize, tools: [pay.honours], when: {{{{args.memo: {{{{matches: "[0-9]{{{{3}}}}-[0-9]{{{{2}}}}-[0-9]{{{{4}}}}"}}}}}}}}, redact: [{{{{path: /args/memo, with: mask}}}}]}}}}
    - {{{{id: read.allow, effect: allow, tools: [records.read]}}}}
    - {{{{id: read.mask, effect: sanitize, stage: response, tools: [records.read], when: {{{{agent.roles: {{{{contains: reader}}}}}}}}, redact: [{{{{path: /result/ssn, with: mask}}}}]}}}}
    - id: nobody
      effect: approval_needed
      tools: [nobody.approves]
      when: {{{{args.amount: {{{{gte: 0}}}}}}}}
      approval: {{{{approvers: ["role:saint"], quorum: 1, ttl: 10m, not_requester: true}}}}
"""

WRITE = """
apiVersion: aegis.tool/v1
kind: Tool
metadata: {{name: {name}, version: 1.0.0, tenant: {tenant}, owner: o@{tenant}.example}}
spec:
  description: Pays.
  effect: write
  resource: "ledger/{{amount}}"
  interrupt: {interrupt}
{cost}
  upstream:
    url: http://127.0.0.1:{port}
    timeout_seconds: 1
    connect_timeout_seconds: 1
    credential: {{header: authorization, prefix: "Bearer ", file: tool.secret}}
  operations:
    call: {{method: POST, path: /pay/{name}, body: all}}
{ask}
  input:
    type: object
    required: [amount]
    properties:
      amount: {{type: integer, minimum: 0}}
      memo: {{type: string, maxLength: 200}}
  output:
    type: object
    required: [id]
    properties: {{id: {{type: integer}}}}
"""
ASK = "    ask: {method: GET, path: '/paid/{idempotency_key}', done: {status: [200]}, absent: {status: [404]}}"

READ = """
apiVersion: aegis.tool/v1
kind: Tool
metadata: {{name: records.read, version: 1.0.0, tenant: {tenant}, owner: o@{tenant}.example}}
spec:
  description: Reads.
  effect: read
  upstream: {{url: "http://127.0.0.1:{port}", timeout_seconds: 1}}
  operations:
    call: {{method: GET, path: "/records/{{id}}"}}
  input: {{type: object, required: [id], properties: {{id: {{type: string, maxLength: 40}}}}}}
  output: {{type: object, required: [id], properties: {{id: {{type: string}}, ssn: {{type: string}}}}}}
"""


class _QuietServer(ThreadingHTTPServer):
    request_queue_size = 128  # of five, the default, a race of sixteen callers loses some before they are heard

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that was killed resets its connections: nothing to tell."""


_free_ports: list[int] = []


class ToolServer:
    """A tool over real HTTP. `mood` says how it behaves on its next calls; `done` is what it really did, by key."""

    def __init__(self) -> None:
        self.mood = "ok"
        self.result: dict[str, Any] | None = None
        self.requests: list[dict[str, Any]] = []
        self.done: list[tuple[str, str]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.arrived = threading.Event()
        self._lock = threading.Lock()
        self._server = self._listening()
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def _listening(self) -> _QuietServer:
        """At the port of an earlier one that is gone, if there was one: the same contracts are the same text again, parsed already."""
        while _free_ports:
            with suppress(OSError):
                return _QuietServer(("127.0.0.1", _free_ports.pop()), self._handler())
        return _QuietServer(("127.0.0.1", 0), self._handler())

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        _free_ports.append(self.port)

    def act(self, name: str, key: str) -> int:
        """Do the thing once for each key, as a tool that honours keys does; without a key, every time."""
        with self._lock:
            for index, (_, known) in enumerate(self.done):
                if key and known == key and name == "pay.honours":
                    return index + 1
            self.done.append((name, key))
            return len(self.done)

    def _handler(tool) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 10

            def _serve(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = self.rfile.read(length)
                key = self.headers.get("idempotency-key", "")
                tool.requests.append(
                    {"method": self.command, "path": self.path, "headers": dict(self.headers.items()), "body": body}
                )
                if self.path.startswith("/paid/"):
                    return self._paid(self.path.removeprefix("/paid/"))
                tool.arrived.set()
                mood = tool.mood
                if mood == "refuse":
                    return self._answer(422, {"error": "no"})
                if mood == "error":
                    return self._answer(500, {"error": "broken"})
                if mood == "vanish-before":
                    return self._vanish()
                if mood == "wait-before":
                    tool.gate.wait(20)
                if self.path.startswith("/records/"):
                    result: Any = {"id": self.path.rsplit("/", 1)[1], "ssn": "078-05-1120"}
                else:
                    result = {"id": tool.act(self.path.removeprefix("/pay/"), key)}
                result = tool.result or result
                if mood == "vanish-after":
                    return self._vanish()
                if mood == "hang-after":
                    tool.gate.wait(20)
                if mood == "wait":
                    tool.gate.wait(20)
                if mood == "lie":
                    result = {"surprise": True}
                if mood == "garbage":
                    return self._raw(200, b"<html>")
                return self._answer(200, result)

            def _paid(self, key: str) -> None:
                if tool.mood == "mute":
                    return self._answer(503, {"error": "later"})
                found = [index for index, (_, known) in enumerate(tool.done) if known == key]
                return self._answer(200, {"id": found[0] + 1}) if found else self._answer(404, {"error": "unknown"})

            def _answer(self, status: int, value: Any) -> None:
                self._raw(status, json.dumps(value).encode())

            def _raw(self, status: int, content: bytes) -> None:
                try:
                    self.send_response(status)
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:
                    self.close_connection = True

            def _vanish(self) -> None:
                self.close_connection = True
                self.connection.close()

            do_GET = do_POST = _serve

            def log_message(self, *args: object) -> None:
                pass

        return Handler


class Hand:
    """A clock that tests can turn."""

    def __init__(self) -> None:
        self.offset = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.offset


class World:
    """The parts of one test."""

    def __init__(self, root: Path, store_url: str) -> None:
        self.root = root
        self.hand = Hand()
        self.tool = ToolServer()
        self.secret = secrets.token_hex(8)
        (root / "tool.secret").write_text(self.secret)
        for tenant in TENANTS:
            self._write(tenant)
        self.settings = Settings(root=root, gateway=GatewaySettings(port=0, drain_seconds=5), store=StoreSettings(url=store_url))
        self.keys = self.settings.keys
        copy_keys(self.keys, TENANTS, ("person:alice", "person:bob", "person:carol"))
        if self.settings.sqlite_path is not None:
            copy_store(self.settings.sqlite_path)
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.app: App | None = None
        self.url = ""

    def _write(self, tenant: str) -> None:
        home = self.root / "tenants" / tenant
        (home / "tools").mkdir(parents=True)
        (home / "directory.yaml").write_text(DIRECTORY.format(tenant=tenant))
        (home / "policy.yaml").write_text(POLICY.format(tenant=tenant))
        for name, interrupt in (
            ("pay.honours", "honours_key"),
            ("pay.ask", "ask"),
            ("pay.neither", "neither"),
            ("nobody.approves", "neither"),
            ("pay.costly", "honours_key"),
        ):
            text = WRITE.format(
                name=name,
                tenant=tenant,
                interrupt=interrupt,
                port=self.tool.port,
                ask=ASK if interrupt == "ask" else "",
                cost="  cost_micros: 10" if name == "pay.costly" else "",
            )
            (home / "tools" / f"{name}.yaml").write_text(text)
        (home / "tools" / "records.read.yaml").write_text(READ.format(tenant=tenant, port=self.tool.port))

    def start(self) -> None:
        async def opened() -> App:
            self.app = await open_app(self.settings, clock=Clock(self.hand))
            return self.app

        self._server = uvicorn.Server(config(Gateway(opened), self.settings))
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        deadline = time.monotonic() + 20
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the gateway did not start")
            time.sleep(0.01)
        self.url = f"http://127.0.0.1:{self._server.servers[0].sockets[0].getsockname()[1]}"

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(20)
            self._server = None

    def close(self) -> None:
        self.tool.gate.set()
        self.stop()
        self.tool.close()

    def token(
        self,
        agent_id: str = "agent:payer",
        tenant: str = "acme",
        *,
        roles: tuple[str, ...] | None = None,
        scopes: tuple[str, ...] | None = None,
        parent: tuple[str, str] | None = None,
        now: datetime | None = None,
        **more: Any,
    ) -> str:
        now = now or self.hand()
        known_roles = {"agent:reader": ("reader",), "agent:off": (), "agent:desk": ("desk",), "agent:planner": ("planner",)}.get(
            agent_id, ("treasury",)
        )
        known_scopes = {
            "agent:reader": ("records.*",),
            "agent:off": (),
            "agent:planner": ("pay.*", "records.*"),
            "agent:remote": ("pay.*",),
        }.get(agent_id, ("*",))
        claims = build_access(
            tenant=tenant,
            agent_id=agent_id,
            subject=more.pop("subject", "user:nora"),
            roles=known_roles if roles is None else roles,
            scopes=known_scopes if scopes is None else scopes,
            audience=more.pop("audience", "aegis-gw"),
            now=now,
            token_id=ids.new("tok", now),
            parent=parent,
            **more,
        )
        return mint(claims, keyfiles.load_private(self.keys, "sts", tenant, ""))

    def person_token(self, person: str = "person:alice", tenant: str = "acme") -> str:
        claims = build_person(tenant=tenant, person=person, audience="aegis-gw", now=self.hand())
        return mint(claims, keyfiles.load_private(self.keys, "human", tenant, person))

    def statement(
        self, card: dict[str, Any], person: str = "person:alice", tenant: str = "acme", *, approve: bool = True, **changed: Any
    ) -> str:
        claims = build_statement(
            approval_id=changed.get("approval_id", card["approval_id"]),
            tenant=tenant,
            request_hash=changed.get("request_hash", card["request_hash"]),
            approve=approve,
            shown=card.get("shown") or "sha256:none",
            approver=changed.get("approver", person),
            reason="looked at it",
            now=self.hand(),
        )
        return mint(claims, keyfiles.load_private(self.keys, "human", tenant, person))

    def post(self, path: str, body: Any, token: str | None = None, **headers: str) -> httpx.Response:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"content-type": "application/json", "authorization": f"Bearer {token or self.token()}"}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.post(self.url + path, content=content, headers=given, timeout=30)

    def get(self, path: str, token: str | None = None) -> httpx.Response:
        return httpx.get(self.url + path, headers={"authorization": f"Bearer {token or self.token()}"}, timeout=30)

    def watch(self, path: str) -> httpx.Response:
        """`/metrics` or `/readyz`, as the operator sees it."""
        key = monitorkey.load(self.keys)
        return httpx.get(self.url + path, headers={"authorization": f"Bearer {key}"}, timeout=30)

    def call(self, tool: str, arguments: dict[str, Any], key: str = "", token: str | None = None, **headers: str) -> httpx.Response:
        more = {"idempotency_key": key, **headers} if key else headers
        body: dict[str, Any] = {"arguments": arguments}
        for name in ("parent_agent_id", "parent_request_id"):
            if name in more:
                body[name] = more.pop(name)
        return self.post(f"/v1/tools/{tool}/call", body, token, **more)

    def approve(
        self, approval_id: str, person: str = "person:alice", *, approve: bool = True, tenant: str = "acme", **changed: Any
    ) -> httpx.Response:
        card = self.get(f"/v1/approvals/{approval_id}", self.person_token(person, tenant)).json()
        said = self.statement(card, person, tenant, approve=approve, **changed)
        return self.post(f"/v1/approvals/{approval_id}/answer", {"statement": said}, self.person_token(person, tenant))

    def events(self, request_id: str = "", tenant: str = "acme") -> list[dict[str, Any]]:
        """Events of the tenant's journal, read by a store of our own."""
        import asyncio

        from aegis.app import open_store

        async def read() -> list[dict[str, Any]]:
            store = await open_store(self.settings, Clock(self.hand))
            try:
                found = await store.events(tenant, request_id=request_id or None, limit=100_000)
                return [json.loads(event.body) for event in found]
            finally:
                await store.close()

        return asyncio.run(read())

    def revoke_token(self, token: str, tenant: str = "acme") -> None:
        """Take a token back, as an operator on another host would, and wait until this gateway knows."""
        import asyncio

        from aegis.app import open_store

        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))

        async def revoke() -> None:
            store = await open_store(self.settings, Clock(self.hand))
            try:
                found = RevokedToken(tenant=tenant, token_id=claims["jti"], reason="stolen", by="person:alice")
                await Revocations(store, Clock(self.hand)).add_token(found)
            finally:
                await store.close()

        asyncio.run(revoke())
        deadline = time.monotonic() + 10
        while self.get("/v1/tools", token).status_code != 401:
            assert time.monotonic() < deadline, "the gateway never learned of it"
            time.sleep(0.05)

    def fsck(self) -> list[Any]:
        import asyncio

        from aegis.app import open_store

        async def check() -> list[Any]:
            store = await open_store(self.settings, Clock(self.hand))
            try:
                return list(await store.fsck())
            finally:
                await store.close()

        return asyncio.run(check())


@contextmanager
def world(root: Path, store_url: str = "sqlite:data/aegis.db") -> Iterator[World]:
    made = World(root, store_url)
    try:
        made.start()
        yield made
    finally:
        made.close()
