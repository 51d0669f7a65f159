"""The shallow line of a tool, drawn from its registered contract: `contract: payments.transfer@1`.

Arguments and their JSON types come from the contract's input schema, the version range from its major version. What a line cannot
say (ranges, patterns, enumerations) is checked by the full contract in front of the rules; the line keeps a set safe by itself.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from aegis.model.contract import Contract
from aegis.model.node import Node, nearest
from aegis.policy.ir import Argument, Kind

_KINDS = {
    "string": Kind.STRING,
    "integer": Kind.INTEGER,
    "number": Kind.NUMBER,
    "boolean": Kind.BOOLEAN,
    "object": Kind.OBJECT,
    "array": Kind.ARRAY,
}
_FORMATS = {"uri": Kind.URL, "email": Kind.EMAIL}


class Drawn(Struct, frozen=True, kw_only=True):
    """What a contract says about a tool, as a line says it."""

    args: dict[str, Argument]
    version: str
    digest: str


def drawn(node: Node, tool: str, contracts: Mapping[str, Contract]) -> Drawn:
    """The line of `TOOL@MAJOR`: the newest registered contract with that major version.

    `contracts` maps any key to contracts; the newest of the major version counts.
    """
    text = node.text()
    name, at, major = text.partition("@")
    if not at or not major.isdigit() or name != tool:
        raise node.fail(f"expected `{tool}@MAJOR` such as `{tool}@1`, found `{text}`")
    known = {f"{each.name}@{each.numbers[0]}": each for each in sorted(contracts.values(), key=lambda each: each.numbers)}
    found = known.get(text)
    if found is None:
        raise node.fail(f"no contract `{text}` is registered for this tenant{nearest(text, known)}")
    required = set(found.input_schema.get("required", ()))
    properties = found.input_schema["properties"]
    return Drawn(
        args={arg: _argument(node, arg, schema, required=arg in required) for arg, schema in properties.items()},
        version=f">={major}.0.0 <{int(major) + 1}.0.0",
        digest=found.digest,
    )


def _argument(node: Node, name: str, schema: Any, *, required: bool) -> Argument:
    types = schema.get("type") if isinstance(schema, dict) else None
    given = [types] if isinstance(types, str) else list(types or ())
    kinds = [each for each in given if each != "null"]
    if len(kinds) != 1 or kinds[0] not in _KINDS:
        raise node.fail(f"the contract gives argument `{name}` no single type; write the line with `args:` instead")
    kind = _KINDS[kinds[0]]
    if kind is Kind.STRING:
        kind = _FORMATS.get(schema.get("format", ""), Kind.STRING)
    return Argument(kind, optional=not required or "null" in given)
