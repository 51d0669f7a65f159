"""What a plan needs, against what it may use."""

from collections.abc import Iterator

from aegis.workflow.gates.known import contract_of, nodes
from aegis.workflow.gates.report import Cost, Finding, Level, Scene
from aegis.workflow.graph import Amount, Step, Workflow


class CostGate:
    """Refuses what cannot end within its budget."""

    name = "cost"

    def __call__(self, plan: Workflow, scene: Scene) -> tuple[Finding, ...]:
        """Where the least that is needed is too much already, and where the most would be."""
        return tuple(_findings(plan, scene))


def cost_of(plan: Workflow, scene: Scene) -> Cost:
    """The least and the most that the plan needs when nothing is tried again."""
    least, most = Amount(), Amount()
    for step in plan.steps:
        low, high = nodes(step, scene.input)
        each = _each(step, scene)
        least, most = least.plus(_times(each, low if step.when is None else 0)), most.plus(_times(each, high))
    return Cost(least=least, most=most, budget=plan.budget)


def _findings(plan: Workflow, scene: Scene) -> Iterator[Finding]:
    cost = cost_of(plan, scene)
    if not plan.budget.allows(cost.least):
        yield _finding("over_budget", f"it needs at least {words(cost.least)}, more than its budget")
    elif not plan.budget.allows(cost.most):
        yield _finding("may_reach_budget", f"it may need {words(cost.most)}; it stops at its budget", level="note")
    for step in plan.steps:
        if not step.budget.allows(_times(_each(step, scene), nodes(step, scene.input)[0])):
            yield _finding("over_budget", "it needs more than its own budget", step)


def words(amount: Amount) -> str:
    """An amount as people read it."""
    return f"{amount.calls} calls, {amount.tokens} tokens, {amount.micros} micros"


def _each(step: Step, scene: Scene) -> Amount:
    """What one node is expected to cost: what the step says, and at least what its tool does."""
    contract = contract_of(step.act, scene) if step.act else None
    told = step.estimate
    micros = max(told.micros, contract.cost_micros if contract else 0)
    return Amount(calls=told.calls if step.act else 0, tokens=told.tokens, micros=micros)


def _times(amount: Amount, count: int) -> Amount:
    return Amount(calls=amount.calls * count, tokens=amount.tokens * count, micros=amount.micros * count)


def _finding(code: str, text: str, step: Step | None = None, level: Level = "refuse") -> Finding:
    where = {"step": step.id, "place": step.place} if step else {}
    return Finding(gate=CostGate.name, code=code, level=level, text=text, **where)
