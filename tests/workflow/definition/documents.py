"""Documents of workflows for tests: one that is whole, and ways to change it."""

from copy import deepcopy
from typing import Any

import msgspec

from aegis.model.document import Document, parse
from aegis.workflow.graph import Workflow
from aegis.workflow.reading import workflow

PROCUREMENT: dict[str, Any] = {
    "apiVersion": "aegis.workflow/v1",
    "kind": "Workflow",
    "metadata": {
        "name": "procurement", "version": "1.0.0", "tenant": "acme", "owner": "team:buying", "run_as": "buyer",
        "runbook": "https://runbooks.acme.example/procurement",
    },
    "spec": {
        "description": "gathers offers, has the best one approved, and pays it",
        "input": "procurement.request@1",
        "budget": {"usd": "5.25", "calls": 100},
        "timeout": "2d",
        "steps": {
            "gather": {"agent": "gatherer", "role": "retriever", "input": {"article": "$input.article"}, "output": "offers@1"},
            "score": {
                "agent": "scorer", "role": "validator", "for_each": "$steps.gather.output.offers", "max_elements": 20,
                "input": {"offer": "$item"}, "output": "score@1", "collect": {"best": "max_by(score)"},
            },
            "check": {"approval": {"approvers": ["role:controller"], "shows": {"offer": "$steps.score.best"}}},
            "pay": {
                "tool": "payments.transfer@1",
                "when": {"steps.score.best.score": {"gte": 0.5}, "steps.check.outcome": {"eq": "approved"}},
                "args": {"amount_minor": "$steps.score.best.price_minor", "to": "$steps.score.best.supplier"},
                "compensate": {"tool": "payments.refund", "args": {"payment": "$output.payment"}},
            },
        },
    },
}  # fmt: skip


def whole(**steps: Any) -> dict[str, Any]:
    """The document; these steps stand in it beside or instead of its own, and one that is `None` is taken out."""
    found = deepcopy(PROCUREMENT)
    found["spec"]["steps"].update(steps)
    found["spec"]["steps"] = {name: step for name, step in found["spec"]["steps"].items() if step is not None}
    return found


def only(**steps: Any) -> dict[str, Any]:
    """A document with these steps and nothing else."""
    found = deepcopy(PROCUREMENT)
    found["spec"] = {"steps": steps}
    return found


def parsed(document: dict[str, Any]) -> Document:
    """As it would come from a file."""
    return parse(msgspec.json.encode(document).decode(), source="w.yaml")


def made(document: dict[str, Any]) -> Workflow:
    """The workflow that it states."""
    return workflow(parsed(document))
