"""Tools over HTTP/1.1, by aiohttp, with its conveniences switched off.

What aiohttp would do by itself and a gateway must not: send an idempotent method a second time when a kept connection drops, rewrite
an encoded path, follow redirects, keep cookies, decompress, read proxies from the environment. Each is switched off here, and a test
holds it to that.
"""

import asyncio
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import aiohttp
import yarl
from aiohttp import client_exceptions as broken

from aegis.errors import ConfigError, UpstreamError
from aegis.model.contract import Contract
from aegis.model.operation import OutgoingRequest
from aegis.runtime.upstream import UpstreamResponse

CONNECTIONS_PER_TOOL = 128
_SKIP = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
_UNSENT = (
    broken.ClientConnectorError, broken.ConnectionTimeoutError, broken.ClientConnectorDNSError, broken.ClientConnectorSSLError,
    broken.ClientConnectorCertificateError,
)  # fmt: skip


class HttpUpstream:
    """One session for the process; connections are kept per tool host."""

    def __init__(self, contracts: Iterable[Contract], root: Path) -> None:
        """`root` is where relative credential files start from. Nothing is resolved before `start`."""
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
            self._secrets[contract.digest] = credential(contract, self._root)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, limit_per_host=CONNECTIONS_PER_TOOL, ttl_dns_cache=30, keepalive_timeout=30),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=_SKIP,
            timeout=aiohttp.ClientTimeout(total=None),
        )
        # aiohttp sends GET, PUT and DELETE again when a kept connection drops; it has no public switch against that.
        self._session._retry_connection = False  # noqa: SLF001 - see above; tests/upstream proves that it holds

    async def close(self) -> None:
        """Let go of all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(
        self, contract: Contract, request: OutgoingRequest, *, idempotency_key: str, headers: Mapping[str, str]
    ) -> UpstreamResponse:
        """As the port says."""
        if self._session is None:
            raise UpstreamError("connect_failed", "the upstream has not started", sent=False)
        upstream = contract.upstream
        url = yarl.URL(upstream.url + request.target, encoded=True)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=upstream.connect_timeout_seconds)
        try:
            async with (
                asyncio.timeout(upstream.timeout_seconds),
                self._session.request(
                    request.method, url, data=request.body, allow_redirects=False, timeout=timeout,
                    headers=self._headers(contract, request, idempotency_key, headers),
                ) as response,
            ):  # fmt: skip
                return await _read(response, upstream.max_response_bytes)
        except _UNSENT as error:
            raise UpstreamError("connect_failed", type(error).__name__, sent=False) from None
        except TimeoutError:
            raise UpstreamError("timeout", f"no answer within {upstream.timeout_seconds:g} s", sent=True) from None
        except broken.ClientPayloadError as error:
            raise UpstreamError("truncated", type(error).__name__, sent=True) from None
        except broken.ClientResponseError as error:
            raise UpstreamError("bad_response", type(error).__name__, sent=True) from None
        except (broken.ClientError, OSError, ValueError) as error:
            raise UpstreamError("reset", type(error).__name__, sent=True) from None

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
        name, value = self._secrets.get(contract.digest, ("", ""))
        if name:
            headers[name] = value
        return headers


def credential(contract: Contract, root: Path) -> tuple[str, str]:
    """Header name and value by which the gateway authenticates to the tool; two empty texts when it needs none."""
    wanted = contract.upstream.credential
    if wanted is None:
        return "", ""
    if wanted.env:
        secret = os.environ.get(wanted.env, "")
        place = f"environment variable `{wanted.env}`"
    else:
        path = root / wanted.file
        place = f"file {path}"
        try:
            secret = path.read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError):
            secret = ""
    if not secret or not all(" " <= char <= "~" for char in secret):
        raise ConfigError(f"tool `{contract.name}`: its credential is missing or not visible ASCII: set {place}")
    return wanted.header, wanted.prefix + secret


async def _read(response: aiohttp.ClientResponse, limit: int) -> UpstreamResponse:
    headers = {name.lower(): value for name, value in response.headers.items()}
    if "content-length" in headers and "transfer-encoding" in headers or len(response.headers.getall("content-length", [])) > 1:
        raise UpstreamError("bad_response", "the tool sent conflicting framing", sent=True)
    if 300 <= response.status < 400:
        raise UpstreamError("redirect", f"status {response.status}; redirects are not followed", sent=True)
    if headers.get("content-encoding", "identity") != "identity":
        raise UpstreamError("encoded", "the tool encoded its answer although identity was asked for", sent=True)
    if int(headers.get("content-length", "0") or 0) > limit:
        raise UpstreamError("too_large", f"the answer is larger than {limit} bytes", sent=True)
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > limit:
            raise UpstreamError("too_large", f"the answer is larger than {limit} bytes", sent=True)
        chunks.append(chunk)
    return UpstreamResponse(status=response.status, headers=headers, body=b"".join(chunks))
