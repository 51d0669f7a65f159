"""All gates combined into one report. Pure: the same plan, facts and gates give the same report, byte for byte.

Precedence, first that applies: a finding that refuses, a finding that wants a person, pass. Findings are combined as a set, so the
order of gates never matters. A gate that raises refuses: it could not read what it judges by.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from aegis.workflow.gates.authority import AuthorityGate
from aegis.workflow.gates.cost import CostGate, cost_of
from aegis.workflow.gates.data import DataGate
from aegis.workflow.gates.report import Cost, Factor, Finding, Gate, GateReport, Scene, Verdict
from aegis.workflow.gates.risk import RiskGate, factors, risk_of
from aegis.workflow.gates.safety import SafetyGate
from aegis.workflow.graph import Amount, Workflow

GATES: tuple[Gate, ...] = (AuthorityGate(), DataGate(), SafetyGate(), RiskGate(), CostGate())
_LEVELS = ("refuse", "person", "note")


class _Weighed(Struct, frozen=True):
    factors: tuple[Factor, ...]
    cost: Cost


def judge(plan: Workflow, scene: Scene, gates: Sequence[Gate] = GATES, also: Iterable[Finding] = ()) -> GateReport:
    """The report on `plan`, with what others found `also`; it never raises for anything that a gate does."""
    found = {*also, *(finding for gate in gates for finding in _asked(gate, plan, scene))}
    weighed = _weighed(plan, scene)
    return GateReport(
        plan=plan.digest,
        verdict=_verdict(found),
        findings=tuple(sorted(found, key=_order)),
        factors=weighed.factors,
        risk=risk_of(weighed.factors),
        cost=weighed.cost,
    )


def _asked(gate: Gate, plan: Workflow, scene: Scene) -> tuple[Finding, ...]:
    """What the gate says, or that it could not judge. The text of an exception may hold data and goes nowhere."""
    try:
        found = tuple(gate(plan, scene))
        if all(isinstance(each, Finding) and each.level in _LEVELS for each in found):
            return found
    except Exception:  # noqa: S110 - whatever went wrong, the answer below refuses
        pass
    return (Finding(gate=gate.name, code="blind", level="refuse", text="this gate could not judge the plan"),)


def _weighed(plan: Workflow, scene: Scene) -> _Weighed:
    """Factors and cost; where they cannot be told, the gates of the same facts have refused."""
    try:
        return _Weighed(factors(plan, scene), cost_of(plan, scene))
    except Exception:
        return _Weighed((), Cost(least=Amount(), most=Amount(), budget=plan.budget))


def _verdict(found: Iterable[Finding]) -> Verdict:
    levels = {finding.level for finding in found}
    return "refuse" if "refuse" in levels else "person" if "person" in levels else "pass"


def _order(finding: Finding) -> tuple[int, str, str, str, str, str]:
    return _LEVELS.index(finding.level), finding.gate, finding.step, finding.code, finding.place, finding.text
