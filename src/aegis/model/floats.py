"""Numbers with a fraction part in their text (`1.0`) only where a schema says `number`.

JSON Schema calls `1.0` an integer, JSON readers do not agree, and a digest would differ. So such a number is refused wherever the
schema does not say `number` at that place.
"""

from collections.abc import Mapping
from typing import Any

from aegis.crypto.ijson import escape
from aegis.model.schema import Violation

_MAX_REFERENCES = 16


def stray_floats(schema: Any, value: Any) -> tuple[Violation, ...]:
    """Every float of `value` that stands where `schema` does not declare `number`."""
    return tuple(_stray(schema, schema, value, ""))


def _stray(root: Any, schema: Any, value: Any, path: str) -> list[Violation]:
    kind = type(value)
    if kind is float:
        fits = any("number" in _types(branch) for branch in _branches(root, schema))
        return [] if fits else [Violation(path=path, keyword="type", text="wrong type: a number with a fraction", limit="integer")]
    if kind is dict:
        return [
            found
            for name, member in value.items()
            for found in _stray(root, _member(root, schema, name), member, f"{path}/{escape(name)}")
        ]
    if kind is list:
        return [
            found for index, item in enumerate(value) for found in _stray(root, _item(root, schema, index), item, f"{path}/{index}")
        ]
    return []


def _branches(root: Any, schema: Any, depth: int = 0) -> list[Mapping[str, Any]]:
    """The schema itself and everything that it refers to or combines, so that a declaration in any branch counts."""
    if not isinstance(schema, Mapping) or depth > _MAX_REFERENCES:
        return []
    found = [schema]
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        found += _branches(root, _resolve(root, reference), depth + 1)
    for word in ("anyOf", "oneOf", "allOf"):
        for branch in schema.get(word, ()):
            found += _branches(root, branch, depth + 1)
    for word in ("then", "else"):
        found += _branches(root, schema.get(word), depth + 1)
    return found


def _resolve(root: Any, reference: str) -> Any:
    node = root
    for part in reference.lstrip("#").split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        node = node.get(name) if isinstance(node, Mapping) else None
    return node


def _types(schema: Mapping[str, Any]) -> tuple[str, ...]:
    declared = schema.get("type", ())
    return (declared,) if isinstance(declared, str) else tuple(declared)


def _member(root: Any, schema: Any, name: str) -> Any:
    candidates = []
    for branch in _branches(root, schema):
        if name in branch.get("properties", {}):
            candidates.append(branch["properties"][name])
        elif isinstance(branch.get("additionalProperties"), Mapping):
            candidates.append(branch["additionalProperties"])
    return {"anyOf": candidates}


def _item(root: Any, schema: Any, index: int) -> Any:
    candidates = []
    for branch in _branches(root, schema):
        prefix = branch.get("prefixItems", ())
        candidates.append(prefix[index] if index < len(prefix) else branch.get("items"))
    return {"anyOf": candidates}
