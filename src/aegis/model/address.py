"""Where a tool is and how the gateway speaks to it: address, credential, and which headers belong to whom."""

import re
from urllib.parse import urlsplit

from msgspec import Struct

from aegis.model.credential import is_name
from aegis.model.node import Node
from aegis.model.operation import Operation

_HEADER = re.compile(r"[a-z][a-z0-9-]{0,63}")
_OUR_KEY = "idempotency-key"
_URL = re.compile(r"https?://(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/-]*)?")
_OURS = frozenset({
    "authorization", "host", "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "expect", "cookie",
    "proxy-authorization", "proxy-connection", "content-length", "content-type", "content-encoding", "accept-encoding",
    "traceparent", "tracestate", "idempotency-key", "via", "forwarded",
})  # fmt: skip


class Credential(Struct, frozen=True, kw_only=True):
    """How the gateway authenticates to the tool: a header, and where its value comes from.

    An environment variable and a file are the host's own, whichever tenant's contract names them; `sealed` is the name of a
    credential that the contract's tenant keeps in the store.
    """

    header: str
    prefix: str = ""
    env: str = ""
    file: str = ""
    sealed: str = ""


class UpstreamAddress(Struct, frozen=True, kw_only=True):
    """Where the tool is, and how long we wait for it. `url` has no path beyond a fixed prefix."""

    url: str
    timeout_seconds: float = 30.0
    connect_timeout_seconds: float = 3.0
    max_response_bytes: int = 1_048_576
    credential: Credential | None = None


def header_name(node: Node, name: str) -> str:
    """`name`, when a tool may use this header as it likes."""
    if not _HEADER.fullmatch(name) or name.startswith(("aegis-", "x-forwarded-")) or name in _OURS:
        raise node.fail("expected a header name in lower case that is neither ours nor one of framing or identity")
    return name


def key_header(node: Node | None) -> str:
    """The header that carries our idempotency key to the tool."""
    name = node.text().lower() if node else _OUR_KEY
    return name if node is None or name == _OUR_KEY else header_name(node, name)


def distinct_headers(node: Node, operations: dict[str, Operation], key: str, credential: Credential | None) -> None:
    """Refuse a header with two meanings: one of them would be lost on the way."""
    ours = [key, *([credential.header] if credential else [])]
    for kind, operation in operations.items():
        for wire, _ in operation.headers:
            if wire in ours:
                raise node.at(kind).at("headers").at(wire).fail(f"header `{wire}` carries the credential or the idempotency key")
    if len(set(ours)) != len(ours):
        raise node.fail(f"header `{key}` cannot carry both the credential and the idempotency key")


def upstream_address(node: Node) -> UpstreamAddress:
    """The address that `spec.upstream` states."""
    keys = ("url", "timeout_seconds", "connect_timeout_seconds", "max_response_bytes", "credential")
    parts = node.fields(keys, ("url",))
    url = _url(parts["url"])
    return UpstreamAddress(
        url=url,
        timeout_seconds=float(parts["timeout_seconds"].integer(1, 600)) if "timeout_seconds" in parts else 30.0,
        connect_timeout_seconds=float(parts["connect_timeout_seconds"].integer(1, 60))
        if "connect_timeout_seconds" in parts
        else 3.0,
        max_response_bytes=parts["max_response_bytes"].integer(1, 64 * 1024 * 1024) if "max_response_bytes" in parts else 1_048_576,
        credential=_credential(parts["credential"]) if "credential" in parts else None,
    )


def _url(node: Node) -> str:
    url = node.text().rstrip("/")
    if not _URL.fullmatch(url) or any(part in ("", ".", "..") for part in url.split("/")[3:]):
        raise node.fail("expected `http://HOST[:PORT][/prefix]` or https, without user, query or fragment")
    try:
        parts = urlsplit(url)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:  # a bracket that is not an IPv6 address, a port beyond 65535
        named = False
    if not named:
        raise node.fail("expected a host, and a port from 1 to 65535 if any")
    return url


def _credential(node: Node) -> Credential:
    parts = node.fields(("header", "prefix", "env", "file", "sealed"), ("header",))
    if len({"env", "file", "sealed"} & set(parts)) != 1:
        raise node.fail("expected exactly one of `env`, `file` and `sealed`: where the secret is, never the secret itself")
    where = {name: parts[name].text() for name in ("env", "file", "sealed") if name in parts}
    if "sealed" in where and not is_name(where["sealed"]):
        raise parts["sealed"].fail("expected the name of a credential: up to 64 of a-z, 0-9, `.`, `_` and `-`")
    header = parts["header"].text().lower()
    if not _HEADER.fullmatch(header) or (header in _OURS and header != "authorization"):
        raise parts["header"].fail("expected a header name such as `authorization`")
    prefix = parts["prefix"].value if "prefix" in parts else ""
    if not isinstance(prefix, str) or not all(" " <= char <= "~" for char in prefix):
        raise parts["prefix"].fail("expected visible ASCII")
    return Credential(header=header, prefix=prefix, **where)
