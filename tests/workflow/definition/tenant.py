"""A tenant against which workflows are checked: tools, a queue, data, people and a policy, all read from documents."""

from functools import cache
from typing import Any

from aegis.identity.directory import parse_directory
from aegis.model.contract import contract
from aegis.model.document import Document
from aegis.model.queue import queue_contract
from aegis.policy.language import load
from aegis.workflow.checks import View
from aegis.workflow.data import data_contract
from aegis.workflow.definitions import definitions

TEXT = {"type": "string", "maxLength": 64}
PRICE = {"type": "integer", "minimum": 0, "maximum": 1_000_000}
OFFER = {
    "type": "object",
    "required": ["supplier", "price_minor"],
    "properties": {"supplier": TEXT, "price_minor": PRICE, "note": TEXT},
}
DATA: dict[str, Any] = {
    "procurement.request": {"type": "object", "required": ["article"], "properties": {"article": TEXT}},
    "offers": {
        "type": "object",
        "required": ["offers"],
        "properties": {"offers": {"type": "array", "items": {"$ref": "#/$defs/offer"}}},
        "$defs": {"offer": OFFER},
    },
    "score": {
        "type": "object",
        "required": ["score", "supplier", "price_minor"],
        "properties": {"score": {"type": "number"}, "supplier": TEXT, "price_minor": PRICE, "note": TEXT},
    },
    "person": {"type": "object", "required": ["name"], "properties": {"name": TEXT, "age": {"type": "integer"}}},
    "big": {"type": "object", "required": ["price_minor"], "properties": {"price_minor": {"type": "integer"}}},
}
POLICY = """
apiVersion: aegis.policy/v1
kind: PolicySet
metadata: {name: acme, tenant: acme, owner: team:security}
spec:
  tools:
    payments.transfer: {contract: payments.transfer@1}
    payments.refund: {contract: payments.refund@1}
    crm.lookup: {contract: crm.lookup@1}
  rules:
    - {id: work, effect: allow, tools: ["*"], reason: "ordinary work"}
    - id: ceiling
      effect: deny
      tools: [payments.transfer]
      when: {args.amount_minor: {gt: 1000000}}
      reason: "no payment above ten thousand"
"""


def tool(name: str, effect: str, properties: dict[str, Any], output: dict[str, Any], resource: str = "") -> dict[str, Any]:
    """The document of a tool."""
    changes = {"interrupt": "honours_key", "resource": resource} if effect != "read" else {}
    return {
        "apiVersion": "aegis.tool/v1",
        "kind": "Tool",
        "metadata": {"name": name, "version": "1.2.0", "tenant": "acme", "owner": "team:tools"},
        "spec": {
            "description": name, "effect": effect, **changes, "upstream": {"url": "http://127.0.0.1:9"},
            "operations": {"call": {"method": "POST", "path": "/", "body": {each: each for each in properties}}},
            "input": {"type": "object", "required": list(properties), "properties": properties},
            "output": {"type": "object", "required": list(output), "properties": output},
        },
    }  # fmt: skip


def document(value: dict[str, Any]) -> Document:
    """A document that no file holds."""
    return Document("tenant.yaml", value, {})


TOOLS = [
    tool("payments.transfer", "dangerous", {"amount_minor": PRICE, "to": TEXT}, {"payment": TEXT}, "payments/{to}"),
    tool("payments.refund", "write", {"payment": TEXT}, {"refund": TEXT}, "refunds/{payment}"),
    tool("crm.lookup", "read", {"id": TEXT}, {"name": {"type": "string", "enum": ["Ana", "Bo"]}}),
    tool("secret.read", "read", {}, {}),
]
QUEUE = {
    "apiVersion": "aegis.queue/v1",
    "kind": "Queue",
    "metadata": {"name": "default", "version": "1.0.0", "tenant": "acme", "owner": "team:buying"},
    "spec": {"description": "work", "agents": {f"agent:{name}": {"remote": True} for name in ("gatherer", "scorer")}},
}
DIRECTORY: dict[str, Any] = {
    "apiVersion": "aegis.directory/v1",
    "kind": "Directory",
    "metadata": {"tenant": "acme"},
    "spec": {
        "agents": {
            "agent:buyer": {"roles": ["buying"], "scopes": ["payments.*", "crm.*"]},
            "agent:gatherer": {"roles": ["buying"], "scopes": []},
            "agent:scorer": {"roles": ["buying"], "scopes": []},
            "agent:idle": {"roles": ["buying"], "scopes": []},
            "agent:gone": {"roles": ["buying"], "scopes": [], "enabled": False},
        },
        "people": {
            "person:ana": {"roles": ["controller"]},
            "person:bo": {"roles": ["controller"]},
            "person:cy": {"roles": ["cfo"]},
            "person:di": {"roles": ["board"], "enabled": False},
        },
    },
}


@cache
def view() -> View:
    """The tenant as checks see it."""
    contracts = [*(contract(document(each)) for each in TOOLS), queue_contract(document(QUEUE))]
    data = [
        data_contract(document({
            "apiVersion": "aegis.data/v1", "kind": "Data",
            "metadata": {"name": name, "version": "1.0.0", "tenant": "acme", "owner": "team:buying"}, "spec": {"schema": schema},
        })) for name, schema in DATA.items()
    ]  # fmt: skip
    return View(
        contracts={each.name: (each,) for each in contracts},
        directory=parse_directory(document(DIRECTORY)),
        definitions=definitions([], data),
        policy=load(POLICY, source="policy.yaml", contracts={each.digest: each for each in contracts}),
    )
