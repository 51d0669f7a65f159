"""A guardrail's rules: which approvals a program answers by itself, how, and why. Everything else is left to people.

    approval.tool, .agent_id, .run, .workflow, .step, .reason   words of the card
    approval.quorum                                            how many must agree
    approval.findings                                          what gates found, as texts
    approval.automatic                                         whether a guardrail has approved it already
    shown.*                                                    the values that an approver is shown

Denials go before approvals, whatever their order. A condition that compares something missing, or of another type, is unknown. An
approval is given only by a rule that surely holds, and only when no rule that denies might hold: then a person looks.
"""

import re
from typing import Any, Literal

from msgspec import Struct

from aegis.model.document import Document
from aegis.model.node import Node, nearest
from aegis.policy.conditions import condition
from aegis.policy.ir import Kind, Path, Policy
from aegis.policy.native import compile_condition
from aegis.policy.places import Scope
from aegis.workflow.conditions import Test

API_VERSION = "aegis.guardrail/v1"
APPROVAL, SHOWN = "approval", "shown"
FIELDS: dict[str, Kind] = {
    **dict.fromkeys(("tool", "agent_id", "run", "workflow", "step", "reason"), Kind.STRING),
    "quorum": Kind.INTEGER,
    "findings": Kind.ARRAY,
    "automatic": Kind.BOOLEAN,
}
_ID = re.compile(r"[a-z][a-z0-9_.-]{0,62}")
_ORDER = frozenset({"gt", "gte", "lt", "lte", "between", "outside"})
_NOTHING = Policy(
    name="", tenant="", owner="", digest="", shadow=False, timezone="UTC", lists={}, tenant_shape={}, tools={}, rules=()
)
Said = Literal["approve", "deny"]


class Rule(Struct, frozen=True, kw_only=True):
    """One rule. `holds` when its condition surely does; `might` also when that is unknown."""

    id: str
    answer: Said
    reason: str
    holds: Test
    might: Test


class Guardrail(Struct, frozen=True, kw_only=True):
    """All rules of one guardrail."""

    name: str
    tenant: str
    rules: tuple[Rule, ...]


class Opinion(Struct, frozen=True, kw_only=True):
    """What the guardrail answers, by which rule."""

    approve: bool
    rule: str
    reason: str

    @property
    def text(self) -> str:
        """As it is signed and recorded."""
        return f"rule `{self.rule}`: {self.reason}" if self.reason else f"rule `{self.rule}`"


def opinion(guardrail: Guardrail, card: dict[str, Any]) -> Opinion | None:
    """What the rules say about a card, `{"approval": {...}, "shown": {...}}`; `None`: people decide."""
    denying = [rule for rule in guardrail.rules if rule.answer == "deny"]
    for rule in denying:
        if rule.holds(card):
            return Opinion(approve=False, rule=rule.id, reason=rule.reason)
    if any(rule.might(card) for rule in denying):
        return None
    for rule in guardrail.rules:
        if rule.answer == "approve" and rule.holds(card):
            return Opinion(approve=True, rule=rule.id, reason=rule.reason)
    return None


def parse_guardrail(document: Document) -> Guardrail:
    """The guardrail that a document states.

    Raises:
        DocumentError: With the place, what was found and what was expected.
    """
    top = Node(document).fields(("apiVersion", "kind", "metadata", "spec"), ("apiVersion", "kind", "metadata", "spec"))
    top["apiVersion"].word((API_VERSION,))
    top["kind"].word(("Guardrail",))
    meta = top["metadata"].fields(("name", "tenant", "owner"), ("name", "tenant"))
    spec = top["spec"].fields(("rules",), ("rules",))
    rules = tuple(_rule(node) for node in spec["rules"].items())
    seen: set[str] = set()
    for node, rule in zip(spec["rules"].items(), rules, strict=True):
        if rule.id in seen:
            raise node.at("id").fail(f"rule `{rule.id}` is there twice")
        seen.add(rule.id)
    return Guardrail(name=meta["name"].text(), tenant=meta["tenant"].text(), rules=rules)


def _rule(node: Node) -> Rule:
    parts = node.fields(("id", "answer", "when", "reason"), ("id", "answer", "when"))
    name = parts["id"].text()
    if not _ID.fullmatch(name):
        raise parts["id"].fail("expected an id such as `small-amounts`")
    said: Said = "approve" if parts["answer"].word(("approve", "deny")) == "approve" else "deny"
    when = condition(parts["when"], Scope(tools=(), lists={}, tenant_shape={}, loosens=said == "approve", resolver=_place))
    return Rule(
        id=name,
        answer=said,
        reason=parts["reason"].text() if "reason" in parts else "",
        holds=compile_condition(when, _NOTHING, {}, unknown=False, absent_is_false=False, plain=True).fires,
        might=compile_condition(when, _NOTHING, {}, unknown=True, absent_is_false=False, plain=True).fires,
    )


def _place(text: str, parts: tuple[str, ...], at: Node) -> Path:
    if parts[0] == SHOWN and len(parts) > 1:
        asked = set(at.value) if isinstance(at.value, dict) else set()
        return Path(text, parts, Kind.NUMBER if asked and asked <= _ORDER else Kind.ANY)
    known = [f"{APPROVAL}.{name}" for name in FIELDS]
    if len(parts) != 2 or text not in known:
        raise at.fail(f"no such path `{text}` on a card; expected one of {', '.join(known)}, shown.*{nearest(text, known)}")
    return Path(text, parts, FIELDS[parts[1]])
