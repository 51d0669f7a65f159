"""How a tenant weighs plans: `aegis.gates/v1`, in `tenants/T/gates.yaml`.

    apiVersion: aegis.gates/v1
    kind: Gates
    metadata: {tenant: acme}
    spec:
      risk:
        auto_below: 40          # a sum below this starts without a person
        deny_above: 200         # a sum above this is refused
        weights: {writes: 5, dangerous: 30, money: 20, proposed: 10}
      money: {above: 100000, arguments: [amount_minor]}
      inside: ["127.0.0.1", "*.acme.example"]
      egress: ["127.0.0.1", "*.acme.example", api.bank.example]
      flows: [{label: confidential, sink: external, then: refuse}]
      most_nodes: 2000
      proposers: [role:planner]
      approvers: {sets: [[role:operator]], quorum: 1, expires: 1h}

Everything under `spec` may be left out. A weight that is not named has the default below, so that a new factor is never weightless
by oversight. Where a tenant has no file, every plan goes to a person with role `operator`.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Literal

from msgspec import Struct

from aegis.model.document import Document
from aegis.model.node import Node, choices, nearest
from aegis.policy.duration import duration
from aegis.policy.hosts import entry_complaint

API_VERSION = "aegis.gates/v1"
KIND = "Gates"
WEIGHTS: Mapping[str, int] = MappingProxyType({
    "agents": 2,
    "writes": 5,
    "dangerous": 30,
    "irrevocable": 15,
    "money": 20,
    "external": 10,
    "sinks": 10,
    "fan_out": 5,
    "proposed": 10,
    "unsigned": 5,
    "unbudgeted": 5,
})  # fmt: skip
"""The factors, and what each weighs unless the tenant says otherwise."""

MAX_WEIGHT = 1_000_000
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_ARGUMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_APPROVER = re.compile(r"(?:role:[a-z][a-z0-9_-]{0,62}|person:[a-z0-9][a-z0-9._-]{0,62})")
_PROPOSER = re.compile(r"(?:role:[a-z][a-z0-9_-]{0,62}|agent:[a-z0-9][a-z0-9._-]{0,62})")


class Money(Struct, frozen=True, kw_only=True):
    """A step moves much when one of these arguments is above this, or is not known yet."""

    above: int = 0
    arguments: tuple[str, ...] = ()


class Flow(Struct, frozen=True, kw_only=True):
    """What becomes of a plan in which data with this label reaches a tool with this sink; empty names are any."""

    label: str = ""
    sink: str = ""
    then: Literal["person", "refuse"] = "person"


class Approvers(Struct, frozen=True, kw_only=True):
    """Who may let a plan pass that does not pass by itself."""

    sets: tuple[tuple[str, ...], ...] = (("role:operator",),)
    quorum: int = 1
    expires: timedelta = timedelta(hours=1)


class Gates(Struct, frozen=True, kw_only=True):
    """How a tenant weighs plans. `egress` is `None` where any host may be spoken to; `proposers` where any agent may submit."""

    tenant: str = ""
    auto_below: int = 0
    deny_above: int = MAX_WEIGHT
    weights: Mapping[str, int] = WEIGHTS
    money: Money = Money()
    inside: tuple[str, ...] = ("127.0.0.1", "localhost", "::1")
    egress: tuple[str, ...] | None = None
    flows: tuple[Flow, ...] = (Flow(),)
    most_nodes: int = 2000
    proposers: tuple[str, ...] | None = None
    approvers: Approvers = Approvers()
    source: str = ""


def gates(document: Document) -> Gates:
    """What the document says.

    Raises:
        DocumentError: With the place, what was found and what was expected.
    """
    top = Node(document).fields(("apiVersion", "kind", "metadata", "spec"), ("apiVersion", "kind", "metadata", "spec"))
    top["apiVersion"].word((API_VERSION,))
    top["kind"].word((KIND,))
    meta = top["metadata"].fields(("tenant", "owner"), ("tenant",))
    spec = top["spec"].fields(("risk", "money", "inside", "egress", "flows", "most_nodes", "proposers", "approvers"))
    base = Gates()
    low, high, weights = _risk(spec["risk"]) if "risk" in spec else (base.auto_below, base.deny_above, WEIGHTS)
    return Gates(
        tenant=meta["tenant"].text(),
        auto_below=low,
        deny_above=high,
        weights=weights,
        money=_money(spec["money"]) if "money" in spec else base.money,
        inside=_hosts(spec["inside"]) if "inside" in spec else base.inside,
        egress=_hosts(spec["egress"]) if "egress" in spec else None,
        flows=tuple(_flow(item) for item in spec["flows"].items(empty=True)) if "flows" in spec else base.flows,
        most_nodes=spec["most_nodes"].integer(1, MAX_WEIGHT) if "most_nodes" in spec else base.most_nodes,
        proposers=_names(spec["proposers"], _PROPOSER, "`role:NAME` or `agent:NAME`", empty=True) if "proposers" in spec else None,
        approvers=_approvers(spec["approvers"]) if "approvers" in spec else base.approvers,
        source=document.source,
    )


def _risk(node: Node) -> tuple[int, int, Mapping[str, int]]:
    parts = node.fields(("auto_below", "deny_above", "weights"), ("auto_below", "deny_above"))
    low, high = parts["auto_below"].integer(0, MAX_WEIGHT), parts["deny_above"].integer(0, MAX_WEIGHT)
    if high < low:
        raise parts["deny_above"].fail(f"expected {low} or more: what starts without a person cannot be refused")
    return low, high, _weights(parts["weights"]) if "weights" in parts else WEIGHTS


def _weights(node: Node) -> Mapping[str, int]:
    found = dict(WEIGHTS)
    for name, child in node.members().items():
        if name not in WEIGHTS:
            raise child.fail(f"no such factor `{name}`; expected {choices(WEIGHTS)}{nearest(name, WEIGHTS)}")
        found[name] = child.integer(0, MAX_WEIGHT)
    return found


def _money(node: Node) -> Money:
    parts = node.fields(("above", "arguments"), ("above", "arguments"))
    return Money(above=parts["above"].integer(0), arguments=_names(parts["arguments"], _ARGUMENT, "the name of an argument"))


def _flow(node: Node) -> Flow:
    parts = node.fields(("label", "sink", "then"), ("then",))
    return Flow(
        label=_name(parts["label"], _NAME, "a label") if "label" in parts else "",
        sink=_name(parts["sink"], _NAME, "a sink") if "sink" in parts else "",
        then=parts["then"].word(("person", "refuse")),  # type: ignore[arg-type]  # word() gave one of the literals
    )


def _hosts(node: Node) -> tuple[str, ...]:
    return tuple(_host(item) for item in node.items(empty=True))


def _host(node: Node) -> str:
    if wrong := entry_complaint(node.text()):
        raise node.fail(f"expected a host or `*.` and a host: {wrong}")
    return node.text()


def _approvers(node: Node) -> Approvers:
    parts = node.fields(("sets", "quorum", "expires"), ("sets",))
    base = Approvers()
    return Approvers(
        sets=tuple(_names(item, _APPROVER, "`role:NAME` or `person:NAME`") for item in parts["sets"].items()),
        quorum=parts["quorum"].integer(1, 100) if "quorum" in parts else base.quorum,
        expires=duration(parts["expires"]) if "expires" in parts else base.expires,
    )


def _names(node: Node, pattern: re.Pattern[str], expected: str, *, empty: bool = False) -> tuple[str, ...]:
    return tuple(_name(item, pattern, expected) for item in node.items(empty=empty))


def _name(node: Node, pattern: re.Pattern[str], expected: str) -> str:
    text = node.text()
    if not pattern.fullmatch(text):
        raise node.fail(f"expected {expected}")
    return text
