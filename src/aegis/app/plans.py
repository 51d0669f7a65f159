"""What a host knows about plans that agents submit: how each tenant weighs them, and what is wrong with them as workflows."""

from typing import Any

from aegis.adapters import gates, workflows
from aegis.model.schema import Schema
from aegis.runtime.tenant import Tenant
from aegis.settings import Settings
from aegis.workflow.gates import Finding, Gates
from aegis.workflow.graph import Workflow

GATE = "definition"


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
        return _input(plan, known.schema(plan.input), given)


def _input(plan: Workflow, schema: Schema | None, given: Any) -> tuple[Finding, ...]:
    """Where the input of the run does not fit; paths and rules, never a value."""
    if plan.input and schema is None:
        return (_fault("unknown_data", f"there is no contract of data `{plan.input}` in this tenant"),)
    if schema is None:
        return (_fault("input", "the plan names no `input`, so its run takes none"),) if given not in (None, {}) else ()
    return tuple(_fault("input", f"input{each.path}: {each.text}") for each in schema.check(given))


def _fault(code: str, text: str) -> Finding:
    return Finding(gate=GATE, code=code, level="refuse", text=text)
