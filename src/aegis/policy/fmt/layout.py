"""Write a document: the outline in blocks, entries in one line where they fit."""

from collections.abc import Iterator, Mapping
from typing import Any

from aegis.model.document import Path
from aegis.policy.fmt.comments import Remarks
from aegis.policy.fmt.scalars import scalar

WIDTH = 132
_STEP = 2
_OUTLINE = 2
"""Mappings and lists down to this depth stand in blocks whatever their size; `metadata` does not."""

_TOP = ("apiVersion", "kind", "metadata", "spec")
_ORDERS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    ((), _TOP),
    (("metadata",), ("name", "tenant", "owner")),
    (("spec",), ("mode", "timezone", "history", "lists", "tenant", "tools", "rego", "rules", "tests")),
    (("spec", "tools", "*"), ("contract", "version", "critical", "args", "labels", "history")),
    (("spec", "rego", "*"), ("file", "tools")),
    (("spec", "rules", "*"), ("id", "effect", "mode", "stage", "tools", "when", "redact", "approval", "reason")),
    (("spec", "rules", "*", "approval"), ("approvers", "quorum", "ttl", "not_requester")),
    (("spec", "rules", "*", "redact", "*"), ("path", "with")),
    (("spec", "tests", "*"), ("name", "input", "expect")),
    (("spec", "tests", "*", "input"), ("tool",)),
    (("spec", "tests", "*", "expect"), ("outcome", "would_be", "rules", "not_rules", "shadow")),
)


def lay_out(value: Any, said: Remarks) -> str:
    """The text of a document."""
    lines = list(_block(value, (), 0, said)) if isinstance(value, dict | list) and value else [_inline(value, ())]
    return "\n".join([*lines, *said.end]).lstrip("\n") + "\n"


def _block(value: Any, path: Path, indent: int, said: Remarks) -> Iterator[str]:
    """The entries of a mapping or list, one below the other."""
    entries = _entries(value, path)
    for key, inner in entries:
        here = (*path, key)
        lead = f"{scalar(key)}:" if isinstance(value, dict) else "-"
        if lead == "-":
            _raise_remarks(inner, here, said)
        yield from _above(here, indent, said)
        yield from _entry(lead, inner, here, indent, said)


def _entries(value: Any, path: Path) -> list[tuple[str | int, Any]]:
    """The entries in the order in which they are written."""
    return [(key, value[key]) for key in _ordered(value, path)] if isinstance(value, dict) else list(enumerate(value))


def _above(path: Path, indent: int, said: Remarks) -> Iterator[str]:
    if path in said.blank:
        yield ""
    yield from (f"{' ' * indent}{remark}" for remark in said.above.get(path, ()))


def _entry(lead: str, value: Any, path: Path, indent: int, said: Remarks) -> Iterator[str]:
    pad, behind = " " * indent, said.behind.get(path, "")
    tail = f"  {behind}" if behind else ""
    inline = f"{pad}{lead} {_inline(value, path)}"
    if not isinstance(value, dict | list) or not value or (_fits(inline, path) and not said.inside(path)):
        yield inline + tail
        return
    if lead != "-":
        yield f"{pad}{lead}{tail}"
        yield from _block(value, path, indent + _STEP, said)
        return
    if behind:
        yield f"{pad}{behind}"
    first, *rest = _block(value, path, indent + _STEP, said)
    yield f"{pad}- {first.lstrip()}"
    yield from rest


def _raise_remarks(value: Any, element: Path, said: Remarks) -> None:
    """Move remarks of what will stand on the line of the dash above the dash, where they will be found the next time."""
    path = element
    while isinstance(value, dict | list) and value:
        is_key = isinstance(value, dict)
        key, value = next(iter(_entries(value, path)))
        path = (*path, key)
        moved = [*said.above.pop(path, []), *([said.behind.pop(path)] if path in said.behind else [])]
        if moved:
            said.above.setdefault(element, []).extend(moved)
        said.blank.discard(path)
        if is_key:
            return


def _fits(line: str, path: Path) -> bool:
    outline = len(path) <= _OUTLINE and path != ("metadata",)
    return len(line) <= WIDTH and not outline


def _inline(value: Any, path: Path) -> str:
    """A value in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(key)}: {_inline(value[key], (*path, key))}" for key in _ordered(value, path)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_inline(inner, (*path, index)) for index, inner in enumerate(value)) + "]"
    return scalar(value)


def _ordered(value: Mapping[str, Any], path: Path) -> list[str]:
    """The keys in the order of the language; those that it does not order stay behind them as they stood."""
    order = next((order for place, order in _ORDERS if _at(path, place)), ())
    return [*(key for key in order if key in value), *(key for key in value if key not in order)]


def _at(path: Path, place: tuple[str, ...]) -> bool:
    return len(path) == len(place) and all(want in ("*", have) for have, want in zip(path, place, strict=True))
