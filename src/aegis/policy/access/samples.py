"""Arguments that fit a contract: a plain value for each part of its input schema.

What is made here is a guess of the simplest value; whoever uses it checks it against the schema. A schema that no guess fits leaves
a tool without an example, never with a wrong one.
"""

from collections.abc import Mapping
from typing import Any

from aegis.model.contract import Contract
from aegis.policy.ir import Kind, ToolLine
from aegis.policy.nearmiss.texts import specimens
from aegis.policy.nearmiss.values import sample

MAX_DEPTH = 8
_LONGEST = 2000
_PARSED = (Kind.URL, Kind.EMAIL, Kind.HOST)
_FORMATS = {
    "date": "2026-01-07",
    "date-time": "2026-01-07T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "P1D",
    "email": "someone@mail.example",
    "hostname": "host.example",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://host.example/",
    "uri-reference": "/sample",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def arguments(contract: Contract, line: ToolLine) -> dict[str, Any]:
    """A value for each argument that a call must have."""
    schema = contract.input_schema
    properties: Mapping[str, Any] = schema["properties"]
    wanted = {*schema.get("required", ()), *(name for name, each in line.args.items() if not each.optional)}
    found: dict[str, Any] = {}
    for name in sorted(wanted & properties.keys()):
        kind = line.args[name].kind if name in line.args else Kind.ANY
        found[name] = sample(kind) if kind in _PARSED else value(properties[name], schema)
    return found


def value(schema: Any, root: Any, depth: int = 0) -> Any:
    """A value that the schema most likely takes."""
    if not isinstance(schema, Mapping) or depth > MAX_DEPTH:
        return "sample"
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    for key in ("enum", "examples"):
        if schema.get(key):
            return schema[key][0]
    if "$ref" in schema:
        return value(_target(schema["$ref"], root), root, depth + 1)
    for key in ("allOf", "anyOf", "oneOf"):
        if schema.get(key):
            rest = {name: part for name, part in schema.items() if name != key}
            parts = schema[key] if key == "allOf" else schema[key][:1]
            return value(_merged([rest, *parts]), root, depth + 1)
    kinds = schema.get("type", "object" if "properties" in schema else "string")
    kind = kinds if isinstance(kinds, str) else next((each for each in kinds if each != "null"), "null")
    return _OF_TYPE[kind](schema, root, depth) if kind in _OF_TYPE else None


def _target(ref: str, root: Any) -> Any:
    found = root
    for part in ref.removeprefix("#/").split("/"):
        if not isinstance(found, Mapping) or part not in found:
            return {}
        found = found[part]
    return found


def _merged(parts: list[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for part in parts:
        for key, each in part.items() if isinstance(part, Mapping) else ():
            if key == "properties":
                found[key] = {**found.get(key, {}), **each}
            else:
                found[key] = [*found.get(key, []), *each] if key == "required" else each
    return found


def _text(schema: Mapping[str, Any], root: Any, depth: int) -> Any:  # noqa: ARG001 - one shape for all types
    if schema.get("format") in _FORMATS:
        return _FORMATS[schema["format"]]
    least, most = schema.get("minLength", 0), schema.get("maxLength", _LONGEST)
    if "pattern" in schema:
        found = specimens(schema["pattern"])
        return next((text for text in found if least <= len(text) <= most), "sample")
    return "sample"[:most].ljust(min(least, _LONGEST), "a")


def _number(schema: Mapping[str, Any], root: Any, depth: int) -> Any:  # noqa: ARG001 - as above
    step = schema.get("multipleOf", 1)
    low = schema.get("minimum", schema["exclusiveMinimum"] + step if "exclusiveMinimum" in schema else None)
    high = schema.get("maximum", schema["exclusiveMaximum"] - step if "exclusiveMaximum" in schema else None)
    found = max(step, low) if low is not None else step
    found = min(found, high) if high is not None else found
    return -(-found // step) * step if low is not None and found == low else found // step * step


def _array(schema: Mapping[str, Any], root: Any, depth: int) -> Any:
    first = [value(each, root, depth + 1) for each in schema.get("prefixItems", ())]
    more = [value(schema.get("items", {}), root, depth + 1)] * (schema.get("minItems", 0) - len(first))
    return [*first, *more]


def _object(schema: Mapping[str, Any], root: Any, depth: int) -> Any:
    properties = schema.get("properties", {})
    return {name: value(properties.get(name, {}), root, depth + 1) for name in schema.get("required", ())}


_OF_TYPE = {
    "string": _text,
    "integer": _number,
    "number": _number,
    "boolean": lambda *_: False,
    "array": _array,
    "object": _object,
    "null": lambda *_: None,
}
