"""The pieces that schemas are made of."""

from collections.abc import Iterable
from typing import Any

Schema = dict[str, Any]
NAME = "[A-Za-z_][A-Za-z0-9_-]*"
DOTTED = rf"^{NAME}(\.{NAME})*$"
_VERSION = r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2}"
RANGE = rf"^(>=|<=|>|<|=){_VERSION}( (>=|<=|>|<|=){_VERSION})*$"
CHAIN = "chain"


def ref(name: str) -> Schema:
    """Another definition of the schema."""
    return {"$ref": f"#/$defs/{name}"}


def array(item: Schema) -> Schema:
    """A list of at least one element."""
    return {"type": "array", "items": item, "minItems": 1}


def mapping(value: Schema, *, named: bool = False) -> Schema:
    """A mapping with free keys, plain names if `named`."""
    names: Schema = {"propertyNames": {"pattern": f"^{NAME}$", "maxLength": 128}} if named else {}
    return {"type": "object", "additionalProperties": value} | names


def closed(properties: Schema, required: Iterable[str] = (), *, all_of_them: bool = False) -> Schema:
    """A mapping with these keys and no others."""
    needed = list(properties) if all_of_them else list(required)
    found: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return found | ({"required": needed} if needed else {})


def either(literal: Schema) -> Schema:
    """A literal, or a reference to the data of the tenant."""
    return {"anyOf": [literal, ref("ref")]}
