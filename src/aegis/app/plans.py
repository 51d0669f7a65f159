"""What a host knows about plans that agents submit: how each tenant weighs them, and what is wrong with them as workflows."""

from typing import Any

from aegis.adapters import gates, workflows
from aegis.model.contract import Contract
from aegis.model.schema import Schema
from aegis.runtime.tenant import Tenant
from aegis.settings import Settings
from aegis.workflow import checks
from aegis.workflow.checks import View, check
from aegis.workflow.definitions import Definitions
from aegis.workflow.gates import Finding, Gates
from aegis.workflow.gates.report import Level
from aegis.workflow.graph import Workflow

GATE = "definition"
_GATED = frozenset({"never_allowed", "unknown_agent", "unknown_tool", "unknown_workflow", "unknown_message"})
"""What a gate says more exactly."""


class PlanStudy:
    """Reads the tenant's documents at every submission: plans are rare, and what was just changed holds."""

    def __init__(self, settings: Settings) -> None:
        self._tenants = settings.tenants

    def gates(self, tenant: str) -> Gates:
        """As the port says."""
        return gates.load(self._tenants / tenant, tenant)

    def faults(self, tenant: Tenant, plan: Workflow, given: Any) -> tuple[Finding, ...]:
        """As the port says."""
        known = workflows.load(self._tenants / tenant.name, tenant.name)
        found = check(plan, view_of(tenant, known))
        return (*(_checked(each) for each in found if each.code not in _GATED), *_input(plan, known.schema(plan.input), given))


def view_of(tenant: Tenant, known: Definitions) -> View:
    """The tenant as checks of workflows see it."""
    contracts: dict[str, tuple[Contract, ...]] = {}
    for each in tenant.by_digest.values():
        contracts[each.name] = (*contracts.get(each.name, ()), each)
    ruling = tenant.enforced
    return View(
        contracts=contracts,
        directory=tenant.directory,
        definitions=known,
        policy=ruling.policy if ruling else None,
        tenant_data=ruling.data if ruling else {},
    )


def _checked(found: checks.Finding) -> Finding:
    level: Level = "refuse" if found.level == "error" else "note"
    # An agent is not told which names are near: they may be of tools and people that its token does not show it.
    text = found.text.removeprefix(f"step `{found.step}`: ").partition("; did you mean")[0]
    return Finding(gate=GATE, code=found.code, level=level, text=text, step=found.step, place=found.place)


def _input(plan: Workflow, schema: Schema | None, given: Any) -> tuple[Finding, ...]:
    """Where the input of the run does not fit; paths and rules, never a value. `None` is an input that is not known yet."""
    if given is None or (plan.input and schema is None):  # that there is no such contract has been found already
        return ()
    if schema is None:
        return (_fault("input", "the plan names no `input`, so its run takes none"),) if given != {} else ()
    return tuple(_fault("input", f"input{each.path}: {each.text}") for each in schema.check(given))


def _fault(code: str, text: str) -> Finding:
    return Finding(gate=GATE, code=code, level="refuse", text=text)
