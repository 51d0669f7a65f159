"""What goes over the edges: does what one step gives fit what another one takes, and is it there at all."""

from collections.abc import Iterator
from typing import Any

from aegis.model.message import MessageContract
from aegis.policy.ir import AllOf, Condition, Leaf, Literal, Op, Quantified
from aegis.workflow.checks.finding import Finding, View, actions, of_all, of_step
from aegis.workflow.checks.shapes import Misfit, Shapes, resolved
from aegis.workflow.graph import MAX_ELEMENTS, Ref, Step, Template, Workflow
from aegis.workflow.values_syntax import refs


def edges(workflow: Workflow, view: View) -> Iterator[Finding]:
    """Every edge whose producer does not fit its consumer."""
    for step in workflow.steps:
        shapes = Shapes(workflow=workflow, view=view, step=step)
        yield from _values(step, shapes)
        yield from _gives(step, shapes)
        if isinstance(step.for_each, Ref):
            yield from _loop(step, shapes, step.for_each)
    yield from _returns(workflow, Shapes(workflow=workflow, view=view))


def skipped(workflow: Workflow, view: View) -> Iterator[Finding]:  # noqa: ARG001 - every check has this shape
    """References to the output of a step that may have none."""
    loose = {step.id: step for step in workflow.steps if (step.when or step.on_failure == "skip") and step.default is None}
    for step in workflow.steps:
        for name in sorted(reads(step) & set(loose)):
            if not _sure(step.when, name) and not _same(step.when, loose[name]):
                text = (
                    f"refers to what `{name}` gives, which may be skipped; without a `default` there this step is skipped, too. "
                    f"Say so: `when: {{steps.{name}.outcome: {{eq: succeeded}}}}`, or give `{name}` a `default`"
                )
                yield of_step(step, "maybe_skipped", text)
    for name in sorted({ref.path[1] for ref in refs(workflow.returns) if _reads_output(ref)} & set(loose)):
        text = f"`returns` refers to what `{name}` gives, which may be skipped: null stands there then"
        yield of_all(workflow, "maybe_skipped", text, "warning")


def anyway(workflow: Workflow, view: View) -> Iterator[Finding]:
    """Changes that are made though a step before them was skipped: that a step has ended does not say that it was taken."""
    loose: dict[str, Step] = {}
    for step in workflow.steps:
        if step.when is not None or step.on_failure == "skip" or any(name in loose for name in reads(step)):
            loose[step.id] = step
        contract = view.called(step.act) if step.act else None
        if step.when is not None or contract is None or contract.effect == "read" or any(name in loose for name in reads(step)):
            continue
        for name in (name for name in step.needs if name in loose):
            done = "approved" if loose[name].kind == "approval" else "succeeded"
            text = (
                f"is taken even when `{name}` was skipped: to need a step is to wait for its end. "
                f"If that is not meant: `when: {{steps.{name}.outcome: {{eq: {done}}}}}`"
            )
            yield of_step(step, "runs_anyway", text, "error" if loose[name].kind == "approval" else "warning")


def reads(step: Step) -> frozenset[str]:
    """The other steps to whose output the values of this one refer."""
    return frozenset(ref.path[1] for ref in refs(_all_values(step)) if _reads_output(ref)) - {step.id}


def _values(step: Step, shapes: Shapes) -> Iterator[Finding]:
    """Whether the values of a step fit what it calls; references are followed where no contract says anything, too."""
    for what, action in actions(step):
        wanted = shapes.takes(step) if action is step.act else _taken(action.kind, shapes.view.called(action))
        yield from _told(step, what, shapes.misfits(action.arguments, wanted))
    if step.approval is not None:
        yield from _told(step, "`shows`: ", shapes.misfits(dict(step.approval.shows), None))
    if step.wait is not None and isinstance(step.wait.until, Ref):
        yield from _told(step, "`until`: ", shapes.misfits(step.wait.until, {"type": "string"}))


def _taken(kind: str, contract: Any) -> Any:
    if isinstance(contract, MessageContract) or kind == "agent":
        return None
    return contract.input_schema if contract else None


def _gives(step: Step, shapes: Shapes) -> Iterator[Finding]:
    """Whether what is called gives what the step says, and its `default` does."""
    declared = shapes.view.definitions.schema(step.output) if step.output else None
    contract = shapes.view.called(step.act) if step.act else None
    if declared is not None and contract is not None and contract.output_schema is not None and step.kind != "workflow":
        plain = Shapes(workflow=shapes.workflow, view=shapes.view)
        yield from _told(step, f"`output` {step.output}: ", plain.compared(contract.output_schema, declared.source))
    shape = shapes.gives(step)
    if step.default is not None and shape is not None and step.for_each is None:
        yield from _told(step, "`default`: ", shapes.misfits(step.default, shape))


def _loop(step: Step, shapes: Shapes, over: Ref) -> Iterator[Finding]:
    """Whether `for_each` goes over a list, and over how long a one at most."""
    outside = Shapes(workflow=shapes.workflow, view=shapes.view)
    given, wrong = outside.at(over)
    if wrong is not None:
        yield from _told(step, "`for_each`: ", [wrong])
    shape = resolved(given, given)
    kind = shape.get("type") if isinstance(shape, dict) else None
    if kind is not None and kind != "array":
        yield of_step(step, "edge_contract", f"`for_each` needs a list, but `{over.text}` is of type {kind}")
    elif not step.max_elements and not (isinstance(shape, dict) and "maxItems" in shape):
        text = f"nothing says how long `{over.text}` can be: say `max_elements`, or `maxItems` in its contract"
        yield of_step(step, "unbounded", f"{text}; at most {MAX_ELEMENTS} are ever taken")


def _returns(workflow: Workflow, shapes: Shapes) -> Iterator[Finding]:
    declared = shapes.view.definitions.schema(workflow.output) if workflow.output else None
    for misfit in shapes.misfits(workflow.returns, declared.source if declared else None):
        yield of_all(workflow, "edge_contract", _text("`returns`: ", misfit), "error" if misfit.sure else "warning")


def _told(step: Step, what: str, found: Any) -> Iterator[Finding]:
    for misfit in found:
        yield of_step(step, "edge_contract", _text(what, misfit), "error" if misfit.sure else "warning")


def _text(what: str, misfit: Misfit) -> str:
    return what + (f"`{misfit.path}` " if misfit.path else "") + misfit.text


def _all_values(step: Step) -> list[Template]:
    found: list[Template] = [action.arguments for _, action in actions(step)]
    found += [step.for_each, dict(step.approval.shows) if step.approval else None]
    return [*found, step.wait.until if step.wait and isinstance(step.wait.until, Ref) else None]


def _reads_output(ref: Ref) -> bool:
    return ref.path[0] == "steps" and ref.path[2] != "outcome"


def _sure(when: Condition | None, name: str) -> bool:
    """Whether the condition cannot hold when the step of this name has no output."""
    if isinstance(when, AllOf):
        return any(_sure(part, name) for part in when.conditions)
    if not isinstance(when, Leaf | Quantified) or when.path.parts[:2] != ("steps", name):
        return False
    if when.path.parts[2] != "outcome":  # what is missing makes a comparison unknown, and unknown is false
        return not (isinstance(when, Leaf) and when.op is Op.PRESENT and Literal(value=False) in when.operands)
    return isinstance(when, Leaf) and when.op is Op.EQ and when.operands[0] in (Literal("succeeded"), Literal("approved"))


def _same(when: Condition | None, other: Step) -> bool:
    """Whether both steps are taken under the same condition, and the other one is skipped for no other reason."""
    return when is not None and when == other.when and other.on_failure != "skip" and other.for_each is None
