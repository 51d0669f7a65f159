"""The risk of a plan: a sum that anybody can add up again.

Each factor counts something in the plan and has a weight that the tenant declares. Nothing is learned, sampled or estimated: the
same plan, facts and weights give the same sum. Counts and weights are never negative, so a step more never lowers it. What is not
known yet counts.
"""

from collections.abc import Callable, Mapping

from aegis.model.contract import Effect
from aegis.workflow.gates.data import labels_of
from aegis.workflow.gates.known import arguments, calls, contract_of, nodes
from aegis.workflow.gates.report import Factor, Finding, Scene
from aegis.workflow.gates.safety import outside
from aegis.workflow.graph import Action, Workflow

Counted = dict[str, int]
"""How much each step counts for; the empty name is the plan itself."""


class RiskGate:
    """Compares the sum with the tenant's thresholds."""

    name = "risk"

    def __call__(self, plan: Workflow, scene: Scene) -> tuple[Finding, ...]:
        """One finding, unless the sum is small enough to start without a person."""
        total, gates = risk_of(factors(plan, scene)), scene.gates
        above = gates.deny_above if plan.risk_limit is None else min(gates.deny_above, plan.risk_limit)
        if total > above:
            return (
                Finding(gate=self.name, code="above_limit", level="refuse", text=f"the risk is {total}; at most {above} may start"),
            )
        if total < gates.auto_below:
            return ()
        text = f"the risk is {total}; below {gates.auto_below} a plan starts without a person"
        return (Finding(gate=self.name, code="not_small", level="person", text=text),)


def factors(plan: Workflow, scene: Scene) -> tuple[Factor, ...]:
    """Every factor, also those that count nothing, by name."""
    return tuple(_factor(name, COUNTS[name](plan, scene), scene.gates.weights[name]) for name in sorted(COUNTS))


def risk_of(found: tuple[Factor, ...]) -> int:
    """The sum."""
    return sum(each.subtotal for each in found)


def _factor(name: str, counted: Counted, weight: int) -> Factor:
    count = sum(counted.values())
    steps = tuple(sorted(step for step, many in counted.items() if step and many))
    return Factor(name=name, count=count, weight=weight, subtotal=count * weight, steps=steps)


def _of_effect(*wanted: Effect) -> Callable[[Workflow, Scene], Counted]:
    def count(plan: Workflow, scene: Scene) -> Counted:
        found = {step.id: contract_of(action, scene) for step, action in calls(plan)}
        return {name: 1 for name, contract in found.items() if contract is not None and contract.effect in wanted}

    return count


def _agents(plan: Workflow, scene: Scene) -> Counted:  # noqa: ARG001 - the shape of a count
    return {step.id: 1 for step in plan.steps if step.kind == "agent"}


def _irrevocable(plan: Workflow, scene: Scene) -> Counted:
    changing = _of_effect("write", "dangerous")(plan, scene)
    return {step.id: 1 for step in plan.steps if step.id in changing and step.undo is None}


def _money(plan: Workflow, scene: Scene) -> Counted:
    return {step.id: 1 for step, action in calls(plan) if _moves(action, scene)}


def _moves(action: Action, scene: Scene) -> bool:
    """Whether a call moves more than the tenant calls small, or an amount that is not known yet."""
    money, contract, known = scene.gates.money, contract_of(action, scene), arguments(action, scene.input)
    if known is None:
        named = contract.input_schema.get("properties", {}) if contract else {}
        return any(name in named for name in money.arguments)
    amounts = [known[name] for name in money.arguments if name in known]
    return any(type(amount) is not int or abs(amount) > money.above for amount in amounts)


def _external(plan: Workflow, scene: Scene) -> Counted:
    return {step.id: 1 for step in plan.steps if step.act is not None and outside(step, step.act, scene)}


def _sinks(plan: Workflow, scene: Scene) -> Counted:
    return {step.id: 1 for step, action in calls(plan) if labels_of(action, scene).sink}


def _fan_out(plan: Workflow, scene: Scene) -> Counted:
    """One for each tenfold: 2 to 10 nodes count 1, 11 to 100 count 2."""
    return {step.id: _tenfolds(nodes(step, scene.input)[1]) for step in plan.steps}


def _tenfolds(many: int) -> int:
    return len(str(many - 1)) if many > 1 else 0


def _proposed(plan: Workflow, scene: Scene) -> Counted:  # noqa: ARG001 - the shape of a count
    return {"": 1 if scene.proposer is not None else 0}


def _unsigned(plan: Workflow, scene: Scene) -> Counted:  # noqa: ARG001 - the shape of a count
    return {"": 0 if scene.signed else 1}


def _unbudgeted(plan: Workflow, scene: Scene) -> Counted:  # noqa: ARG001 - the shape of a count
    budget = plan.budget
    return {"": 1 if budget.calls is None and budget.tokens is None and budget.micros is None else 0}


COUNTS: Mapping[str, Callable[[Workflow, Scene], Counted]] = {
    "agents": _agents,
    "writes": _of_effect("write", "dangerous"),
    "dangerous": _of_effect("dangerous"),
    "irrevocable": _irrevocable,
    "money": _money,
    "external": _external,
    "sinks": _sinks,
    "fan_out": _fan_out,
    "proposed": _proposed,
    "unsigned": _unsigned,
    "unbudgeted": _unbudgeted,
}
