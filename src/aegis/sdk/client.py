"""Clients for agents: `Client` blocks, `AsyncClient` awaits; both say the same and raise the same.

    client = Client("http://127.0.0.1:8420", token)
    done = client.call("payments.transfer", {"account_id": "acct_00000001", "amount_minor": 400000}, key="invoice-17")

A call that a rule forbids raises `PolicyViolation`; one that a person must approve raises `ApprovalPending`, unless `wait` says how
long to wait for the answer. Nothing is repeated silently: only a GET, or a call with a key, is sent again after a broken
connection, and the gateway does such a call at most once. When an agent's token was taken back the request is sent again with a
fresh one: of a request that was refused nothing was done.
"""

import asyncio
import contextlib
import http.client
import threading
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp

from aegis.errors import ApprovalPending, ConfigError, GatewayError
from aegis.sdk import exchange
from aegis.sdk.agent import Agent
from aegis.sdk.exchange import Called, Decided, Message
from aegis.sdk.messages import AsyncMail, Mail, agent_of
from aegis.sdk.runs import AsyncRuns, Runs

Token = str | Callable[[], str] | Agent
_ZERO = timedelta(0)
_SHORTEST_WAIT = 0.2


class _Address:
    """Where the gateway is, and what to show there: a token, a function that gives a fresh one, or an agent that gets its own."""

    def __init__(self, url: str, token: Token) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError("url: expected `http://HOST:PORT` or `https://HOST`")
        self.url = f"{parts.scheme}://{parts.netloc}"
        self.tls = parts.scheme == "https"
        self.host = parts.hostname
        self.port = parts.port or (443 if self.tls else 80)
        self._token = token

    @property
    def parent(self) -> tuple[str, str] | None:
        """The parent that an agent names when it works on a task that was handed to it."""
        return self._token.parent if isinstance(self._token, Agent) else None

    @property
    def agent_id(self) -> str:
        """In whose name messages are sent."""
        if isinstance(self._token, Agent):
            return self._token.agent_id
        return agent_of(self._token if isinstance(self._token, str) else self._token())

    def headers(self, message: Message) -> dict[str, str]:
        """The headers of a request, with the proof of who asks; it may wait for a fresh token."""
        if isinstance(self._token, Agent):
            return message.headers | self._token.headers(message.method, message.path)
        token = self._token if isinstance(self._token, str) else self._token()
        return message.headers | {"authorization": f"Bearer {token}"}

    def renews(self, status: int, body: bytes, headers: Mapping[str, str]) -> bool:
        """Whether the request may be sent again with a fresh token, which an agent gets for one that is over."""
        if not isinstance(self._token, Agent) or not exchange.over(status, body):
            return False
        self._token.renew(headers)
        return True

    async def parent_soon(self) -> tuple[str, str] | None:
        """As `parent`, without holding up the event loop."""
        return await asyncio.to_thread(lambda: self.parent) if isinstance(self._token, Agent) else None

    async def headers_soon(self, message: Message) -> dict[str, str]:
        """As `headers`, without holding up the event loop."""
        return await asyncio.to_thread(self.headers, message) if isinstance(self._token, Agent) else self.headers(message)


class Client(Mail, Runs):
    """A blocking client over one kept connection; it may be used from several threads, one call at a time."""

    def __init__(self, url: str, token: Token, *, timeout: timedelta = timedelta(seconds=60)) -> None:
        self._at = _Address(url, token)
        self._timeout = timeout.total_seconds()
        self._lock = threading.Lock()
        self._connection: http.client.HTTPConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        with self._lock:
            self._drop()

    def call(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        key: str = "",
        request_id: str = "",
        parent: tuple[str, str] | None = None,
        override: str = "",
        wait: timedelta = _ZERO,
        traceparent: str = "",
    ) -> Called:
        """Call a tool through the gateway. `key` makes a write happen once; `parent` is (agent id, request id) when delegated."""
        deadline = time.monotonic() + wait.total_seconds()
        while True:
            message = exchange.ask(
                exchange.tool_path(tool, "call"),
                {"arguments": dict(arguments)},
                key=key,
                request_id=request_id,
                parent=parent or self._at.parent,
                override=override,
                traceparent=traceparent,
            )
            try:
                return exchange.called(self._send(message, again=bool(key)))
            except ApprovalPending as held:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(max(_SHORTEST_WAIT, min(held.retry_after, 1.0, deadline - time.monotonic())))

    def decide(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        key: str = "",
        request_id: str = "",
        parent: tuple[str, str] | None = None,
    ) -> Decided:
        """Ask for a decision and enforce it yourself; report with `outcome` what came of it."""
        message = exchange.ask(
            "/v1/decide",
            {"tool": tool, "arguments": dict(arguments)},
            key=key,
            request_id=request_id,
            parent=parent or self._at.parent,
        )
        return exchange.decided(self._send(message, again=bool(key)))

    def outcome(self, request_id: str, *, done: bool, result: Any = None) -> None:
        """Report what came of a decided call."""
        body = {"done": done, "result": result} if done else {"done": False}
        self._send(exchange.ask(f"/v1/decide/{request_id}/outcome", body), again=False)

    def tools(self) -> list[dict[str, Any]]:
        """The tools that the token opens."""
        return list(self._send(exchange.get("/v1/tools"), again=True)["tools"])

    def tool(self, name: str) -> dict[str, Any]:
        """One tool with its contract."""
        return self._send(exchange.get(exchange.tool_path(name)), again=True)

    def approval(self, approval_id: str) -> dict[str, Any]:
        """Where an approval stands; once granted it holds the `override_token`."""
        return self._send(exchange.get(f"/v1/approvals/{approval_id}"), again=True)

    def request(self, request_id: str) -> dict[str, Any]:
        """What the journal holds of one of the caller's requests."""
        return self._send(exchange.get(f"/v1/requests/{request_id}"), again=True)

    def _send(self, message: Message, *, again: bool) -> dict[str, Any]:
        with self._lock:
            for last in (False, True):
                kept = self._connection is not None
                try:
                    return exchange.understood(*self._once(message))
                except (OSError, http.client.HTTPException) as error:
                    self._drop()
                    if last or not (kept and again):
                        raise GatewayError(f"the gateway at {self._at.url} did not answer: {type(error).__name__}") from None
            raise AssertionError

    def _once(self, message: Message) -> tuple[int, bytes]:
        headers = self._at.headers(message)
        status, body = self._answered(message, headers)
        if self._at.renews(status, body, headers):
            return self._answered(message, self._at.headers(message))
        return status, body

    def _answered(self, message: Message, headers: Mapping[str, str]) -> tuple[int, bytes]:
        if self._connection is None:
            kind = http.client.HTTPSConnection if self._at.tls else http.client.HTTPConnection
            self._connection = kind(self._at.host, self._at.port, timeout=self._timeout)
        self._connection.request(message.method, message.path, body=message.body or None, headers=dict(headers))
        response = self._connection.getresponse()
        return response.status, response.read()

    def _drop(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
            self._connection = None


class AsyncClient(AsyncMail, AsyncRuns):
    """The same for asyncio; use it as an async context manager."""

    def __init__(self, url: str, token: Token, *, timeout: timedelta = timedelta(seconds=60)) -> None:
        self._at = _Address(url, token)
        self._timeout = aiohttp.ClientTimeout(total=timeout.total_seconds())
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def call(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        key: str = "",
        request_id: str = "",
        parent: tuple[str, str] | None = None,
        override: str = "",
        wait: timedelta = _ZERO,
        traceparent: str = "",
    ) -> Called:
        """As `Client.call`."""
        deadline = time.monotonic() + wait.total_seconds()
        while True:
            message = exchange.ask(
                exchange.tool_path(tool, "call"),
                {"arguments": dict(arguments)},
                key=key,
                request_id=request_id,
                parent=parent or await self._at.parent_soon(),
                override=override,
                traceparent=traceparent,
            )
            try:
                return exchange.called(await self._send(message))
            except ApprovalPending as held:
                if time.monotonic() >= deadline:
                    raise
                await asyncio.sleep(max(_SHORTEST_WAIT, min(held.retry_after, 1.0, deadline - time.monotonic())))

    async def decide(
        self,
        tool: str,
        arguments: Mapping[str, Any],
        *,
        key: str = "",
        request_id: str = "",
        parent: tuple[str, str] | None = None,
    ) -> Decided:
        """As `Client.decide`."""
        message = exchange.ask(
            "/v1/decide",
            {"tool": tool, "arguments": dict(arguments)},
            key=key,
            request_id=request_id,
            parent=parent or await self._at.parent_soon(),
        )
        return exchange.decided(await self._send(message))

    async def outcome(self, request_id: str, *, done: bool, result: Any = None) -> None:
        """As `Client.outcome`."""
        body = {"done": done, "result": result} if done else {"done": False}
        await self._send(exchange.ask(f"/v1/decide/{request_id}/outcome", body))

    async def tools(self) -> list[dict[str, Any]]:
        """As `Client.tools`."""
        return list((await self._send(exchange.get("/v1/tools")))["tools"])

    async def tool(self, name: str) -> dict[str, Any]:
        """As `Client.tool`."""
        return await self._send(exchange.get(exchange.tool_path(name)))

    async def approval(self, approval_id: str) -> dict[str, Any]:
        """As `Client.approval`."""
        return await self._send(exchange.get(f"/v1/approvals/{approval_id}"))

    async def request(self, request_id: str) -> dict[str, Any]:
        """As `Client.request`."""
        return await self._send(exchange.get(f"/v1/requests/{request_id}"))

    async def _send(self, message: Message) -> dict[str, Any]:
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)
        headers = await self._at.headers_soon(message)
        status, body = await self._answered(self._session, message, headers)
        if exchange.over(status, body) and await asyncio.to_thread(self._at.renews, status, body, headers):
            status, body = await self._answered(self._session, message, await self._at.headers_soon(message))
        return exchange.understood(status, body)

    async def _answered(self, session: aiohttp.ClientSession, message: Message, headers: Mapping[str, str]) -> tuple[int, bytes]:
        try:
            async with session.request(
                message.method,
                self._at.url + message.path,
                data=message.body or None,
                headers=headers,
                allow_redirects=False,
            ) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise GatewayError(f"the gateway at {self._at.url} did not answer: {type(error).__name__}") from None
