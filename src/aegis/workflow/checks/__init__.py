"""What is wrong with a workflow in its tenant: every fault, with its place and a code.

names     names that lead nowhere
edges     what one step gives, against what another one takes
effects   what cannot be undone, is changed twice at once, or is never allowed
people    approvals that nobody could give
ways      steps that are never taken, budgets that cannot last

All of them are pure: a workflow and a view of its tenant in, findings out. That nothing is found does not mean that a run is let do
what it says: each step is decided when it is taken.
"""

from aegis.model.document import Document
from aegis.workflow import reading
from aegis.workflow.checks.edges import anyway, edges, skipped
from aegis.workflow.checks.effects import allowed, conflicts, undone
from aegis.workflow.checks.finding import Finding, View
from aegis.workflow.checks.names import names
from aegis.workflow.checks.people import people
from aegis.workflow.checks.ways import budgets, unreachable
from aegis.workflow.graph import Workflow

CHECKS = (names, edges, skipped, anyway, undone, conflicts, allowed, people, unreachable, budgets)
CODES = (
    "format", "cycle", "unknown_step", "unknown_agent", "unknown_tool", "unknown_workflow", "unknown_message", "unknown_queue",
    "not_served", "unknown_contract", "unknown_role", "unknown_person", "edge_contract", "maybe_skipped", "no_compensation",
    "runbook_missing", "write_conflict", "never_allowed", "nobody_approves", "only_requester", "unreachable", "unbounded",
    "budget_below_estimate", "recursion", "data_version", "runs_anyway",
)  # fmt: skip


def check(workflow: Workflow, view: View) -> tuple[Finding, ...]:
    """Everything that is wrong with a workflow, errors first, then as it stands in the document."""
    found = {finding for each in CHECKS for finding in each(workflow, view)}
    order = {step.id: index for index, step in enumerate(workflow.steps)}
    return tuple(sorted(found, key=lambda each: (each.level != "error", order.get(each.step, -1), each.code, each.text)))


def check_document(document: Document, view: View) -> tuple[Workflow | None, tuple[Finding, ...]]:
    """The workflow of a document, if it can be read, and everything that is wrong with it."""
    draft = reading.draft(document)
    if draft.workflow is None:
        return None, tuple(fault(each.code, each.text, each.step) for each in draft.faults)
    return draft.workflow, check(draft.workflow, view)


def fault(code: str, text: str, step: str = "") -> Finding:
    """What an error about a document says, as a finding; its text begins with the place."""
    place, _, rest = text.partition(": ")
    return Finding(code=code, place=place, text=rest or text, step=step)


__all__ = ["CHECKS", "CODES", "Finding", "View", "check", "check_document", "fault"]
