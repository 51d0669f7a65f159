"""What can be told of a plan before it runs: values of arguments, how often a step is taken, what stands before what.

A reference to the run's input is its value once the input is known. Everything that a step will give is unknown, and a gate takes
the unknown for the worst that it can be. Nothing of the text is interpreted: a value that looks like a reference is text.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from aegis.model.contract import Contract
from aegis.policy.plan.document import Unknown
from aegis.workflow.gates.report import Scene
from aegis.workflow.graph import MAX_ELEMENTS, Action, Ref, Step, Template, Workflow

PREFIXES = {"tool": "", "workflow": "workflow.", "emit": "message."}
"""The kinds of actions that are calls of a tool, and what stands before the name of that tool."""


def tool_of(action: Action) -> str:
    """The tool that an action calls; empty for a task of an agent."""
    prefix = PREFIXES.get(action.kind)
    return "" if prefix is None else prefix + action.name.removeprefix(prefix)


def contract_of(action: Action, scene: Scene) -> Contract | None:
    """The contract of the tool that an action calls."""
    return scene.contracts.get(tool_of(action))


def calls(plan: Workflow) -> Iterator[tuple[Step, Action]]:
    """Every tool that the plan calls going forward, by step."""
    return ((step, step.act) for step in plan.steps if step.act is not None and tool_of(step.act))


def acting(plan: Workflow, step: Step) -> str:
    """The agent in whose name a step acts."""
    return step.run_as or plan.run_as


def filled(template: Template, given: Any) -> Any:
    """A template with what is known put in; `Unknown` stands for the rest."""
    if isinstance(template, Ref):
        return _referred(template, given)
    if isinstance(template, Mapping):
        return {key: filled(value, given) for key, value in template.items()}
    if isinstance(template, list | tuple):
        return [filled(value, given) for value in template]
    return template


def arguments(action: Action, given: Any) -> dict[str, Any] | None:
    """The arguments of a call as far as they are known; `None` when not even their names are."""
    found = filled(action.arguments, given)
    return found if isinstance(found, dict) else None


def nodes(step: Step, given: Any) -> tuple[int, int]:
    """How many nodes a step has at least and at most."""
    least, most = _elements(step, given)
    return least, most * (step.repeat.most if step.repeat else 1)


def before(plan: Workflow) -> dict[str, frozenset[str]]:
    """For each step, all that end before it begins."""
    found: dict[str, frozenset[str]] = {}
    for step in plan.steps:
        found[step.id] = frozenset(step.needs).union(*(found.get(name, frozenset()) for name in step.needs))
    return found


def texts(value: Any) -> Iterator[str]:
    """Every text within a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from texts(inner)


def _referred(ref: Ref, given: Any) -> Any:
    root, *way = ref.path
    if root != "input" or given is None:
        return Unknown(source=ref.path[1] if root == "steps" and len(ref.path) > 1 else "")
    value = given
    for name in way:
        if isinstance(value, Mapping) and name in value:
            value = value[name]
        else:
            return Unknown()
    return value


def _elements(step: Step, given: Any) -> tuple[int, int]:
    if step.for_each is None:
        return 1, 1
    known = filled(step.for_each, given)
    return (len(known), len(known)) if isinstance(known, list) else (0, step.max_elements or MAX_ELEMENTS)
