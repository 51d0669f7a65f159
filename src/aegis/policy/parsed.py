"""The one strict reading of URL and e-mail arguments: rules see the parts, never the text.

Only the host that every reader agrees on counts. What WHATWG URL, RFC 3986 and lenient clients could read differently
(user information, backslashes, white space, encoded or empty path segments, numbers in disguise, a trailing dot) is refused, and a
refusal is a violation of the tool's contract.
"""

import string
from collections.abc import Callable, Mapping
from typing import Any

from aegis.policy.hosts import Ambiguous, canonical_host, canonical_name
from aegis.policy.ir import Kind

PORTS = {"http": 80, "https": 443}
FIELDS: dict[Kind, dict[str, Kind]] = {
    Kind.URL: {
        "scheme": Kind.STRING,
        "host": Kind.HOST,
        "host_kind": Kind.STRING,
        "port": Kind.INTEGER,
        "path": Kind.STRING,
        "query": Kind.STRING,
    },
    Kind.EMAIL: {"local": Kind.STRING, "domain": Kind.HOST},
}
MAX_URL = 8192
MAX_LOCAL = 64
_UNRESERVED = frozenset(string.ascii_letters + string.digits + "-._~")
_LITERAL = _UNRESERVED | frozenset("!$&'()*+,;=:@")
_PATH = _LITERAL | frozenset("/%")
_QUERY = _PATH | frozenset("?")
_ATOM = frozenset(string.ascii_letters + string.digits + "#$&'*+-/=?^_`{|}~.")
_HEX = frozenset(string.hexdigits)


def read_url(text: str) -> dict[str, Any]:
    """Scheme, host, kind of host, port, path and query of an absolute http or https URL.

    Raises:
        Ambiguous: With the reason, never with a part of the URL.

    Source: RFC 3986, sections 3 and 7; WHATWG URL, "host parsing".
    """
    if not text.isascii() or len(text) > MAX_URL:
        raise Ambiguous(f"a URL is at most {MAX_URL} ASCII characters; others are percent-encoded")
    scheme, colon, rest = text.partition("://")
    scheme = scheme.lower()
    if not colon or scheme not in PORTS:
        raise Ambiguous("expected a URL that starts with http:// or https://")
    if "\\" in rest:
        raise Ambiguous("a backslash separates parts for some readers only")
    authority, tail = _authority(rest)
    host, kind, port = _host_and_port(authority, PORTS[scheme])
    tail, _, fragment = tail.partition("#")
    path, mark, query = tail.partition("?")
    _characters(fragment, _QUERY, "fragment")
    _characters(query, _QUERY, "query")
    return {
        "scheme": scheme,
        "host": host,
        "host_kind": kind,
        "port": port,
        "path": _path(path),
        "query": query if mark else None,
    }


def read_email(text: str) -> dict[str, Any]:
    """Local part and domain of one bare address such as `ana@acme.example`.

    Raises:
        Ambiguous: With the reason, never with a part of the address.

    Source: RFC 5321, section 4.1.2, without quoted strings, source routes and address literals.
    """
    local, at, domain = text.partition("@")
    if not at or "@" in domain:
        raise Ambiguous("expected one address with one @")
    if not local or len(local) > MAX_LOCAL or not _ATOM.issuperset(local):
        raise Ambiguous("the local part is not a plain dot-atom (no quotes, routes, spaces, `!` or `%`)")
    if local.startswith(".") or local.endswith(".") or ".." in local:
        raise Ambiguous("the local part has a dot at an end or two in a row")
    return {"local": local, "domain": canonical_name(domain)}


READERS: Mapping[Kind, Callable[[str], dict[str, Any]]] = {Kind.URL: read_url, Kind.EMAIL: read_email}


def _authority(rest: str) -> tuple[str, str]:
    """(authority, everything from the first `/`, `?` or `#`); both readings of where it ends must agree on the host."""
    ends = [index for mark in "/?#" if (index := rest.find(mark)) >= 0]
    end = min(ends, default=len(rest))
    if "@" in rest.partition("/")[0]:
        raise Ambiguous("user information (an @ before the path) hides the host")
    return rest[:end], rest[end:]


def _host_and_port(authority: str, default: int) -> tuple[str, str, int]:
    host, colon, digits = authority.rpartition(":") if not authority.endswith("]") else (authority, "", "")
    if not colon:
        host, digits = authority, str(default)
    if not digits.isdigit() or len(digits) > 5 or digits[0] == "0" or int(digits) > 65535:
        raise Ambiguous("the port is not a number from 1 to 65535 without leading zeros")
    return *canonical_host(host), int(digits)


def _path(path: str) -> str:
    """The path as a server decodes it, `/` when empty: what may stand unencoded does, other escapes are in upper case."""
    _characters(path, _PATH, "path")
    segments = path.split("/")[1:]
    if "" in segments[:-1]:
        raise Ambiguous("the path has an empty segment")
    if any(segment in (".", "..") for segment in segments):
        raise Ambiguous("the path has a dot segment")
    for escape in _escapes(path):
        if chr(escape) in _UNRESERVED or escape in (0x00, 0x2F, 0x5C):
            raise Ambiguous("the path encodes a character that some readers decode first")
    first, *pieces = path.split("%")
    return (first + "".join(_decoded(piece) for piece in pieces)) or "/"


def _decoded(piece: str) -> str:
    """The text behind a percent sign with its escape in the one spelling that rules see."""
    char = chr(int(piece[:2], 16))
    return (char if char in _LITERAL else f"%{piece[:2].upper()}") + piece[2:]


def _characters(text: str, allowed: frozenset[str], what: str) -> None:
    if not allowed.issuperset(text):
        raise Ambiguous(f"the {what} holds a character that must be percent-encoded")
    list(_escapes(text))


def _escapes(text: str) -> list[int]:
    pieces = text.split("%")[1:]
    if any(len(piece) < 2 or not _HEX.issuperset(piece[:2]) for piece in pieces):
        raise Ambiguous("a percent sign is not followed by two hexadecimal digits")
    return [int(piece[:2], 16) for piece in pieces]
