"""Where labelled data could go: from what a step's tool gives to the sink of any step after it.

Labels are those of the policy set's tool lines. Whatever stands after a step may have seen what it gave, also through an agent, so
every step between two counts as carrying the labels on. Data of one person that reaches a call about another is shown to somebody.
"""

from collections.abc import Iterator
from typing import Any

from aegis.policy.ir import Labels
from aegis.policy.memory import emitted
from aegis.policy.plan.document import Unknown
from aegis.workflow.gates.document import Flow
from aegis.workflow.gates.known import before, calls, contract_of, filled, tool_of
from aegis.workflow.gates.report import Finding, Level, Scene
from aegis.workflow.graph import Action, Ref, Step, Workflow

NOT_STATED = object()


class DataGate:
    """Follows labels and data subjects along the edges."""

    name = "data"

    def __call__(self, plan: Workflow, scene: Scene) -> tuple[Finding, ...]:
        """Each way by which labelled data could reach a sink, and by which data of one person could reach another's."""
        if scene.policy is None:
            return (_finding("labels_unread", "no policy set is at hand that says what tools emit", None, "refuse"),)
        return (*_flows(plan, scene), *_subjects(plan, scene))


def labels_of(action: Action, scene: Scene) -> Labels:
    """The labels of the tool that an action calls."""
    line = scene.policy.tools.get(tool_of(action)) if scene.policy else None
    return line.labels if line else Labels()


def _finding(code: str, text: str, step: Step | None, level: Level) -> Finding:
    where = {"step": step.id, "place": step.place} if step else {}
    return Finding(gate=DataGate.name, code=code, level=level, text=text, **where)


def _flows(plan: Workflow, scene: Scene) -> Iterator[Finding]:
    """One finding for each step and label, whatever the number of steps that the label may come from."""
    earlier, gives = before(plan), {step.id: _emits(action, scene) for step, action in calls(plan)}
    for step, action in calls(plan):
        sink = labels_of(action, scene).sink
        origins = sorted(earlier[step.id] & gives.keys()) if sink else []
        for label in sorted({label for name in origins for label in gives[name]}):
            level = _level(scene.gates.flows, label, sink)
            if level is not None:
                yield _flow(step, label, sink, [name for name in origins if label in gives[name]], level)


def _emits(action: Action, scene: Scene) -> tuple[str, ...]:
    line = scene.policy.tools.get(tool_of(action)) if scene.policy else None
    return emitted(line) if line else ()


def _flow(step: Step, label: str, sink: str, origins: list[str], level: Level) -> Finding:
    others = f" and {len(origins) - 1} more" if len(origins) > 1 else ""
    return _finding("label_reaches_sink", f"`{label}` of step `{origins[0]}`{others} could reach the sink `{sink}`", step, level)


def _level(flows: tuple[Flow, ...], label: str, sink: str) -> Level | None:
    """The gravest that is said about this label and this sink."""
    said = {flow.then for flow in flows if flow.label in ("", label) and flow.sink in ("", sink)}
    return "refuse" if "refuse" in said else "person" if said else None


def _subjects(plan: Workflow, scene: Scene) -> Iterator[Finding]:
    earlier = before(plan)
    about = {step.id: (step, _subject(action, scene)) for step, action in calls(plan)}
    for step, action in calls(plan):
        mine, contract = about[step.id][1], contract_of(action, scene)
        if mine is NOT_STATED or contract is None or contract.effect == "read":
            continue
        stated = (name for name in sorted(earlier[step.id] & about.keys()) if about[name][1] is not NOT_STATED)
        other = next((name for name in stated if about[name][1] != mine), None)
        if other is not None:
            text = f"data of the person of step `{other}` could reach a call about another person"
            yield _finding("other_subject", text, step, "person")


def _subject(action: Action, scene: Scene) -> Any:
    """Whose data a call holds: the value, or the reference that will give it; two that are not the same may be two people."""
    contract = contract_of(action, scene)
    if contract is None or not contract.data_subject or not isinstance(action.arguments, dict):
        return NOT_STATED
    stated = action.arguments.get(contract.data_subject, NOT_STATED)
    known = filled(stated, scene.input)
    return stated if isinstance(stated, Ref) and isinstance(known, Unknown) else known
