"""What never changes while a run goes on: the steps by name, what each refers to, its conditions ready to be tested.

It is made once for a definition and kept for the next event; a definition is a value, so it is the same for ever.
"""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from aegis.policy.ir import Condition
from aegis.workflow import conditions
from aegis.workflow.graph import Step, Template, Workflow, step_of
from aegis.workflow.values_syntax import refs

KEPT = 64
Test = Callable[[dict[str, Any]], bool]
_shapes: dict[int, tuple[Workflow, "Shape"]] = {}


class Form(Struct, frozen=True, kw_only=True):
    """One step. Its values refer to the steps in `reads`, and to the output of those in `uses`; what it refers to, it `needs`.

    `each` says that `when` is asked of every element, `own` that its values refer to the output of its last turn.
    """

    step: Step
    needs: tuple[str, ...]
    reads: tuple[str, ...] = ()
    uses: tuple[str, ...] = ()
    when: Test | None = None
    until: Test | None = None
    each: bool = False
    own: bool = False


class Shape(Struct, frozen=True, kw_only=True):
    """A definition as the controller looks at it. `forms` are in canonical order."""

    definition: Workflow
    forms: Mapping[str, Form]
    budgeted: bool

    def form(self, node: str) -> Form:
        """That of the step that a node belongs to; `KeyError` when there is none."""
        return self.forms[step_of(node)]


def shape(definition: Workflow) -> Shape:
    """The shape of this very value."""
    found = _shapes.get(id(definition))
    if found is not None and found[0] is definition:  # the value is held here, so its id is not another's
        return found[1]
    made = _shape(definition)
    while len(_shapes) >= KEPT:
        _shapes.pop(next(iter(_shapes)), None)
    _shapes[id(definition)] = definition, made
    return made


def template(step: Step) -> Template:
    """The values that a step is taken with: its arguments, or what an approver is shown."""
    if step.approval is not None:
        return step.approval.shows
    return step.act.arguments if step.act is not None else None


def _shape(definition: Workflow) -> Shape:
    limited = definition.budget, *(step.budget for step in definition.steps)
    return Shape(
        definition=definition,
        forms={step.id: _form(step) for step in definition.steps},
        budgeted=any(each.calls is not None or each.tokens is not None or each.micros is not None for each in limited),
    )


def _form(step: Step) -> Form:
    until = step.wait.until if step.wait is not None else None
    paths = [ref.path for value in (template(step), step.for_each, until) for ref in refs(value) if ref.path[0] == "steps"]
    reads = {path[1] for path in paths} - {step.id}
    return Form(
        step=step,
        needs=tuple(sorted({*step.needs, *reads, *conditions.steps(step.when)} - {step.id})),
        reads=tuple(sorted(reads)),
        uses=tuple(sorted({path[1] for path in paths if path[2] != conditions.OUTCOME} & reads)),
        when=conditions.test(step.when) if step.when is not None else None,
        until=conditions.test(step.repeat.until) if step.repeat is not None else None,
        each=step.for_each is not None and _of_element(step.when),
        own=step.repeat is not None and any(path[1] == step.id for path in paths),
    )


def _of_element(when: Condition | None) -> bool:
    return any(path[0] == "item" for path in conditions.paths(when))
