"""What is drawn of a workflow: its steps in layers, and the edges between them with what goes over each.

An edge is drawn for every reference, and for a `needs` that nothing else already says. It is labelled with the contract of what is
given; an edge that only waits has no label.
"""

from collections.abc import Mapping
from datetime import timedelta

from msgspec import Struct

from aegis.policy.duration import UNITS
from aegis.workflow import conditions
from aegis.workflow.graph import Ref, Step, Template, Workflow
from aegis.workflow.order import before
from aegis.workflow.values_syntax import steps as referred

MAX_LABEL = 28


class Edge(Struct, frozen=True, kw_only=True):
    """`target` needs `source`. `carries`: what is given goes over it, not only that it has ended."""

    source: str
    target: str
    label: str = ""
    carries: bool = False


def edges(workflow: Workflow) -> tuple[Edge, ...]:
    """The edges to draw, by target and source in the order of the steps."""
    above = before({step.id: step.needs for step in workflow.steps})
    order = {step.id: index for index, step in enumerate(workflow.steps)}
    found = []
    for step in workflow.steps:
        data = _data(step)
        for need in sorted(step.needs, key=order.__getitem__):
            if need in data:
                label = short(contract(workflow.step(need)))
                found.append(Edge(source=need, target=step.id, label=label, carries=True))
            elif not any(need in above[other] for other in step.needs):
                found.append(Edge(source=need, target=step.id))
    return tuple(found)


def contract(step: Step) -> str:
    """The name of what a step gives: the contract that it says, or else that of what it calls."""
    if step.output or step.act is None:
        return step.output
    version = f"@{step.act.version}" if step.act.version else ""
    return f"{step.act.name}{version}" if step.kind != "agent" else ""


def layers(workflow: Workflow) -> tuple[tuple[str, ...], ...]:
    """The steps by how many come before them at most."""
    depth: dict[str, int] = {}
    for step in workflow.steps:
        depth[step.id] = max((depth[need] + 1 for need in step.needs), default=0)
    found: list[list[str]] = [[] for _ in range(max(depth.values()) + 1)]
    for name, level in depth.items():
        found[level].append(name)
    return tuple(map(tuple, found))


def lines(step: Step, state: str = "") -> tuple[str, ...]:
    """What stands in the box of a step: its name, its role, what it does, and how it stands."""
    found = [step.id + _marks(step), step.role, does(step)]
    return tuple(short(line) for line in [*found, *((f"{sign(state)} {state}",) if state else ())])


def does(step: Step) -> str:
    """What a step does, in a few words."""
    if step.act is not None:
        return f"{step.kind} {step.act.name.removeprefix('agent:')}"
    if step.approval is not None:
        names = dict.fromkeys(name for group in step.approval.approver_sets for name in group)
        return f"approval {', '.join(name.partition(':')[2] for name in names)}"
    assert step.wait is not None, "a step that does not act is an approval or waits"
    if step.wait.signal:
        return f"wait for {step.wait.signal}"
    return f"wait {_time(step.wait.lasts)}" if step.wait.lasts else "wait until a time"


def _time(lasts: timedelta) -> str:
    """A duration as a document states it."""
    seconds = int(lasts.total_seconds())
    size, unit = next((size, unit) for unit, size in reversed(UNITS.items()) if seconds % size == 0)
    return f"{seconds // size}{unit}"


def sign(state: str) -> str:
    """A state as one character, so that colour is not all that tells it."""
    return _SIGNS.get(state, "·")


def short(text: str) -> str:
    """A text that does not make the drawing too wide."""
    return text if len(text) <= MAX_LABEL else text[: MAX_LABEL - 1] + "…"


_SIGNS: Mapping[str, str] = {
    "succeeded": "✓", "approved": "✓", "failed": "✗", "rejected": "✗", "expired": "✗", "compensation_failed": "✗", "skipped": "-",
    "cancelled": "-", "compensated": "↺", "undoing": "↺", "issued": "▶", "offered": "▶", "held": "‖", "waiting": "‖", "paused": "‖",
    "parked": "!", "pending": "·",
}  # fmt: skip


def _marks(step: Step) -> str:
    """Signs behind the name: taken for each element, again, or only on a condition."""
    found = " [each]" if step.for_each is not None else ""
    found += " [repeat]" if step.repeat is not None else ""
    return found + (" [if]" if step.when is not None else "")


def _data(step: Step) -> frozenset[str]:
    """The steps whose output this one reads, in values or in its condition."""
    values: list[Template] = [step.act.arguments if step.act else None, step.undo.arguments if step.undo else None, step.for_each]
    values.append(dict(step.approval.shows) if step.approval else None)
    values.append(step.wait.until if step.wait and isinstance(step.wait.until, Ref) else None)
    tested = {path[1] for path in conditions.paths(step.when) if path[0] == "steps" and path[2] != conditions.OUTCOME}
    return referred(values) | tested
