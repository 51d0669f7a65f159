"""Where a run can go: steps that are never taken, and budgets that cannot last.

A condition is tried under every way in which the steps that it names can end. Whatever else it reads may be anything, so what is
called unreachable surely is.
"""

from collections.abc import Iterator, Mapping
from itertools import product

from aegis.policy.ir import AllOf, AnyOf, Condition, Not, Quantified
from aegis.workflow import conditions
from aegis.workflow.checks.edges import reads
from aegis.workflow.checks.finding import Finding, View, of_all, of_step
from aegis.workflow.graph import MAX_ELEMENTS, Amount, Budget, Step, Workflow

MAX_TRIED = 256
Known = dict[tuple[int, str], bool]
"""Whether a comparison holds for an ending, by its identity; conditions are many, and compiling them is the dear part."""
_SAID = {"approval": "approved"}
_WRONG = {"approval": ("rejected", "expired"), "wait": ("timed_out", "failed")}
_FAILED = ("failed", "denied", "timed_out", "expired", "rejected")


def unreachable(workflow: Workflow, view: View) -> Iterator[Finding]:  # noqa: ARG001 - every check has this shape
    """Steps whose condition never holds, and those that can only be skipped because of one."""
    never: set[str] = set()
    by_id = {step.id: step for step in workflow.steps}
    for step in workflow.steps:
        wrong = _never(step.when, by_id, never) if step.when is not None else ""
        gone = sorted(name for name in reads(step) & never if by_id[name].default is None)
        if wrong or gone:
            never.add(step.id)
            yield of_step(step, "unreachable", wrong or f"it refers to what `{gone[0]}` gives, which is never taken")


def budgets(workflow: Workflow, view: View) -> Iterator[Finding]:
    """Limits that the estimates of the steps already pass."""
    least, most = Amount(), Amount()
    for step in workflow.steps:
        one = _estimate(step, view)
        low, high = _nodes(step)
        least, most = least.plus(_times(one, low)), most.plus(_times(one, high))
        if not step.budget.allows(one):
            yield of_step(
                step, "budget_below_estimate", f"its `estimate` {_told(one)} passes its own `budget` {_limit(step.budget)}"
            )
    if not workflow.budget.allows(least):
        text = f"the steps that are always taken need {_told(least)}, and the budget of a run is {_limit(workflow.budget)}"
        yield of_all(workflow, "budget_below_estimate", text)
    elif not workflow.budget.allows(most):
        text = f"all steps together may need {_told(most)}, and the budget of a run is {_limit(workflow.budget)}"
        yield of_all(workflow, "budget_below_estimate", text, "warning")


def endings(step: Step) -> tuple[str, ...]:
    """The words for how a step can have ended when another one looks at it. A failure that unwinds the run is seen by none."""
    found: tuple[str, ...] = (_SAID.get(step.kind, "succeeded"),)
    if step.on_failure == "skip":
        found += _WRONG.get(step.kind, _FAILED)
    return (*found, "skipped")


def _never(when: Condition, steps: Mapping[str, Step], never: set[str]) -> str:
    """Why a condition never holds; empty when it may."""
    read = sorted(conditions.outcomes(when))
    words = [("skipped",) if name in never else endings(steps[name]) for name in read]
    total = 1
    for each in words:
        total *= len(each)
    if total > MAX_TRIED:
        return ""
    known: Known = {}
    for chosen in product(*words):
        if _may(when, dict(zip(read, chosen, strict=True)), known, want=True):
            return ""
    if not read:
        return "its condition never holds"
    told = "; ".join(
        f"`{name}` ends as {' or '.join(f'`{word}`' for word in each)}" for name, each in zip(read, words, strict=True)
    )
    return f"its condition never holds: {told}. A failure ends the run unless that step says `on_failure: skip`"


def _may(when: Condition, ended: Mapping[str, str], known: Known, *, want: bool) -> bool:
    """Whether a condition can come out so, when the steps ended like that; never wrongly no."""
    if isinstance(when, Not):
        return _may(when.condition, ended, known, want=not want)
    if isinstance(when, AllOf | AnyOf):
        parts = [_may(part, ended, known, want=want) for part in when.conditions]
        return all(parts) if isinstance(when, AllOf) is want else any(parts)
    if isinstance(when, Quantified) or when.path.parts[0] != "steps" or when.path.parts[2] != conditions.OUTCOME:
        return True
    word = ended[when.path.parts[1]]
    if (id(when), word) not in known:
        known[id(when), word] = conditions.test(when)({"steps": {when.path.parts[1]: {conditions.OUTCOME: word}}})
    return known[id(when), word] is want


def _nodes(step: Step) -> tuple[int, int]:
    """How many nodes a step has at least and at most."""
    turns = step.repeat.most if step.repeat else 1
    if isinstance(step.for_each, tuple):
        low = high = len(step.for_each)
    else:
        low, high = (1, 1) if step.for_each is None else (0, step.max_elements or MAX_ELEMENTS)
    return 0 if step.when else low, high * turns


def _estimate(step: Step, view: View) -> Amount:
    """What one node is reserved; nothing for a step that only waits. A tool costs at least what its contract says."""
    if step.act is None:
        return Amount(calls=0)
    contract = view.called(step.act)
    cost = contract.cost_micros if contract else 0
    return Amount(calls=step.estimate.calls, tokens=step.estimate.tokens, micros=max(step.estimate.micros, cost))


def _times(amount: Amount, count: int) -> Amount:
    return Amount(calls=amount.calls * count, tokens=amount.tokens * count, micros=amount.micros * count)


def _told(amount: Amount) -> str:
    return _listed(amount.calls, amount.tokens, amount.micros)


def _limit(budget: Budget) -> str:
    return _listed(budget.calls, budget.tokens, budget.micros)


def _listed(calls: int | None, tokens: int | None, micros: int | None) -> str:
    pairs = ((calls, "calls"), (tokens, "tokens"), (money(micros) if micros else None, "usd"))
    return ", ".join(f"{number} {unit}" for number, unit in pairs if number) or "nothing"


def money(micros: int) -> str:
    """An amount as a document states it."""
    whole, rest = divmod(micros, 1_000_000)
    return f"{whole}.{rest:06d}".rstrip("0").rstrip(".") if rest else str(whole)
