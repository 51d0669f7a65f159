"""Reading HTTP from a caller who may be hostile, and writing answers.

The ASGI server has parsed the message; what servers let through and we refuse is listed in `check`: each refusal here closes a gap
through which two readers could see two different requests.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from aegis.surfaces.gateway.problems import advice, problem
from aegis.surfaces.gateway.wire import Problem

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

MAX_HEADER_BYTES = 32 * 1024
MAX_HEADERS = 100
_HOST = re.compile(rb"(?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
SINGLE = frozenset(
    {
        b"host",
        b"authorization",
        b"content-length",
        b"content-type",
        b"content-encoding",
        b"transfer-encoding",
        b"idempotency-key",
        b"traceparent",
        b"aegis-request-id",
        b"aegis-override",
        b"dpop",
        b"aegis-tenant",
        b"aegis-agent-id",
        b"aegis-parent-agent-id",
        b"aegis-parent-request-id",
        b"aegis-txn",
        b"aegis-task",
        b"expect",
    }
)


class RefusedError(Exception):
    """The request ends here with this problem; `reason` goes to the log and the journal."""

    def __init__(self, answer: Problem, reason: str = "") -> None:
        super().__init__(answer.code)
        self.answer = answer
        self.reason = reason or answer.code


class Request(Struct, frozen=True, kw_only=True):
    """An HTTP request that passed `check`. `path` is split into segments; `headers` are lower case and single."""

    method: str
    path: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    client: str


def refuse(code: str, detail: str = "", *, field: str = "", reason: str = "") -> RefusedError:
    """The error that ends a request with a problem of the table."""
    return RefusedError(problem(code, detail=detail, field=field, advice=advice(reason)), reason or code)


def check(scope: Scope) -> Request:
    """The request of `scope`, or `RefusedError`. Nothing has been read from the body yet."""
    raw: list[tuple[bytes, bytes]] = list(scope["headers"])
    if len(raw) > MAX_HEADERS or sum(len(name) + len(value) for name, value in raw) > MAX_HEADER_BYTES:
        raise refuse("headers-too-large")
    headers: dict[bytes, bytes] = {}
    for name, value in raw:
        lower = name.lower()
        if lower in headers and lower in SINGLE:
            raise refuse("malformed", f"header `{lower.decode('latin-1')}` is sent more than once")
        if b"_" in lower and lower.replace(b"_", b"-") in SINGLE:
            raise refuse("malformed", "a header is spelled with `_` where one of ours has `-`")
        headers[lower] = value if lower not in headers else headers[lower] + b", " + value
    if not headers.get(b"host"):
        raise refuse("malformed", "header `host` is missing")
    # Proofs of possession are held against an address that is made with it: it must not bring a path of its own.
    if not _HOST.fullmatch(headers[b"host"].strip()):
        raise refuse("malformed", "header `host`: expected a name or an address, and perhaps a port")
    _check_framing(scope, headers)
    text = {name.decode("latin-1"): value.decode("latin-1").strip() for name, value in headers.items()}
    client = scope.get("client") or ("local", 0)
    return Request(
        method=scope["method"],
        path=_segments(scope),
        query=_query(scope.get("query_string", b"")),
        headers=text,
        client=str(client[0]),
    )


def _check_framing(scope: Scope, headers: Mapping[bytes, bytes]) -> None:
    encoding = headers.get(b"transfer-encoding")
    if encoding is not None:
        if b"content-length" in headers:
            raise refuse("malformed", "both `content-length` and `transfer-encoding` are sent")
        if encoding.strip().lower() != b"chunked" or scope.get("http_version") == "1.0":
            raise refuse("malformed", "the only transfer encoding is `chunked`, and only in HTTP/1.1")
    length = headers.get(b"content-length")
    if length is not None and not (length.isdigit() and len(length) < 20):
        raise refuse("malformed", "header `content-length` is not a number")
    if b"upgrade" in headers:
        raise refuse("malformed", "an upgrade of the connection is not possible here")


def _segments(scope: Scope) -> tuple[str, ...]:
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    raw = raw.split(b"?", 1)[0]
    lower = raw.lower()
    if (
        not raw.startswith(b"/")
        or b"\\" in raw
        or any(bad in lower for bad in (b"%2f", b"%5c", b"%00", b"%2e", b"%25", b"%3f", b"%23"))
    ):
        raise refuse("malformed", "the path holds an encoded separator or dot")
    parts = scope["path"].split("/")[1:]
    if any(part in ("", ".", "..") for part in parts[:-1]) or parts[-1] in (".", "..") or not scope["path"].isascii():
        raise refuse("malformed", "the path holds an empty or dot segment")
    return tuple(parts[:-1] if parts[-1] == "" else parts)


def _query(raw: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in raw.decode("latin-1").split("&") if raw else []:
        name, _, value = pair.partition("=")
        if not name or name in found or "%" in pair or "+" in pair:
            raise refuse("malformed", "the query must be plain `name=value` pairs, each name once")
        found[name] = value
    return found


JSON, FORM = "application/json", "application/x-www-form-urlencoded"
CLOUDEVENTS = "application/cloudevents+json"  # structured mode: the whole body is JSON


async def read_body(request: Request, receive: Receive, *, limit: int, seconds: float, expected: str = JSON) -> bytes:
    """The whole body, at most `limit` bytes, within `seconds`; it must be declared as what is `expected`."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    kind = JSON if kind == CLOUDEVENTS else kind
    if kind != expected or request.headers.get("content-encoding", "identity") != "identity":
        raise refuse("unsupported-media-type", f"expected `{expected}`")
    if int(request.headers.get("content-length", "0")) > limit:
        raise refuse("too-large", f"at most {limit} bytes are taken")
    try:
        async with asyncio.timeout(seconds):
            return await _collect(receive, limit)
    except TimeoutError:
        raise refuse("timeout") from None


async def _collect(receive: Receive, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise refuse("malformed", "the caller went away before the body was whole", reason="disconnected")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise refuse("too-large", f"at most {limit} bytes are taken")
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)


_JSON = (b"content-type", b"application/json")
_PROBLEM = (b"content-type", b"application/problem+json")
_COMMON = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


async def send_json(send: Send, status: int, value: Any, headers: Mapping[str, str]) -> None:
    """Answer with `value` as JSON."""
    await _send(send, status, msgspec.json.encode(value), _JSON, headers)


async def send_problem(send: Send, answer: Problem, headers: Mapping[str, str]) -> None:
    """Answer with a problem; `Retry-After` says when to try again where that makes sense."""
    more = dict(headers)
    if answer.retry_after_seconds:
        more["retry-after"] = str(answer.retry_after_seconds)
    if answer.status == 401:
        bound = answer.detail.startswith("refused: pop_")  # RFC 9449, section 7.1
        more["www-authenticate"] = 'DPoP error="invalid_dpop_proof", algs="Ed25519"' if bound else 'Bearer error="invalid_token"'
    await _send(send, answer.status, msgspec.json.encode(answer), _PROBLEM, more)


async def send_text(send: Send, status: int, text: bytes, content_type: str, headers: Mapping[str, str]) -> None:
    """Answer with plain bytes."""
    await _send(send, status, text, (b"content-type", content_type.encode()), headers)


async def _send(send: Send, status: int, content: bytes, kind: tuple[bytes, bytes], more: Mapping[str, str]) -> None:
    headers = [kind, (b"content-length", str(len(content)).encode()), *_COMMON]
    headers += [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in more.items() if value]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
