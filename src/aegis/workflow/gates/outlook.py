"""What a plan will do, for people who look at it before it runs: in which order, and whom it will ask."""

from msgspec import Struct

from aegis.workflow.gates.known import tool_of
from aegis.workflow.gates.report import GateReport
from aegis.workflow.graph import Step, Workflow


class Awaited(Struct, frozen=True, kw_only=True):
    """An approval to expect: of an approval step, or of a call that the policy will hold."""

    step: str
    approvers: tuple[tuple[str, ...], ...] = ()
    quorum: int = 1
    why: str = ""


class Look(Struct, frozen=True, kw_only=True):
    """One step in the order of the plan. Steps of one `wave` wait for nothing but earlier waves."""

    wave: int
    step: str
    kind: str
    what: str = ""
    after: tuple[str, ...] = ()


def order(plan: Workflow) -> tuple[Look, ...]:
    """The steps by wave, ties by name."""
    waves: dict[str, int] = {}
    for step in plan.steps:
        waves[step.id] = 1 + max((waves.get(name, 0) for name in step.needs), default=0)
    looks = (Look(wave=waves[step.id], step=step.id, kind=step.kind, what=_what(step), after=step.needs) for step in plan.steps)
    return tuple(sorted(looks, key=lambda look: (look.wave, look.step)))


def awaited(plan: Workflow, report: GateReport) -> tuple[Awaited, ...]:
    """Every approval that the plan will surely wait for once it gets there."""
    steps = [
        Awaited(step=step.id, approvers=step.approval.approver_sets, quorum=step.approval.quorum)
        for step in plan.steps
        if step.approval is not None
    ]
    calls = [Awaited(step=found.step, why=found.text) for found in report.findings if found.code == "will_wait"]
    return (*steps, *calls)


def _what(step: Step) -> str:
    return (tool_of(step.act) or step.act.name) if step.act is not None else ""
