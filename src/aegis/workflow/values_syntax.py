"""Values in a definition: literals and references, durations, and money. Nothing is evaluated.

    $input.a.b           of what the run was started with
    $steps.ID.output.c   of what a step gave; $steps.ID.NAME.c for a name that its `collect` makes; $steps.ID.outcome
    $item, $item.a       the element, inside a `for_each`
    $run.id              the run
    $output.c            what the step itself gave; only in its `compensate`

A reference stands alone: a text that begins with `$` is one, and is never put together with other text. `$$` begins a text that
really begins with `$`.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from msgspec import Struct

from aegis.model.node import MAX_INTEGER, Node, choices, named, nearest
from aegis.policy.duration import duration
from aegis.workflow.conditions import RUN, Names, missing, return_of
from aegis.workflow.graph import Amount, Budget, Ref, Template

MICROS = 1_000_000
_PART = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,127}")
_MONEY = re.compile(r"[0-9]{1,10}(?:\.[0-9]{1,6})?")
_MILLISECONDS = re.compile(r"([1-9][0-9]{0,5})ms")


class Place(Struct, frozen=True, kw_only=True):
    """Where a value stands: what it may refer to. `own` inside a `compensate`, where the step's own output is known."""

    names: Names
    own: bool = False


def template(node: Node, place: Place) -> Template:
    """The value at `node`, with a `Ref` for each reference.

    Raises:
        DocumentError: A reference leads nowhere.
    """
    value = node.value
    if isinstance(value, dict):
        return {key: template(child, place) for key, child in node.members().items()}
    if isinstance(value, list):
        return [template(child, place) for child in node.items(empty=True)]
    return _text(value, node, place) if isinstance(value, str) else value


def reference(node: Node, place: Place) -> Ref:
    """The reference at `node`; a literal is refused."""
    found = template(node, place)
    if not isinstance(found, Ref):
        raise node.fail(f"expected a reference such as `$input.items`, found {named(node.value)}")
    return found


def refs(value: Template) -> Iterator[Ref]:
    """Every reference of a value, in order."""
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, Mapping):
        for child in value.values():
            yield from refs(child)
    elif isinstance(value, list | tuple):
        for child in value:
            yield from refs(child)


def written(value: Template) -> Any:
    """The value as a document states it: what `template` reads to the same value."""
    if isinstance(value, Ref):
        return value.text
    if isinstance(value, Mapping):
        return {key: written(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [written(child) for child in value]
    return "$" + value if isinstance(value, str) and value.startswith("$") else value


def steps(value: Template) -> frozenset[str]:
    """The steps that a value refers to."""
    return frozenset(ref.path[1] for ref in refs(value) if ref.path[0] == "steps")


def _text(text: str, node: Node, place: Place) -> str | Ref:
    if not text.startswith("$"):
        return text
    if text.startswith("$$"):
        return text[1:]
    parts = tuple(text[1:].split("."))
    if not all(_PART.fullmatch(part) for part in parts):
        raise node.fail("a text that begins with `$` is a reference such as `$input.amount`; write `$$` for the sign itself")
    _check(parts, node, place)
    return Ref(parts)


def _check(parts: tuple[str, ...], node: Node, place: Place) -> None:
    text, root = "$" + ".".join(parts), parts[0]
    roots: dict[str, Callable[[], None]] = {
        "input": lambda: None,
        "steps": lambda: _of_step(text, parts, node, place),
        "run": lambda: _of_run(text, parts, node),
        "item": lambda: _only(node, text, "inside a `for_each`", there=place.names.item),
        "output": lambda: _only(node, text, "inside a `compensate`", there=place.own),
    }
    if root not in roots:
        raise node.fail(f"`{text}` refers to nothing; expected {choices(['$' + each for each in roots])}{nearest(root, roots)}")
    roots[root]()


def _of_step(text: str, parts: tuple[str, ...], node: Node, place: Place) -> None:
    if len(parts) < 3:
        raise node.fail(f"`{text}` stops short; expected `$steps.ID.output` or a member of it")
    known: Collection[str] | None = place.names.steps.get(parts[1])
    if known is None:
        raise missing(node, f"`{text}` refers to unknown step", parts[1], place.names.steps)
    return_of(text, parts, node, known)


def _of_run(text: str, parts: tuple[str, ...], node: Node) -> None:
    if parts[1:] not in {(name,) for name in RUN}:
        raise node.fail(f"`{text}`: of the run itself there is `$run.id`")


def _only(node: Node, text: str, where: str, *, there: bool) -> None:
    if not there:
        raise node.fail(f"`{text}` is known only {where}")


def pause(node: Node) -> timedelta:
    """A duration, which may also be given in milliseconds: `250ms`."""
    found = _MILLISECONDS.fullmatch(node.value) if isinstance(node.value, str) else None
    return timedelta(milliseconds=int(found[1])) if found else duration(node)


def micros(node: Node) -> int:
    """An amount of money, exactly, in millionths: `2.50` is 2500000."""
    value = node.value
    text = value if isinstance(value, str) else str(value) if type(value) in (int, float) else ""
    try:
        found = Decimal(text) * MICROS if _MONEY.fullmatch(text) else None
    except InvalidOperation:
        found = None
    if found is None or found > MAX_INTEGER:
        raise node.fail("expected an amount of money such as `2.50`: digits, at most six of them after the point")
    return int(found)


def amount(node: Node) -> Amount:
    """What one node is expected to cost."""
    fields = node.fields(("calls", "tokens", "usd"))
    return Amount(
        calls=fields["calls"].integer(0) if "calls" in fields else 1,
        tokens=fields["tokens"].integer(0) if "tokens" in fields else 0,
        micros=micros(fields["usd"]) if "usd" in fields else 0,
    )


def budget(node: Node) -> Budget:
    """Hard limits, and the share of them (in percent) that is told."""
    fields = node.fields(("calls", "tokens", "usd", "soft"))
    if not set(fields) - {"soft"}:
        raise node.fail("a budget needs a limit: `usd`, `tokens` or `calls`")
    return Budget(
        calls=fields["calls"].integer(0) if "calls" in fields else None,
        tokens=fields["tokens"].integer(0) if "tokens" in fields else None,
        micros=micros(fields["usd"]) if "usd" in fields else None,
        soft_percent=fields["soft"].integer(1, 100) if "soft" in fields else 80,
    )
