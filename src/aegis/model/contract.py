"""A tool's contract: what it does, what it takes and gives, how it is spoken to, and whether it can be repeated safely.

`aegis.tool/v1` documents are written by the tool's owner:

    metadata   name, version, tenant, owner
    spec       description, effect, resource, interrupt, upstream, operations, input, output

The input schema is closed: an argument that it does not name is refused. Each argument is mapped exactly once by the operation, so
nothing that was decided on can get lost, and nothing that was not can get in.
"""

import re
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Any, Literal, get_args

from msgspec import Struct

from aegis.crypto.canonical import canon_numbers
from aegis.crypto.digest import sha256
from aegis.model.address import UpstreamAddress, distinct_headers, header_name, key_header, upstream_address
from aegis.model.document import Document
from aegis.model.floats import stray_floats
from aegis.model.node import Node
from aegis.model.operation import IDEMPOTENCY_KEY, Operation, Scalar, Segment
from aegis.model.schema import Schema, SchemaError, Violation

Effect = Literal["read", "write", "dangerous"]
Interrupt = Literal["honours_key", "ask", "neither"]
Conflicts = Literal["serialise", "refuse"]
API_VERSION = "aegis.tool/v1"
NAME = re.compile(r"[a-z][a-z0-9_-]*(?:\.[a-z0-9_-]+)*")
VERSION = re.compile(r"(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)\.(?:0|[1-9][0-9]*)")
_SILENT = frozenset({401, 403, 407, 408, 425, 429})  # about the question, not about the call
_NAMED = re.compile(r"\{([^}]*)\}")
_ARGUMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
MAX_COST = 10**12
OWN = "aegis."
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
_LITERAL = re.compile(r"[A-Za-z0-9._~:@-]+")


class Contract(Struct, frozen=True, kw_only=True):
    """One version of a tool's contract. `digest` is over its meaning: two files that say the same have the same digest.

    `cost_micros` is what one call costs, in millionths of the tenant's unit of money. `data_subject` is the argument that names the
    person whose data a call holds; empty when that is the person for whom the agent acts. `conflicts` says what becomes of a write
    while another one to the same `resource` is under way; empty when both may act.
    """

    name: str
    version: str
    tenant: str
    owner: str
    description: str
    effect: Effect
    resource: str
    interrupt: Interrupt
    idempotency_header: str
    upstream: UpstreamAddress
    operations: dict[str, Operation]
    input: Schema
    output: Schema | None
    digest: str
    source: str = ""
    cost_micros: int = 0
    data_subject: str = ""
    conflicts: Conflicts | Literal[""] = ""

    @property
    def numbers(self) -> tuple[int, int, int]:
        """The version as numbers, which order."""
        major, minor, patch = map(int, self.version.split("."))
        return major, minor, patch

    @property
    def input_schema(self) -> Any:
        """The input schema as its owner wrote it, closed."""
        return self.input.source

    @property
    def output_schema(self) -> Any:
        """The output schema; `None` when any JSON is a result."""
        return self.output.source if self.output else None

    @property
    def settles_after(self) -> timedelta:
        """How long after its decision a call can still be at work in the tool, so that "not done" cannot be believed before."""
        return timedelta(seconds=2 * self.upstream.timeout_seconds + self.upstream.connect_timeout_seconds)

    @property
    def max_response_bytes(self) -> int:
        """How large a result may be."""
        return self.upstream.max_response_bytes

    def resource_of(self, arguments: Mapping[str, str]) -> str:
        """What a call changes: the pattern with these arguments, as texts; one that is missing leaves its place as it is."""
        return _NAMED.sub(lambda found: arguments.get(found[1], found[0]), self.resource)

    def check_input(self, arguments: dict[str, Any]) -> tuple[Violation, ...]:
        """Where the arguments break the contract; empty when they fit."""
        return self.input.check(arguments) or stray_floats(self.input.source, arguments)

    def check_output(self, result: Any) -> tuple[Violation, ...]:
        """Where the result breaks the contract; empty when it fits."""
        return self.output.check(result) if self.output else ()


def contract(document: Document) -> Contract:
    """The contract that a document states.

    Raises:
        DocumentError: With file, line and column, what was found and what was expected.
    """
    top = Node(document).fields(("apiVersion", "kind", "metadata", "spec"), ("apiVersion", "kind", "metadata", "spec"))
    top["apiVersion"].word((API_VERSION,))
    top["kind"].word(("Tool",))
    meta = top["metadata"].fields(("name", "version", "tenant", "owner", "labels"), ("name", "version", "tenant", "owner"))
    name, version = _match(meta["name"], NAME, "a name such as `payments.transfer`"), _match(meta["version"], VERSION, "X.Y.Z")
    for label in meta["labels"].members().values() if "labels" in meta else ():
        label.text()
    if name.startswith(OWN):
        raise meta["name"].fail(f"names that begin with `{OWN}` are kept for what Aegis does itself")
    spec = top["spec"].fields(
        (
            "description", "effect", "resource", "interrupt", "idempotency_header", "upstream", "operations", "input", "output",
            "cost_micros", "data_subject", "conflicts",
        ),
        ("description", "effect", "upstream", "operations", "input"),
    )  # fmt: skip
    effect: Effect = spec["effect"].word(get_args(Effect))  # type: ignore[assignment]  # word() gave one of the literals
    closed = _closed(spec["input"])
    properties = _properties(spec["input"], closed)
    operations = _operations(spec["operations"], closed, properties)
    interrupt, resource = _consequences(top["spec"], spec, effect, operations, properties)
    upstream = upstream_address(spec["upstream"])
    idempotency_header = key_header(spec.get("idempotency_header"))
    distinct_headers(spec["operations"], operations, idempotency_header, upstream.credential)
    output = _schema(spec["output"], spec["output"].value) if "output" in spec else None
    meaning = {"metadata": {"name": name, "version": version}, "spec": {**document.value["spec"], "input": closed}}
    return Contract(
        name=name, version=version, tenant=meta["tenant"].text(), owner=meta["owner"].text(), source=document.source,
        description=spec["description"].text(), effect=effect, resource=resource, interrupt=interrupt,
        idempotency_header=idempotency_header, upstream=upstream, operations=operations,
        input=_schema(spec["input"], closed), output=output,
        digest=sha256(canon_numbers(meaning)),
        cost_micros=spec["cost_micros"].integer(0, MAX_COST) if "cost_micros" in spec else 0,
        data_subject=_data_subject(spec["data_subject"], closed) if "data_subject" in spec else "",
        conflicts=_conflicts(spec["conflicts"], resource, closed) if "conflicts" in spec else "",
    )  # fmt: skip


def _match(node: Node, pattern: re.Pattern[str], expected: str) -> str:
    text = node.text()
    if not pattern.fullmatch(text) or len(text) > 128:
        raise node.fail(f"expected {expected}")
    return text


def _schema(node: Node, source: Any) -> Schema:
    try:
        return Schema(source)
    except SchemaError as error:
        raise node.document.error((*node.path, *error.path), str(error)) from None


def _closed(node: Node) -> dict[str, Any]:
    """The input schema, closed against unknown arguments."""
    source = node.value
    if not isinstance(source, dict) or source.get("type") != "object" or not isinstance(source.get("properties"), dict):
        raise node.fail("expected `type: object` with `properties`: arguments are named")
    if source.get("additionalProperties", False) is not False:
        raise node.at("additionalProperties").fail("expected false: unknown arguments are refused")
    for key in ("patternProperties", "unevaluatedProperties", "$ref", "allOf", "anyOf", "oneOf", "if"):
        if key in source:
            raise node.at(key).fail("not at the top of an input schema: every argument must be named under `properties`")
    return {**source, "additionalProperties": False}


def _properties(node: Node, closed: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = closed["properties"]
    for name in properties:
        if not _ARGUMENT.fullmatch(name) or name == IDEMPOTENCY_KEY:
            raise node.at("properties").at(name).fail("expected a plain argument name, other than `idempotency_key`")
    return properties


def _data_subject(node: Node, closed: dict[str, Any]) -> str:
    """The argument that names whose data a call holds: it must be there in every call, and be a name or a number."""
    name = node.text()
    if name not in closed["properties"]:
        raise node.fail(f"`{name}` is not an argument of the input schema")
    if name not in closed.get("required", ()):
        raise node.fail(f"`{name}` says whose data a call holds, so the input schema must require it")
    schema = closed["properties"][name]
    if not isinstance(schema, dict) or schema.get("type") not in ("string", "integer"):
        raise node.fail(f"`{name}` says whose data a call holds: expected its schema to have type string or integer")
    return name


def _conflicts(node: Node, resource: str, closed: dict[str, Any]) -> Conflicts:
    """What becomes of the second write: then every call must say which resource it changes."""
    for name in _NAMED.findall(resource):
        if name not in closed.get("required", ()):
            raise node.fail(f"`resource` names `{{{name}}}`, so the input schema must require it: each call says what it changes")
    found: Conflicts = node.word(get_args(Conflicts))  # type: ignore[assignment]  # word() gave one of the literals
    return found


def _operations(node: Node, closed: dict[str, Any], properties: dict[str, Any]) -> dict[str, Operation]:
    found = node.fields(("call", "ask"), ("call",))
    call = _operation(found["call"], closed, properties, asks=False)
    mapped = call.arguments
    for name in properties:
        if mapped.count(name) != 1:
            how = "not mapped" if name not in mapped else "mapped more than once"
            raise found["call"].fail(f"argument `{name}` is {how}: path, query, headers and body carry each one exactly once")
    operations = {"call": call}
    if "ask" in found:
        operations["ask"] = _operation(found["ask"], closed, properties, asks=True)
    return operations


def _operation(node: Node, closed: dict[str, Any], properties: dict[str, Any], *, asks: bool) -> Operation:
    keys = ("method", "path", "query", "headers", "body", *(("done", "absent") if asks else ()))
    parts = node.fields(keys, ("method", "path", *(("done", "absent") if asks else ())))
    method = parts["method"].word(_METHODS if not asks else ("GET",))
    known = {**properties, **({IDEMPOTENCY_KEY: {"type": "string"}} if asks else {})}
    path = _path(parts["path"], closed, known)
    query = _mapping(parts.get("query"), known)
    headers = _mapping(parts.get("headers"), known)
    for wire, _ in headers:
        header_name(parts["headers"].at(wire), wire)
    taken = {segment.argument for segment in path} | {name for _, name in (*query, *headers)}
    body: tuple[tuple[str, str], ...] | None = None
    if "body" in parts:
        if method == "GET":
            raise parts["body"].fail("GET has no body")
        if parts["body"].value == "all":
            body = tuple((name, name) for name in properties if name not in taken)
        else:
            body = _mapping(parts["body"], known)
    done = _statuses(parts.get("done"))
    scalars = tuple((name, _scalar(node, name, known[name])) for name in sorted(taken - {""}))
    return Operation(
        method=method, path=path, query=query, headers=headers, body=body, scalars=scalars,
        done=done, absent=_statuses(parts.get("absent"), done),
    )  # fmt: skip


def _path(node: Node, closed: dict[str, Any], known: dict[str, Any]) -> tuple[Segment, ...]:
    text = node.text()
    if not text.startswith("/"):
        raise node.fail("expected a path that starts with `/`")
    segments = []
    for part in text.split("/")[1:] if text != "/" else []:
        if part.startswith("{") and part.endswith("}"):
            name = part[1:-1]
            if name not in known:
                raise node.fail(f"`{{{name}}}` is not an argument of the input schema")
            if name not in closed.get("required", ()) and name != IDEMPOTENCY_KEY:
                raise node.fail(f"`{{{name}}}` stands in the path, so the input schema must require it")
            segments.append(Segment(argument=name))
        elif _LITERAL.fullmatch(part) and part not in (".", ".."):
            segments.append(Segment(text=part))
        else:
            raise node.fail("a segment is plain text or one `{argument}`, and never empty")
    return tuple(segments)


def _mapping(node: Node | None, known: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    if node is None:
        return ()
    pairs = []
    for wire, child in node.members().items():
        name = child.text()
        if name not in known:
            raise child.fail(f"`{name}` is not an argument of the input schema")
        pairs.append((wire, name))
    return tuple(pairs)


def _scalar(node: Node, name: str, schema: Any) -> Scalar:
    kind = schema.get("type") if isinstance(schema, dict) else None
    if kind is None and isinstance(schema, dict) and all(isinstance(item, str) for item in schema.get("enum", (0,))):
        kind = "string"
    for scalar in ("string", "integer", "boolean"):
        if kind == scalar:
            return scalar
    raise node.fail(f"argument `{name}` travels as text, so its schema needs type string, integer or boolean")


def _statuses(node: Node | None, others: Collection[int] = ()) -> frozenset[int]:
    if node is None:
        return frozenset()
    status = node.fields(("status",), ("status",))["status"]
    return frozenset(_status(item, others) for item in status.items())


def _status(node: Node, others: Collection[int]) -> int:
    status = node.integer(200, 499)
    if status in others:
        raise node.fail("a status cannot mean both done and absent")
    if 300 <= status < 400 or status in _SILENT:
        raise node.fail(f"status {status} says nothing about the call that is asked about")
    return status


def _consequences(
    at: Node, spec: dict[str, Node], effect: Effect, operations: dict[str, Operation], properties: dict[str, Any]
) -> tuple[Interrupt, str]:
    """How the tool can be interrupted and what a call changes: both must be said of everything but a read."""
    if effect == "read":
        for key in ("interrupt", "resource", "conflicts"):
            if key in spec:
                raise spec[key].fail("a read changes nothing: leave this out, or say `effect: write`")
        if "ask" in operations:
            raise spec["operations"].at("ask").fail("a read can be repeated, so there is nothing to ask: leave this out")
        if operations["call"].method not in ("GET", "POST"):
            raise (
                spec["operations"].at("call").at("method").fail("a read is GET or POST; say `effect: write` if it changes anything")
            )
        return "honours_key", ""
    for key in ("interrupt", "resource"):
        if key not in spec:
            raise at.fail(f"`{key}` is missing: a {effect} must say what it changes and how it can be interrupted")
    interrupt: Interrupt = spec["interrupt"].word(get_args(Interrupt))  # type: ignore[assignment]  # word() gave a literal
    if (interrupt == "ask") != ("ask" in operations):
        raise spec["interrupt"].fail("`interrupt: ask` and an `ask` operation go together")
    resource = spec["resource"].text()
    for name in _NAMED.findall(resource):
        if name not in properties:
            raise spec["resource"].fail(f"`{{{name}}}` is not an argument of the input schema")
    return interrupt, resource
