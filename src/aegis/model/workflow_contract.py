"""The contract of a workflow: what a run takes and gives, and which definition it follows.

To start a run is to call the tool `workflow.NAME`, so a workflow contract *is* a contract: scopes, rules, approvals, history,
redaction, halts and the journal see a start like any other call. Nobody writes one: it is drawn from the definition and from the
contracts of data that it names, and its text holds all of that, so that it can be kept and read again without them:

    {"apiVersion": "aegis.workflow-contract/v1", "kind": "WorkflowContract",
     "metadata": {name, version, tenant, owner}, "spec": {description, definition, input, output}}
"""

import re
from collections.abc import Mapping
from typing import Any

from aegis.crypto.canonical import canon_numbers
from aegis.crypto.digest import sha256
from aegis.model.address import UpstreamAddress
from aegis.model.contract import NAME, VERSION, Contract
from aegis.model.document import Document
from aegis.model.node import Node
from aegis.model.operation import Operation, Segment
from aegis.model.schema import Schema, SchemaError

API_VERSION = "aegis.workflow-contract/v1"
PREFIX = "workflow."
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
NO_INPUT: Mapping[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
_RESULT = {
    "type": "object",
    "required": ["run", "state"],
    "properties": {"run": {"type": "string"}, "state": {"type": "string"}},
}


class WorkflowContract(Contract, frozen=True, kw_only=True):
    """One version of a workflow, as the contract of the tool `workflow.NAME`.

    `definition` is the digest of what its runs follow. `gives` is the schema of what a run gives in the end; `None` when anything
    may come. A call answers at once, with the id of the run and how it stands.
    """

    definition: str
    gives: Any = None

    @property
    def workflow(self) -> str:
        """The name of the workflow, as its document states it."""
        return self.name.removeprefix(PREFIX)


def workflow_contract(document: Document) -> WorkflowContract:
    """The contract that a document states.

    Raises:
        DocumentError: With file, line and column, what was found and what was expected.
    """
    top = Node(document).fields(("apiVersion", "kind", "metadata", "spec"), ("apiVersion", "kind", "metadata", "spec"))
    top["apiVersion"].word((API_VERSION,))
    top["kind"].word(("WorkflowContract",))
    words = ("name", "version", "tenant", "owner")
    meta = top["metadata"].fields(words, words)
    spec = top["spec"].fields(("description", "definition", "input", "output"), ("description", "definition", "input"))
    name, version = _match(meta["name"], NAME, "a name"), _match(meta["version"], VERSION, "X.Y.Z")
    meaning = {"metadata": {"name": name, "version": version}, "spec": document.value["spec"]}
    shape = closed(spec["input"])
    return WorkflowContract(
        name=PREFIX + name, version=version, tenant=meta["tenant"].text(), owner=meta["owner"].text(), source=document.source,
        description=spec["description"].text(), effect="write", resource=f"workflow/{name}", interrupt="honours_key",
        idempotency_header="idempotency-key", upstream=UpstreamAddress(url="workflow:"),
        operations={"call": _starting(tuple(shape["properties"]))}, input=_schema(spec["input"], shape), output=Schema(_RESULT),
        digest=sha256(canon_numbers(meaning)), definition=_match(spec["definition"], _DIGEST, "a digest"),
        gives=_schema(spec["output"], spec["output"].value).source if "output" in spec else None,
    )  # fmt: skip


def closed(node: Node) -> dict[str, Any]:
    """The schema of what a run takes, closed against members that it does not name."""
    source = node.value
    if not isinstance(source, dict) or source.get("type") != "object" or not isinstance(source.get("properties"), dict):
        raise node.fail("a run takes a mapping: expected `type: object` with `properties`")
    return {**source, "additionalProperties": False}


def _starting(arguments: tuple[str, ...]) -> Operation:
    return Operation(method="POST", path=(Segment(text="runs"),), body=tuple((name, name) for name in arguments))


def _schema(node: Node, source: Any) -> Schema:
    try:
        return Schema(source)
    except SchemaError as error:
        raise node.document.error((*node.path, *error.path), str(error)) from None


def _match(node: Node, pattern: re.Pattern[str], expected: str) -> str:
    if not pattern.fullmatch(node.text()):
        raise node.fail(f"expected {expected}")
    return node.text()
