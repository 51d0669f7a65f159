"""What references and conditions of a step see of its run, and how a template becomes a value.

    {"input": ..., "steps": {ID: {"outcome": ..., "output": ..., NAME: ...}}, "run": {"id": ...}, "item": ..., "output": ...}

A step that was skipped, or that failed and may, has its `default` as output, or none at all. The output of a `for_each` is the list
of its elements' outputs in their order; where an element ended without one, the `default` stands. Nothing is evaluated here: a
reference is a way through mappings, and a way that leads nowhere is `MissingValue`.
"""

from collections.abc import Collection, Mapping
from typing import Any

from aegis.workflow.draft import Draft, elements_of
from aegis.workflow.graph import Collect, Ref, Step, Template, turn
from aegis.workflow.run import NodeState

View = dict[str, Any]
_DONE = frozenset({NodeState.SUCCEEDED, NodeState.UNDOING, NodeState.COMPENSATED, NodeState.UNDO_FAILED})


class MissingValue(Exception):  # noqa: N818 - it never leaves a transition
    """There is nothing at this place; the text is the reference as it is written."""

    def __init__(self, ref: Ref) -> None:
        super().__init__(ref.text)
        self.text = ref.text


def view(draft: Draft, unit: str, steps: Collection[str], *, own: int = 0) -> View:
    """What the values of a unit see, as far as these steps; and what it gave itself in the turn `own`, if that is not 0."""
    made = base(draft, steps)
    step = draft.step(unit)
    if unit != step.id:
        made["item"] = elements(draft, step)[int(unit[len(step.id) + 1 : -1])]
    if own:
        node = draft.nodes[turn(unit, own)]
        made["steps"][step.id] = {"outcome": node.outcome, "output": node.output}
    return made


def base(draft: Draft, steps: Collection[str]) -> View:
    """What every value of a run sees, as far as these steps."""
    return {"input": draft.input, "run": {"id": draft.old.run}, "steps": {each: of_step(draft, each) for each in steps}}


def resolve(value: Template, seen: View) -> Any:
    """The template with values in place of its references.

    Raises:
        MissingValue: A reference leads nowhere.
    """
    if isinstance(value, Ref):
        return _at(value, seen)
    if isinstance(value, Mapping):
        return {key: resolve(child, seen) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [resolve(child, seen) for child in value]
    return value


def lenient(value: Template, seen: View) -> Any:
    """The same, with null where a reference leads nowhere."""
    if isinstance(value, Ref):
        try:
            return _at(value, seen)
        except MissingValue:
            return None
    if isinstance(value, Mapping):
        return {key: lenient(child, seen) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [lenient(child, seen) for child in value]
    return value


def elements(draft: Draft, step: Step) -> Any:
    """What a `for_each` goes over; not always a list, which whoever expands it finds.

    Raises:
        MissingValue: Its reference leads nowhere.
    """
    node = draft.nodes[step.id]
    if node.edited:
        return node.arguments
    if not isinstance(step.for_each, Ref):
        return step.for_each
    path = step.for_each.path
    return _at(step.for_each, view(draft, step.id, path[1:2] if path[0] == "steps" else ()))


def has_output(draft: Draft, step: Step) -> bool:
    """Whether a step that has ended has something that others can refer to."""
    name = step.id if step.for_each is not None else draft.last(step.id)
    return draft.nodes[name].state in _DONE or step.default is not None


def of_step(draft: Draft, name: str) -> View:
    """How a step ended, what it gave, and the names that its `collect` makes of that."""
    if name not in draft.views:
        draft.views[name] = _of_step(draft, name)
    return draft.views[name]


def _of_step(draft: Draft, name: str) -> View:
    step = draft.shape.forms[name].step
    node = draft.nodes[name if step.for_each is not None else draft.last(name)]
    made: View = {"outcome": "skipped" if node.state is NodeState.SKIPPED else node.outcome}
    if node.state in _DONE:
        made["output"] = _gathered(draft, step) if step.for_each is not None else node.output
    elif step.default is not None:
        made["output"] = step.default
    if isinstance(made.get("output"), list):
        made.update(_collected(step.collect, made["output"]))
    return made


def _gathered(draft: Draft, step: Step) -> list[Any]:
    found = (draft.nodes[draft.last(unit)] for unit in elements_of(step.id, draft.counts.get(step.id, 0)))
    return [node.output if node.state in _DONE else step.default for node in found]


def _collected(wanted: Collection[Collect], outputs: list[Any]) -> View:
    return {each.name: found for each in wanted if each.name for found in _pick(each, outputs)}


def _pick(wanted: Collect, outputs: list[Any]) -> list[Any]:
    """What is collected under a name: nothing or one value. Of equals it is the first."""
    held = [(_inside(output, wanted.path), output) for output in outputs]
    if wanted.pick == "list":
        return [[value for value, _ in held]]
    ranked = [(value, output) for value, output in held if isinstance(value, int | float) and not isinstance(value, bool)]
    if not ranked:
        return []
    best = max if wanted.pick == "max_by" else min
    return [best(ranked, key=lambda pair: pair[0])[1]]


def _inside(value: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _at(ref: Ref, seen: View) -> Any:
    value: Any = seen
    for part in ref.path:
        if not isinstance(value, Mapping) or part not in value:
            raise MissingValue(ref)
        value = value[part]
    return value
