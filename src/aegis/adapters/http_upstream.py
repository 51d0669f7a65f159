"""Tools over HTTP/1.1, by aiohttp, with its conveniences switched off.

What aiohttp would do by itself and a gateway must not: send an idempotent method a second time when a kept connection drops, take
what came in on an idle connection for the answer to the next request, rewrite an encoded path, follow redirects, keep cookies,
decompress, read proxies from the environment. Each is switched off here, and a test holds it to that.

A request counts as sent from the moment it has a connection: what fails before that surely did not reach the tool.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import aiohttp
import yarl
from aiohttp import client_exceptions as broken
from msgspec.structs import replace

from aegis.adapters.wholefile import read_regular
from aegis.errors import ConfigError, UpstreamError
from aegis.model.contract import Contract
from aegis.model.credential import Credentials
from aegis.model.operation import OutgoingRequest
from aegis.model.upstream import UpstreamResponse

CONNECTIONS_PER_TOOL = 128
SHORTEST_MASKED = 8
MAX_SECRET_BYTES = 65_536
"""A credential of fewer characters may stand in an answer by accident."""
_SKIP = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
KEEP_SECONDS = 4  # below the 5 s after which common servers drop an idle connection, perhaps under a request of ours


class _Attempt:
    """One request on its way: whether it was given a connection."""

    connected = False


_attempt: ContextVar[_Attempt] = ContextVar("aegis_upstream_attempt")


class _Connector(aiohttp.TCPConnector):
    """Hands out connections on which nothing waits to be read, and marks the attempt that got one."""

    async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:  # noqa: ASYNC109 - the signature is aiohttp's
        """A connection whose next bytes answer the next request."""
        for _ in range(CONNECTIONS_PER_TOOL + 1):
            connection = await super().connect(req, traces, timeout)
            # `should_close` also tells of bytes that came in while nobody had asked: perhaps another caller's answer.
            if connection.protocol is not None and not connection.protocol.should_close:
                _attempt.get().connected = True
                return connection
            connection.close()
        raise broken.ClientConnectionError("the tool speaks before it is asked")


class HttpUpstream:
    """One session for the process; connections are kept per tool host."""

    def __init__(self, contracts: Iterable[Contract], root: Path) -> None:
        """`root` is where relative credential files start from. Nothing is resolved before `start`."""
        self.sealed: Credentials | None = None
        self._contracts = tuple(contracts)
        self._root = root
        self._secrets: dict[str, tuple[str, str]] = {}
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Resolve every tool's credential and open the session.

        Raises:
            ConfigError: A credential is missing; the message names tool and variable, never the secret.
        """
        for contract in self._contracts:
            if contract.upstream.credential is not None and not contract.upstream.credential.sealed:
                self._secrets[contract.digest] = credential(contract, self._root)
        self._session = aiohttp.ClientSession(
            connector=_Connector(limit=0, limit_per_host=CONNECTIONS_PER_TOOL, ttl_dns_cache=30, keepalive_timeout=KEEP_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=_SKIP,
            timeout=aiohttp.ClientTimeout(total=None),
        )
        # aiohttp sends GET, PUT and DELETE again when a kept connection drops; it has no public switch against that.
        self._session._retry_connection = False  # noqa: SLF001 - see above; tests/upstream proves that it holds

    def learn(self, contracts: Iterable[Contract]) -> None:
        """Speak to these tools too. A credential that is missing is told when such a tool is called, and nothing is sent."""
        for contract in contracts:
            if contract.upstream.credential is not None and contract.digest not in self._secrets:
                with contextlib.suppress(ConfigError):
                    self._secrets[contract.digest] = credential(contract, self._root)

    async def close(self) -> None:
        """Let go of all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(
        self, contract: Contract, request: OutgoingRequest, *, idempotency_key: str, headers: Mapping[str, str]
    ) -> UpstreamResponse:
        """As the port says."""
        session, upstream = self._session, contract.upstream
        if session is None:
            raise UpstreamError("connect_failed", "the upstream has not started", sent=False)
        name, secret = self._credential(contract)
        attempt = _Attempt()
        _attempt.set(attempt)
        try:
            async with (
                asyncio.timeout(upstream.timeout_seconds),
                session.request(
                    request.method,
                    yarl.URL(upstream.url + request.target, encoded=True),
                    data=request.body,
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=upstream.connect_timeout_seconds),
                    headers=self._headers(contract, request, idempotency_key, headers) | ({name: secret} if name else {}),
                ) as response,
            ):
                return _masked(await _read(response, upstream.max_response_bytes), contract, secret)
        except UpstreamError:
            raise
        except Exception as error:  # whatever it was, the caller must learn whether the tool may have acted
            reason = _reason(error) if attempt.connected else "connect_failed"
            raise UpstreamError(reason, type(error).__name__, sent=attempt.connected) from None

    def _headers(
        self, contract: Contract, request: OutgoingRequest, idempotency_key: str, more: Mapping[str, str]
    ) -> dict[str, str]:
        headers = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "aegis"}
        headers |= dict(request.headers)
        if request.body is not None:
            headers["content-type"] = "application/json"
        elif request.method not in ("GET", "HEAD"):
            headers["content-length"] = "0"
        headers |= dict(more)
        if idempotency_key:
            headers[contract.idempotency_header] = idempotency_key
        return headers

    def _credential(self, contract: Contract) -> tuple[str, str]:
        """Header and value by which this tool, at this address, is shown who we are; without it nothing is sent."""
        wanted = contract.upstream.credential
        if wanted is None:
            return "", ""
        if not wanted.sealed:
            found = self._secrets.get(contract.digest)
            if found is None:
                raise UpstreamError("connect_failed", "the tool's credential was not resolved at the start", sent=False)
            return found
        secret = self.sealed.secret(contract.tenant, wanted.sealed, contract.upstream.url) if self.sealed else None
        if secret is None:
            raise UpstreamError("credential_missing", "the tool's credential is not set for its server", sent=False)
        return wanted.header, wanted.prefix + secret


def credential(contract: Contract, root: Path) -> tuple[str, str]:
    """Header name and value from variable or file; two empty texts when the tool needs none, or one that is sealed."""
    wanted = contract.upstream.credential
    if wanted is None or wanted.sealed:
        return "", ""
    if wanted.env:
        secret = os.environ.get(wanted.env, "")
        place = f"environment variable `{wanted.env}`"
    else:
        path = root / wanted.file
        place = f"file {path}"
        try:
            secret = read_regular(path, MAX_SECRET_BYTES).decode("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            secret = ""
    if not secret or not all(" " <= char <= "~" for char in secret):
        raise ConfigError(f"tool `{contract.name}`: its credential is missing or not visible ASCII: set {place}")
    return wanted.header, wanted.prefix + secret


def _masked(response: UpstreamResponse, contract: Contract, value: str) -> UpstreamResponse:
    """The answer without the credential, when the tool sends it back: an agent must not learn it."""
    prefix = contract.upstream.credential.prefix if contract.upstream.credential else ""
    secret = value.removeprefix(prefix)
    body = response.body
    for shown in {secret, json.dumps(secret)[1:-1]} if len(secret) >= SHORTEST_MASKED else ():
        body = body.replace(shown.encode(), b"*" * len(secret))
    return response if body == response.body else replace(response, body=body)


def _reason(error: Exception) -> str:
    """The stable word for what went wrong once the request had a connection."""
    for kind, reason in (
        (TimeoutError, "timeout"),
        (broken.ClientPayloadError, "truncated"),
        (broken.ClientResponseError, "bad_response"),
    ):
        if isinstance(error, kind):
            return reason
    return "reset"


async def _read(response: aiohttp.ClientResponse, limit: int) -> UpstreamResponse:
    _check_head(response, limit)
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > limit:
            raise _too_large(response, limit)
        chunks.append(chunk)
    headers = {name.lower(): value for name, value in response.headers.items()}
    return UpstreamResponse(status=response.status, headers=headers, body=b"".join(chunks))


def _check_head(response: aiohttp.ClientResponse, limit: int) -> None:
    """Refuse an answer that two readers could frame or decode differently, before its body is read."""
    lengths = response.headers.getall("content-length", [])
    framings = [value.lower() for value in response.headers.getall("transfer-encoding", [])]
    encodings = {value.lower() for value in response.headers.getall("content-encoding", [])}
    if response.version not in (aiohttp.HttpVersion10, aiohttp.HttpVersion11) or not 200 <= response.status < 600:
        raise UpstreamError("bad_response", "expected a final answer in HTTP/1.0 or HTTP/1.1", sent=True)
    if len(lengths) + len(framings) > 1 or framings not in ([], ["chunked"]):
        raise UpstreamError("bad_response", "the tool sent conflicting framing", sent=True)
    if 300 <= response.status < 400:
        raise UpstreamError("redirect", f"status {response.status}; redirects are not followed", sent=True)
    if encodings - {"identity"}:
        what = "the tool encoded its answer although identity was asked for"
        raise UpstreamError("encoded", what, sent=True, status=response.status)
    if lengths and int(lengths[0]) > limit:
        raise _too_large(response, limit)


def _too_large(response: aiohttp.ClientResponse, limit: int) -> UpstreamError:
    return UpstreamError("too_large", f"the answer is larger than {limit} bytes", sent=True, status=response.status)
