"""How often a step is taken, from its document: for each element, again until something holds, again after a failure."""

import re
from typing import Any

from aegis.model.node import Node
from aegis.workflow.conditions import OUTCOME, OUTPUT, Names, read
from aegis.workflow.conditions import steps as read_steps
from aegis.workflow.graph import MAX_ATTEMPTS, MAX_ELEMENTS, MAX_TURNS, Collect, Ref, Repeat, Retry
from aegis.workflow.values_syntax import Place, pause, reference, template

_ID = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_PICK = re.compile(r"(max_by|min_by)\(([A-Za-z_][A-Za-z0-9_-]*(?:\.[A-Za-z_][A-Za-z0-9_-]*)*)\)")


def for_each(node: Node, place: Place) -> Ref | tuple[Any, ...]:
    """What a step is taken for: a list, or a reference to one."""
    if isinstance(node.value, str):
        return reference(node, place)
    if len(node.items()) > MAX_ELEMENTS:
        raise node.fail(f"expected at most {MAX_ELEMENTS} elements, found {len(node.value)}")
    return tuple(template(item, place) for item in node.items())


def collect(node: Node) -> tuple[Collect, ...]:
    """Names for what becomes of the elements: `list`, `max_by(PATH)`, `min_by(PATH)`."""
    found = []
    for name, child in node.members().items():
        if not _ID.fullmatch(name) or name in (OUTCOME, OUTPUT):
            raise child.fail(f"`{name}` cannot name a collection: lower case, and neither `{OUTCOME}` nor `{OUTPUT}`")
        text = child.text()
        picked = _PICK.fullmatch(text)
        if text != "list" and not picked:
            raise child.fail(f"found `{text}`; expected `list`, `max_by(PATH)` or `min_by(PATH)`, as in `max_by(score)`")
        found.append(
            Collect(name=name, pick=picked[1], path=tuple(picked[2].split(".")))  # type: ignore[arg-type]  # one of the literals
            if picked
            else Collect(name=name)
        )
    return tuple(sorted(found, key=lambda each: each.name))


def repeat(node: Node, name: str, names: Names) -> Repeat:
    """Until when a step is taken again, and how often at most."""
    fields = node.fields(("until", "max"), ("until", "max"))
    until = read(fields["until"], names, loosens=False)
    if name not in read_steps(until):
        raise fields["until"].fail(f"the condition never looks at `steps.{name}.output.*`, so no turn can change it")
    return Repeat(until=until, most=fields["max"].integer(1, MAX_TURNS))


def retry(node: Node) -> Retry:
    """How a step is tried again."""
    fields = node.fields(("attempts", "backoff", "factor", "max", "jitter", "on"))
    plain = Retry()
    made = Retry(
        attempts=fields["attempts"].integer(1, MAX_ATTEMPTS) if "attempts" in fields else plain.attempts,
        backoff=pause(fields["backoff"]) if "backoff" in fields else plain.backoff,
        factor=fields["factor"].integer(1, 10) if "factor" in fields else plain.factor,
        longest=pause(fields["max"]) if "max" in fields else plain.longest,
        jitter=fields["jitter"].word(("full", "none")) if "jitter" in fields else "full",  # type: ignore[arg-type]  # as above
        on=tuple(sorted({item.text() for item in fields["on"].items()})) if "on" in fields else (),
    )
    if made.longest < made.backoff:
        raise node.fail("`max` is shorter than `backoff`: the first pause would already be cut")
    return made
