"""The contract of a message between agents: who may send it to whom, what it carries, and how long it may wait.

`aegis.message/v1` documents are written by the message's owner:

    kind       Message: one addressee gets it. Event: every addressee gets its own copy.
    metadata   name, version, tenant, owner
    spec       description, from, to, timeout, idempotency, data

To send is to call the tool `message.NAME`, whose arguments are the attributes of the CloudEvents envelope and the data. So a
message contract *is* a contract: scopes, rules, approvals, history, redaction, halts and the journal see a call like any other.
The data is closed like a tool's input: what the schema does not name is refused.
"""

import re
from typing import Any, Literal, get_args

from msgspec import Struct

from aegis.crypto.canonical import canon, canon_numbers
from aegis.crypto.digest import sha256
from aegis.model.address import UpstreamAddress
from aegis.model.contract import NAME, VERSION, Contract
from aegis.model.document import Document
from aegis.model.node import Node
from aegis.model.operation import Operation, Segment
from aegis.model.schema import Schema, SchemaError

API_VERSION = "aegis.message/v1"
PREFIX = "message."
MAX_TIMEOUT_SECONDS = 30 * 86400
MAX_ENTRIES = 64
Kind = Literal["Message", "Event"]
Keyed = Literal["source_and_id", "required"]
_PARTY = re.compile(r"agent:[a-z0-9][a-z0-9._-]{0,62}|role:[a-z][a-z0-9_-]{0,62}")
_LOCAL = re.compile(r"#/\$defs/[^/]+(?:/.*)?")
_NAMES = frozenset({"$id", "$anchor", "$dynamicAnchor", "$dynamicRef"})
_TOP = ("patternProperties", "unevaluatedProperties", "$ref", "allOf", "anyOf", "oneOf", "if")
_ATTRIBUTES: dict[str, Any] = {
    "source": {"type": "string", "pattern": "^agent:[a-z0-9][a-z0-9._-]{0,62}$"},
    "id": {"type": "string", "minLength": 1, "maxLength": 128},
    "subject": {"type": "string", "minLength": 1, "maxLength": 256},
    "time": {"type": "string", "format": "date-time", "maxLength": 40},
}
_RESULT = Schema(
    {
        "type": "object",
        "required": ["messages"],
        "properties": {
            "messages": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["id", "to"],
                    "properties": {"id": {"type": "string"}, "to": {"type": "string"}},
                },
            }
        },
    }
)


class MessageContract(Contract, frozen=True, kw_only=True):
    """One version of a message's contract, as the contract of the tool `message.NAME`.

    `senders` and `addressees` are agents (`agent:buyer`) and roles (`role:treasury`: any one agent that plays it). `keyed` says
    where the idempotency key of a send comes from: the envelope's source and id, or the sender.
    """

    kind: Kind
    senders: tuple[str, ...]
    addressees: tuple[str, ...]
    wait_seconds: int
    keyed: Keyed
    data: Any

    @property
    def type(self) -> str:
        """The name of the message, as envelopes state it."""
        return self.name.removeprefix(PREFIX)

    def copies(self, to: str) -> tuple[str, ...]:
        """The addressees that get a copy, when the envelope names `to` (or nobody)."""
        return self.addressees if self.kind == "Event" else (to or self.addressees[0],)

    def reaches(self, agent_id: str, roles: tuple[str, ...]) -> tuple[str, ...]:
        """The addressees that stand for this agent."""
        names = {agent_id, *(f"role:{role}" for role in roles)}
        return tuple(each for each in self.addressees if each in names)


def send_key(source: str, event_id: str) -> str:
    """The idempotency key of an envelope: CloudEvents 1.0 holds `source` and `id` to name one event."""
    return "ce-" + sha256(canon([source, event_id])).removeprefix("sha256:")


def message_contract(document: Document) -> MessageContract:
    """The contract that a document states.

    Raises:
        DocumentError: With file, line and column, what was found and what was expected.
    """
    top = Node(document).fields(("apiVersion", "kind", "metadata", "spec"), ("apiVersion", "kind", "metadata", "spec"))
    top["apiVersion"].word((API_VERSION,))
    kind: Kind = top["kind"].word(get_args(Kind))  # type: ignore[assignment]  # word() gave one of the literals
    meta = top["metadata"].fields(("name", "version", "tenant", "owner"), ("name", "version", "tenant", "owner"))
    name, version = _match(meta["name"], NAME, "a name such as `order.placed`"), _match(meta["version"], VERSION, "X.Y.Z")
    words = ("description", "from", "to", "timeout", "idempotency", "data")
    spec = top["spec"].fields(words, words)
    addressees = _parties(spec["to"])
    keyed: Keyed = spec["idempotency"].word(get_args(Keyed))  # type: ignore[assignment]  # as above
    data = _closed(spec["data"])
    arguments = _arguments(data, addressees if kind == "Message" else ())
    meaning = {"kind": kind, "metadata": {"name": name, "version": version}, "spec": {**document.value["spec"], "data": data}}
    return MessageContract(
        name=PREFIX + name, version=version, tenant=meta["tenant"].text(), owner=meta["owner"].text(), source=document.source,
        description=spec["description"].text(), effect="write", resource=f"mailbox/{name}", interrupt="honours_key",
        idempotency_header="idempotency-key", upstream=UpstreamAddress(url="mailbox:"),
        operations={"call": _sending(tuple(arguments["properties"]))},
        input=_schema(spec["data"], arguments), output=_RESULT, digest=sha256(canon_numbers(meaning)),
        kind=kind, senders=_parties(spec["from"]), addressees=addressees,
        wait_seconds=spec["timeout"].integer(1, MAX_TIMEOUT_SECONDS), keyed=keyed, data=data,
    )  # fmt: skip


def _sending(arguments: tuple[str, ...]) -> Operation:
    return Operation(method="POST", path=(Segment(text="messages"),), body=tuple((name, name) for name in arguments))


def _arguments(data: dict[str, Any], choice: tuple[str, ...]) -> dict[str, Any]:
    """The input schema of a send. Definitions of the data move to the top, where its references look for them."""
    inner = {word: value for word, value in data.items() if word != "$defs"}
    addressed = {"to": {"type": "string", "enum": list(choice)}} if choice else {}
    found: dict[str, Any] = {
        "type": "object",
        "required": ["source", "id", "data", *(("to",) if len(choice) > 1 else ())],
        "properties": {**_ATTRIBUTES, **addressed, "data": inner},
        "additionalProperties": False,
    }
    return {**found, "$defs": data["$defs"]} if "$defs" in data else found


def _closed(node: Node) -> dict[str, Any]:
    """The data schema, closed against unknown members."""
    source = node.value
    if not isinstance(source, dict) or source.get("type") != "object" or not isinstance(source.get("properties"), dict):
        raise node.fail("expected `type: object` with `properties`: what a message carries has names")
    if source.get("additionalProperties", False) is not False:
        raise node.at("additionalProperties").fail("expected false: unknown members are refused")
    for key in _TOP:
        if key in source:
            raise node.at(key).fail("not at the top of a data schema: every member must be named under `properties`")
    _no_wandering(node)
    closed = {**source, "additionalProperties": False}
    _schema(node, closed)
    return closed


def _no_wandering(node: Node) -> None:
    """Refuse references that would lead elsewhere once the data stands inside the arguments of a call."""
    stack: list[tuple[Node, bool]] = [(node, False)]
    while stack:
        item, named = stack.pop()
        if isinstance(item.value, dict):
            for key, child in item.members().items():
                if not named and (key in _NAMES or (key == "$ref" and not _LOCAL.fullmatch(str(child.value)))):
                    raise child.fail(f"`{key}`: a data schema refers to its own `#/$defs/NAME` and to nothing else")
                stack.append((child, not named and key in ("properties", "$defs", "patternProperties")))
        elif isinstance(item.value, list):
            stack += [(child, False) for child in item.items(empty=True)]


def _parties(node: Node) -> tuple[str, ...]:
    found = tuple(_match(item, _PARTY, "an agent such as `agent:buyer` or a role such as `role:treasury`") for item in node.items())
    if len(set(found)) != len(found) or len(found) > MAX_ENTRIES:
        raise node.fail(f"expected each agent and role once, and at most {MAX_ENTRIES}")
    return found


def _match(node: Node, pattern: re.Pattern[str], expected: str) -> str:
    text = node.text()
    if not pattern.fullmatch(text) or len(text) > 128 - len(PREFIX):
        raise node.fail(f"expected {expected}")
    return text


def _schema(node: Node, source: Any) -> Schema:
    try:
        return Schema(source)
    except SchemaError as error:
        path = error.path
        inner = path[2:] if path[:2] == ("properties", "data") else () if path[:1] == ("properties",) else path
        raise node.document.error((*node.path, *inner), str(error)) from None


class Accepts(Struct, frozen=True):
    """The versions that a consumer says it understands: of each major version, up to a minor one."""

    versions: tuple[tuple[int, int], ...]

    def takes(self, numbers: tuple[int, int, int]) -> bool:
        """Whether a message of this version can be read: within a major version a contract only grows, and both sides cope."""
        return any(major == numbers[0] for major, _ in self.versions)

    @property
    def text(self) -> str:
        """As a consumer writes it."""
        return ",".join(f"{major}.{minor}" for major, minor in self.versions)
