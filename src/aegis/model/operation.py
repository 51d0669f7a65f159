"""How a tool's operation looks on the wire, in both directions.

`to_request` turns arguments into an HTTP request, `to_arguments` turns a request that a door saw back into arguments. Every part is
mapped: what the operation does not name is refused, and an argument can never change the shape of the request it travels in. For
all arguments that fit the contract and are not refused here, `to_arguments(to_request(arguments)) == arguments`.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal
from unicodedata import category, normalize
from urllib.parse import quote, unquote_to_bytes

import orjson
from msgspec import Struct

from aegis.crypto.ijson import MAX_INTEGER, escape
from aegis.errors import InputError

Scalar = Literal["string", "integer", "boolean"]
IDEMPOTENCY_KEY = "idempotency_key"
_ENCODED = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SURROGATE = re.compile("[\ud800-\udfff]")
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,15})")


class Segment(Struct, frozen=True):
    """One segment of a path template: fixed text, or the argument that stands there."""

    text: str = ""
    argument: str = ""


class Operation(Struct, frozen=True, kw_only=True):
    """One operation.

    `query`, `headers` and `body` map a name on the wire to an argument; `scalars` gives the types of arguments that travel as text.
    `body` is `None` when there is none; `done` and `absent` are the statuses by which an `ask` operation answers.
    """

    method: str
    path: tuple[Segment, ...]
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: tuple[tuple[str, str], ...] | None = None
    scalars: tuple[tuple[str, Scalar], ...] = ()
    done: frozenset[int] = frozenset()
    absent: frozenset[int] = frozenset()

    @property
    def arguments(self) -> tuple[str, ...]:
        """Every argument that the operation maps, as often as it does."""
        places = (*self.query, *self.headers, *(self.body or ()))
        return (*(segment.argument for segment in self.path if segment.argument), *(name for _, name in places))


class OutgoingRequest(Struct, frozen=True, kw_only=True):
    """A request as it goes on the wire: `path` and `query` are percent-encoded, `body` is JSON or `None`."""

    method: str
    path: str
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None

    @property
    def target(self) -> str:
        """Path and query."""
        return f"{self.path}?{self.query}" if self.query else self.path


def to_request(operation: Operation, arguments: Mapping[str, Any], *, idempotency_key: str = "") -> OutgoingRequest:
    """The request that carries `arguments`.

    Raises:
        InputError: An argument has no place here, or its value could change the shape of the request.
    """
    given = {**arguments, IDEMPOTENCY_KEY: idempotency_key} if idempotency_key else arguments
    if not idempotency_key:
        for name in arguments.keys() - set(operation.arguments):
            raise InputError("no part of the operation carries this argument", f"/{escape(name)}")
    path = "".join("/" + (_segment(segment.argument, given) if segment.argument else segment.text) for segment in operation.path)
    query = "&".join(
        f"{quote(wire, safe='')}={quote(_text(given[name], name), safe='')}" for wire, name in operation.query if name in given
    )
    headers = tuple((wire, _header(given[name], name)) for wire, name in operation.headers if name in given)
    body = None
    if operation.body is not None:
        body = _body({wire: given[name] for wire, name in operation.body if name in given})
    return OutgoingRequest(method=operation.method, path=path or "/", query=query, headers=headers, body=body)


def to_arguments(operation: Operation, method: str, path: str, query: str, headers: Mapping[str, str], body: Any) -> dict[str, Any]:
    """The arguments that a request carries.

    Args:
        operation: The one that the request is held against.
        method: In capitals.
        path: The raw path, percent-encoded as it was sent.
        query: The raw query, percent-encoded, without `?`.
        headers: Names in lower case. Headers that the operation does not map carry nothing and are never forwarded.
        body: The parsed JSON body; `None` when there is none.

    Raises:
        InputError: The request is not of this operation, or holds a part that is not mapped.
    """
    if method != operation.method:
        raise InputError(f"expected method {operation.method}", "/method")
    types = dict(operation.scalars)
    found: dict[str, Any] = _from_path(operation, path, types)
    for wire, value in _pairs(query):
        name = next((name for known, name in operation.query if known == wire), None)
        if name is None or name in found:
            raise InputError("query parameter is not mapped, or sent twice", "/query")
        found[name] = _typed(value, types[name], f"/query/{escape(wire)}")
    for wire, name in operation.headers:
        if wire in headers:
            found[name] = _typed(headers[wire], types[name], f"/headers/{wire}")
    if operation.body is None:
        if body is not None:
            raise InputError("this operation has no body", "/body")
        return found
    if not isinstance(body, dict):
        raise InputError("expected an object", "/body")
    names = dict(operation.body)
    for wire, value in body.items():
        if wire not in names:
            raise InputError("member is not mapped", f"/body/{escape(wire[:64])}")
        found[names[wire]] = value
    return found


def _from_path(operation: Operation, path: str, types: Mapping[str, Scalar]) -> dict[str, Any]:
    parts = path[1:].split("/") if path != "/" else []
    if not path.startswith("/") or len(parts) != len(operation.path):
        raise InputError("another path", "/path")
    found: dict[str, Any] = {}
    for segment, part in zip(operation.path, parts, strict=True):
        if not segment.argument:
            if part != segment.text:
                raise InputError("another path", "/path")
            continue
        value = _decoded(part, "/path")
        if quote(value, safe="") != part:
            raise InputError("a path segment is not in its one canonical encoding", "/path")
        found[segment.argument] = _typed(value, types[segment.argument], "/path")
        _segment(segment.argument, found)
    return found


def _segment(name: str, given: Mapping[str, Any]) -> str:
    if name not in given:
        raise InputError("argument stands in the path and is missing", f"/{name}")
    text = _text(given[name], name)
    # Some servers normalise Unicode and cut parameters (`..;x`) and spaces before they look for dot segments: judge what they see.
    seen = normalize("NFKC", text)
    if seen.partition(";")[0].strip() in ("", ".", "..") or any(char in "/\\%" or category(char) == "Cc" for char in text + seen):
        raise InputError("value could change the shape of the path", f"/{name}")
    return quote(text, safe="")


def _text(value: Any, name: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        raise InputError("expected text, an integer or a boolean", f"/{name}")
    if _SURROGATE.search(value):
        raise InputError("holds a lone surrogate, which is not a character", f"/{name}")
    return value


def _header(value: Any, name: str) -> str:
    text = _text(value, name)
    if text != text.strip() or not all(" " <= char <= "~" for char in text):
        raise InputError("value cannot stand in a header: expected visible ASCII", f"/{name}")
    return text


def _body(members: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(members)
    except TypeError:
        raise InputError("holds what JSON cannot carry", "/body") from None


def _typed(text: str, kind: Scalar, place: str) -> Any:
    if kind == "string":
        return text
    if kind == "boolean" and text in ("true", "false"):
        return text == "true"
    if kind == "integer" and _INTEGER.fullmatch(text) and text != "-0" and abs(number := int(text)) <= MAX_INTEGER:
        return number
    raise InputError(f"expected {kind}", place)


def _pairs(query: str) -> list[tuple[str, str]]:
    found = []
    for pair in query.split("&") if query else []:
        name, equals, value = pair.partition("=")
        if not equals or "+" in pair:
            raise InputError("expected `name=value` pairs in percent-encoding", "/query")
        found.append((_decoded(name, "/query"), _decoded(value, "/query")))
    return found


def _decoded(text: str, place: str) -> str:
    if _ENCODED.search(text):
        raise InputError("broken percent-encoding", place)
    try:
        return unquote_to_bytes(text).decode("utf-8", "strict")
    except UnicodeDecodeError:
        raise InputError("not valid UTF-8", place) from None
