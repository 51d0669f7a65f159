"""The contract of a workflow as the tool `workflow.NAME`, drawn from its definition and the data that it names."""

from typing import Any

from aegis.errors import DocumentError
from aegis.model.document import Document
from aegis.model.workflow_contract import API_VERSION, NO_INPUT, WorkflowContract, workflow_contract
from aegis.workflow.definitions import Definitions
from aegis.workflow.graph import Workflow


def document(workflow: Workflow, known: Definitions) -> dict[str, Any]:
    """The contract's own document, which stands without the definition.

    Raises:
        DocumentError: The definition names a contract of data that there is not.
    """
    output = {"output": _schema(workflow, workflow.output, known)} if workflow.output else {}
    taken = _schema(workflow, workflow.input, known) if workflow.input else dict(NO_INPUT)
    return {
        "apiVersion": API_VERSION,
        "kind": "WorkflowContract",
        "metadata": {"name": workflow.name, "version": workflow.version, "tenant": workflow.tenant, "owner": workflow.owner},
        "spec": {
            "description": workflow.description or f"starts a run of the workflow {workflow.name}",
            "definition": workflow.digest,
            "input": taken,
            **output,
        },
    }


def contract(workflow: Workflow, known: Definitions) -> WorkflowContract:
    """The contract by which a run of this workflow is started.

    Raises:
        DocumentError: The definition names a contract of data that there is not, or takes something that is no mapping.
    """
    return workflow_contract(Document(workflow.source, document(workflow, known), {}))


def _schema(workflow: Workflow, name: str, known: Definitions) -> Any:
    found = known.schema(name)
    if found is None:
        raise DocumentError(f"{workflow.source}:1:1: no contract of data `{name}` lies in the folder `data` of this tenant")
    return found.source
