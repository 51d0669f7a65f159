"""The tenant's own numbers and lists that `{ref: tenant.x.y}` reads: their declared types, and whether data keeps to them."""

from collections.abc import Mapping
from typing import Any

from aegis.model.node import MAX_INTEGER, named, nearest


def problems(shape: Mapping[str, str], data: Mapping[str, Any]) -> tuple[str, ...]:
    """What is missing, of another type, or not declared, sorted; empty when `data` keeps to `shape`."""
    missing = [
        f"`tenant.{path}` should be {wanted}, {_found(data, path, wanted)}"
        for path, wanted in shape.items()
        if lookup(data, path.split("."), wanted) is None
    ]
    strange = [
        f"`tenant.{path}` is not declared in spec.tenant{nearest(path, shape)}" for path in _places(data) if path not in shape
    ]
    return tuple(sorted(missing + strange))


def _found(data: Mapping[str, Any], path: str, wanted: str) -> str:
    """What stands at a place that lacks the declared type; never the value itself."""
    value: Any = data
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return "but is missing"
        value = value[name]
    if isinstance(value, list | tuple) and wanted.endswith("[]"):
        return "found a list of something else"
    return "found one beyond 2^53 - 1" if type(value) is int and wanted in ("integer", "number") else f"found {named(value)}"


def lookup(data: Mapping[str, Any], parts: list[str] | tuple[str, ...], shape: str) -> Any:
    """The value of this type at a place; `None` (unknown to every comparison) when there is none."""
    value: Any = data
    for name in parts:
        if not isinstance(value, Mapping) or name not in value:
            return None
        value = value[name]
    return value if fits(value, shape) else None


def fits(value: Any, shape: str) -> bool:
    """Whether `value` has one of the types that spec.tenant can declare."""
    if shape.endswith("[]"):
        return isinstance(value, list | tuple) and all(fits(item, shape[:-2]) for item in value)
    if shape == "string":
        return type(value) is str
    if shape == "boolean":
        return type(value) is bool
    whole = type(value) is int and abs(value) <= MAX_INTEGER
    return whole or (shape == "number" and type(value) is float and abs(value) <= MAX_INTEGER)


def _places(data: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = []
    for name, value in data.items():
        found += _places(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [f"{prefix}{name}"]
    return found
