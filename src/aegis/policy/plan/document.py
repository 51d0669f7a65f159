"""Read a plan: who is going to act, and the calls to be made.

    apiVersion: aegis.plan/v1
    kind: Plan
    context: {agent.id: agent:payer, agent.roles: [treasury], agent.trust: 4}
    steps:
      - {id: look, tool: crm.get_customer, args: {customer_id: "c-1"}}
      - {id: pay, tool: payments.transfer, args: {amount_minor: {unknown: true}, iban: {from: look}}}

`context` names places of the input that are known when the plan is made; what it leaves out is unknown. An argument is a literal,
`{unknown: true}`, or `{from: STEP}`: a value that an earlier step will give. A step may state its own `context`.
"""

from typing import Any

from msgspec import Struct

from aegis.model import document
from aegis.model.node import Node, choices, nearest
from aegis.policy.cases import check_value
from aegis.policy.places import FIXED
from aegis.policy.toollines import is_dotted

API_VERSION = "aegis.plan/v1"
KIND = "Plan"
_GIVEN_BY_THE_CALL = ("tool", "tenant")
CONTEXT = tuple(path for path in FIXED if path not in _GIVEN_BY_THE_CALL and not path.startswith("tool_labels."))


class Unknown(Struct, frozen=True):
    """A value that the plan does not know yet; `source` is the step that will give it, or empty."""

    source: str = ""


class Step(Struct, frozen=True, kw_only=True):
    """One call of the plan. Arguments may be, or hold, `Unknown`."""

    id: str
    tool: str
    args: dict[str, Any]
    context: dict[str, Any]
    place: str = ""


class Plan(Struct, frozen=True, kw_only=True):
    """The calls in their order."""

    steps: tuple[Step, ...]


def read(text: str, *, source: str) -> Plan:
    """The plan in `text`.

    Raises:
        DocumentError: With the place, what was found and what was expected.
    """
    top = Node(document.parse(text, source=source)).fields(
        ("apiVersion", "kind", "context", "steps"), ("apiVersion", "kind", "steps")
    )
    top["apiVersion"].word((API_VERSION,))
    top["kind"].word((KIND,))
    context = _context(top["context"]) if "context" in top else {}
    found: dict[str, Step] = {}
    for item in top["steps"].items():
        step = _step(item, context, list(found))
        if step.id in found:
            raise item.at("id").fail(f"step `{step.id}` exists already at {found[step.id].place}")
        found[step.id] = step
    return Plan(steps=tuple(found.values()))


def _step(node: Node, context: dict[str, Any], earlier: list[str]) -> Step:
    fields = node.fields(("id", "tool", "args", "context"), ("id", "tool"))
    name = fields["id"].text()
    if not is_dotted(name):
        raise fields["id"].fail(f"`{name}` is not an id: expected names joined by dots (letters, digits, `_`, `-`)")
    args = {key: _value(child, earlier) for key, child in fields["args"].members().items()} if "args" in fields else {}
    own = _context(fields["context"]) if "context" in fields else {}
    return Step(id=name, tool=fields["tool"].text(), args=args, context={**context, **own}, place=node.place())


def _context(node: Node) -> dict[str, Any]:
    members = node.members()
    for path, child in members.items():
        if path not in CONTEXT:
            raise child.fail(f"no such path `{path}` in the context of a plan; expected {choices(CONTEXT)}{nearest(path, CONTEXT)}")
        check_value(path, FIXED[path], child)
    return {path: child.value for path, child in members.items()}


def _value(node: Node, earlier: list[str]) -> Any:
    if isinstance(node.value, dict):
        if node.value.keys() == {"unknown"} and node.value["unknown"] is True:
            return Unknown()
        if node.value.keys() == {"from"}:
            return Unknown(source=node.at("from").word(earlier))
        return {key: _value(child, earlier) for key, child in node.members().items()}
    return [_value(child, earlier) for child in node.items(empty=True)] if isinstance(node.value, list) else node.value
