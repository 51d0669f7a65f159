"""Numbers with a fraction part in their text (`1.0`) only where a schema says `number`.

JSON Schema calls `1.0` an integer, JSON readers do not agree, and a digest would differ. So such a number is refused wherever the
schema does not say `number` at that place.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from math import isfinite
from typing import Any
from urllib.parse import unquote

import jsonschema_rs

from aegis.crypto.ijson import escape
from aegis.model.schema import MAX_NAME, Violation

Schemas = Iterable[Any]
Branches = Sequence[Mapping[str, Any]]


def stray_floats(schema: Any, value: Any) -> tuple[Violation, ...]:
    """Every float of `value` that stands where `schema` does not declare `number`."""
    return tuple(_stray(schema, _branches(schema, (schema,)), value, "")) if _holds_float(value) else ()


def _holds_float(value: Any) -> bool:
    kind = type(value)
    if kind is dict:
        return any(map(_holds_float, value.values()))
    return any(map(_holds_float, value)) if kind is list else kind is float


def _stray(root: Any, branches: Branches, value: Any, path: str) -> Iterator[Violation]:
    kind = type(value)
    if kind is float and not (isfinite(value) and any("number" in _types(branch) for branch in branches)):
        yield Violation(path=path, keyword="type", text="wrong type: a number with a fraction", limit="integer")
    elif kind is dict:
        for name, member in value.items():
            yield from _stray(root, _branches(root, _members(branches, name)), member, f"{path}/{escape(name[:MAX_NAME])}")
    elif kind is list:
        prefixed = max((len(branch.get("prefixItems", ())) for branch in branches), default=0)
        rest = _branches(root, _items(branches, prefixed))
        for index, item in enumerate(value):
            here = _branches(root, _items(branches, index)) if index < prefixed else rest
            yield from _stray(root, here, item, f"{path}/{index}")


def _branches(root: Any, schemas: Schemas) -> Branches:
    """The schemas and everything that they refer to or combine, each once: a declaration in any branch counts."""
    found: dict[int, Mapping[str, Any]] = {}
    pending = list(schemas)
    while pending:
        schema = pending.pop()
        if not isinstance(schema, Mapping) or id(schema) in found:
            continue
        found[id(schema)] = schema
        pending.append(_resolve(root, schema.get("$ref")))
        pending += [schema.get("then"), schema.get("else"), *schema.get("dependentSchemas", {}).values()]
        for word in ("anyOf", "oneOf", "allOf"):
            pending += schema.get(word, ())
    return list(found.values())


def _resolve(root: Any, reference: Any) -> Any:
    """What a JSON Pointer in a fragment leads to; nothing for every other reference, so that no float fits there."""
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        return None
    node = root
    for part in unquote(reference).split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, Mapping):
            node = node.get(name)
        elif isinstance(node, list) and name.isdecimal() and int(name) < len(node):
            node = node[int(name)]
        else:
            return None
    return node


def _types(schema: Mapping[str, Any]) -> tuple[str, ...]:
    declared = schema.get("type", ())
    return (declared,) if isinstance(declared, str) else tuple(declared)


def _members(branches: Branches, name: str) -> list[Any]:
    found = []
    for branch in branches:
        named = [branch["properties"][name]] if name in branch.get("properties", {}) else []
        named += [schema for pattern, schema in branch.get("patternProperties", {}).items() if _matches(pattern, name)]
        found += named or [branch.get("additionalProperties")]
        found.append(branch.get("unevaluatedProperties"))
    return found


def _items(branches: Branches, index: int) -> list[Any]:
    found = []
    for branch in branches:
        prefix = branch.get("prefixItems", ())
        found.append(prefix[index] if index < len(prefix) else branch.get("items"))
        found.append(branch.get("unevaluatedItems"))
    return found


def _matches(pattern: str, name: str) -> bool:
    return _pattern(pattern).is_valid(name)


@lru_cache(maxsize=256)
def _pattern(pattern: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator({"pattern": pattern}, pattern_options=jsonschema_rs.RegexOptions())
