"""What steps change: whether it can be undone, whether two change the same at once, whether the policy could ever let them."""

import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

from aegis.model.authority import covers
from aegis.model.contract import Contract
from aegis.model.decision import Outcome
from aegis.policy.plan import check
from aegis.policy.plan.document import Plan, Unknown
from aegis.policy.plan.document import Step as Asked
from aegis.workflow.checks.finding import Finding, Level, View, actions, of_all, of_step
from aegis.workflow.gates.known import acting, arguments, tool_of
from aegis.workflow.graph import Action, Ref, Step, Template, Workflow
from aegis.workflow.order import before
from aegis.workflow.values_syntax import refs

_NAMED = re.compile(r"\{([^}]*)\}")


def undone(workflow: Workflow, view: View) -> Iterator[Finding]:
    """Writes that nothing undoes and that do not say why, and what a person needs when undoing fails."""
    for step in workflow.steps:
        contract = view.called(step.act) if step.act else None
        if contract is None or step.kind == "emit" or contract.effect == "read" or step.undo or step.irrevocable:
            continue
        text = f"`{contract.name}` is a {contract.effect}: say under `compensate` what undoes it, or `none:` and why nothing does"
        yield of_step(step, "no_compensation", text)
    if not workflow.runbook and any(step.undo for step in workflow.steps):
        text = "a compensation can fail, and then a person is asked: say under `metadata.runbook` where it is written what to do"
        yield of_all(workflow, "runbook_missing", text, "warning")


def conflicts(workflow: Workflow, view: View) -> Iterator[Finding]:
    """Writes to one resource between which there is no order."""
    above = before({step.id: step.needs for step in workflow.steps})
    writes = [(step, made) for step in workflow.steps if (made := _write(step, view))]
    for step, (contract, named) in writes:
        if step.for_each is not None and step.max_parallel != 1 and not any(_of_item(value) for value in named.values()):
            text = f"all elements change `{contract.resource}` of one and the same name at once: say `max_parallel: 1`"
            yield of_step(step, "write_conflict", text, "warning")
    for (one, (contract, named)), (two, (other, names)) in combinations(writes, 2):
        if one.id in above[two.id] or two.id in above[one.id] or contract.resource != other.resource:
            continue
        if level := _alike(named, names):
            level = "warning" if one.when or two.when else level
            text = f"changes `{contract.resource}`, and so does step `{one.id}`, with no order between them: name one in `needs`"
            yield of_step(two, "write_conflict", text, level)


def allowed(workflow: Workflow, view: View) -> Iterator[Finding]:
    """Calls that the policy could never allow for whoever makes them, whatever their arguments turn out to be."""
    for step in workflow.steps:
        for what, action in actions(step):
            if tool := tool_of(action):
                yield from _call(workflow, step, action, tool, what, view)


def _write(step: Step, view: View) -> tuple[Contract, dict[str, Template]] | None:
    """The contract of a write whose resource is not guarded by itself, and the values that name the resource."""
    if step.kind != "tool" or step.act is None:
        return None
    contract = view.called(step.act)
    if contract is None or not contract.resource or contract.conflicts:
        return None
    given = step.act.arguments if isinstance(step.act.arguments, Mapping) else {}
    return contract, {name: given.get(name) for name in _NAMED.findall(contract.resource)}


def _of_item(value: Template) -> bool:
    return any(ref.path[0] == "item" for ref in refs(value))


def _alike(one: Mapping[str, Template], two: Mapping[str, Template]) -> Level | None:
    """Whether two resources are the same, surely or perhaps; `None` when they are not."""
    if any(one[name] != two[name] and not isinstance(one[name], Ref) and not isinstance(two[name], Ref) for name in one):
        return None
    return "error" if one == two else "warning"


def _call(workflow: Workflow, step: Step, action: Action, tool: str, what: str, view: View) -> Iterator[Finding]:
    entry, contract = view.directory.agents.get(acting(workflow, step)), view.called(action)
    if entry is None or contract is None:
        return
    if not any(covers(scope, tool) for scope in entry.scopes):
        yield of_step(step, "never_allowed", f"{what}no scope of `{entry.id}` in the directory opens `{tool}`")
        return
    known = arguments(action, None)
    if view.policy is None or known is None:
        return
    if action.kind == "emit":  # the envelope's own attributes are put in when the step is taken
        known = {"source": entry.id, "id": Unknown(), **known}
    context: dict[str, Any] = {
        "agent.id": entry.id, "agent.roles": list(entry.roles), "agent.trust": entry.trust, "version": contract.version,
    }  # fmt: skip
    asked = Asked(id=step.id, tool=tool, args=known, context=context, place=step.place)
    verdict = check(Plan(steps=(asked,)), view.policy, view.tenant_data)[0]
    if verdict.outcome == Outcome.DENY:
        rules = ", ".join(f"`{why.rule}`" for why in verdict.why)
        told = "; ".join(why.text for why in verdict.why if why.text)
        text = f"{what}the policy can never allow `{tool}` for `{entry.id}`: {rules}{': ' if told else ''}{told}"
        yield of_step(step, "never_allowed", text)
