"""Names that lead nowhere: agents, tools, workflows, messages, queues, contracts of data."""

from collections.abc import Collection, Iterator

from aegis.model.node import nearest
from aegis.model.queue import PREFIX as QUEUE
from aegis.model.queue import QueueContract
from aegis.workflow.checks.finding import Finding, View, actions, of_all, of_step
from aegis.workflow.gates.known import tool_of
from aegis.workflow.graph import Action, Step, Workflow

_CODES = {"tool": "unknown_tool", "workflow": "unknown_workflow", "emit": "unknown_message"}
_WHERE = {"tool": "tools", "workflow": "workflows", "emit": "messages"}


def names(workflow: Workflow, view: View) -> Iterator[Finding]:
    """Every name of the definition that the tenant does not know."""
    if workflow.run_as and (wrong := _agent(workflow.run_as, view)):
        yield of_all(workflow, "unknown_agent", f"`run_as`: {wrong}")
    for key, name in (("input", workflow.input), ("output", workflow.output)):
        if wrong := _data(name, view):
            yield of_all(workflow, "unknown_contract", f"`{key}`: {wrong}")
    for step in workflow.steps:
        yield from _step(step, view)
        if step.act and step.act.kind == "workflow" and workflow.name in _started(step.act.name, view):
            yield of_step(step, "recursion", f"a run of `{step.act.name}` would start `{workflow.name}` again, without an end")


def _started(name: str, view: View) -> set[str]:
    """The workflows that a run of this one starts, near and far, with itself."""
    found, waiting = set[str](), [name]
    while waiting:
        this = waiting.pop()
        made = view.definitions.newest.get(this)
        if this not in found and made is not None:
            waiting += [step.act.name for step in made.steps if step.act and step.act.kind == "workflow"]
        found.add(this)
    return found


def _step(step: Step, view: View) -> Iterator[Finding]:
    if step.run_as and (wrong := _agent(step.run_as, view)):
        yield of_step(step, "unknown_agent", f"`run_as`: {wrong}")
    for key, name in (("output", step.output), ("accepts", step.accepts)):
        if wrong := _data(name, view):
            yield of_step(step, "unknown_contract", f"`{key}`: {wrong}")
    for what, action in actions(step):
        if action.kind == "agent":
            yield from _task(step, action, view, what)
        elif wrong := _called(action, view):
            yield of_step(step, _CODES[action.kind], what + wrong)
    if step.kind != "agent" and step.queue != "default" and QUEUE + step.queue not in view.contracts:
        yield of_step(step, "unknown_queue", _no_queue(step.queue, view))


def _task(step: Step, action: Action, view: View, what: str) -> Iterator[Finding]:
    """Whether the agent exists, and the queue of the step hands tasks to it."""
    if wrong := _agent(action.name, view):
        yield of_step(step, "unknown_agent", what + wrong)
        return
    queue = view.contract(QUEUE + step.queue)
    if not isinstance(queue, QueueContract):
        yield of_step(step, "unknown_queue", what + _no_queue(step.queue, view))
    elif action.name not in queue.agents:
        yield of_step(step, "not_served", f"{what}queue `{step.queue}` does not name `{action.name}` under `agents`")


def _agent(name: str, view: View) -> str:
    entry = view.directory.agents.get(name)
    if entry is None:
        return f"the directory has no agent `{name}`{nearest(name, view.directory.agents)}"
    return "" if entry.enabled else f"agent `{name}` is disabled in the directory"


def _data(name: str, view: View) -> str:
    if not name or view.definitions.schema(name):
        return ""
    known = sorted({f"{each.name}@{each.numbers[0]}" for each in view.definitions.data})
    return f"no contract of data `{name}` lies in `data/`{nearest(name, known)}"


def _called(action: Action, view: View) -> str:
    """What is wrong with the name of a tool, workflow or message."""
    if view.called(action):
        return ""
    tool, where = tool_of(action), _WHERE[action.kind]
    if tool in view.contracts:
        there = ", ".join(sorted(each.version for each in view.contracts[tool]))
        return f"`{action.name}` has no version `{action.version}`; in `{where}/` there is {there}"
    return f"no `{action.name}` lies in `{where}/`{nearest(action.name, _alike(tool, action.name, view.contracts))}"


def _alike(tool: str, name: str, known: Collection[str]) -> list[str]:
    prefix = tool.removesuffix(name)
    return [each.removeprefix(prefix) for each in known if each.startswith(prefix)]


def _no_queue(name: str, view: View) -> str:
    known = [each.removeprefix(QUEUE) for each in view.contracts if each.startswith(QUEUE)]
    return f"no queue `{name}` lies in `queues/`{nearest(name, known)}"
