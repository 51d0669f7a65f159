"""Read the rules of a set."""

from datetime import timedelta

from msgspec import Struct, field

from aegis.model.decision import ApprovalTerms, Outcome, Stage
from aegis.model.node import Node, choices, nearest
from aegis.policy.conditions import condition, leaves
from aegis.policy.duration import duration
from aegis.policy.ir import ANY_TOOL, Condition, Leaf, Op, Rule, Scalar, Term, ToolLine
from aegis.policy.obligations import redactions
from aegis.policy.places import CAP, Scope
from aegis.policy.toollines import is_dotted, is_reserved

EFFECTS = tuple(map(str, Outcome))
MAX_QUORUM = 20
_FIELDS = ("id", "effect", "tools", "when", "reason", "mode", "stage", "redact", "approval")
_BLOCKING = ("block", "deny", "forbid", "prohibit", "never")


class Ground(Struct, frozen=True, kw_only=True):
    """What the rules of a set may refer to. `terms` collects the readings of history that they need, over at most `cap`."""

    tools: dict[str, ToolLine]
    lists: dict[str, tuple[Scalar, ...]]
    tenant_shape: dict[str, str]
    cap: timedelta = CAP
    terms: dict[str, Term] = field(default_factory=dict)


def rules(node: Node, ground: Ground) -> tuple[Rule, ...]:
    """The rules at `spec.rules`; ids are unique."""
    found: dict[str, Rule] = {}
    for item in node.items(empty=True):
        rule = _rule(item, ground)
        if rule.id in found:
            raise item.at("id").fail(f"rule `{rule.id}` exists already at {found[rule.id].place}")
        found[rule.id] = rule
    return tuple(found.values())


def warnings(rule: Rule, node: Node) -> list[str]:
    """What is allowed but probably not meant, as `file:line:column: text`."""
    found = []
    if rule.effect in (Outcome.DENY, Outcome.APPROVAL_NEEDED):
        tested = {leaf.path.argument for leaf in leaves(rule.when) if isinstance(leaf, Leaf) and leaf.op is Op.PRESENT}
        read = {leaf.path.argument for leaf in leaves(rule.when)} - tested - {""}
        found += [
            f"rule `{rule.id}` fires when the optional argument `{name}` is absent; add `present` to say that you mean it"
            for name in sorted(read)
        ]
    if rule.effect in (Outcome.SANITIZE, Outcome.ALLOW):
        titles = f"{rule.id} {rule.reason}".lower()
        found += [
            f"rule `{rule.id}` says `{word}` but its effect is {rule.effect}, which stops nothing"
            for word in _BLOCKING
            if word in titles
        ]
    return [str(node.fail(f"warning: {text}")) for text in found]


def _rule(node: Node, ground: Ground) -> Rule:
    fields = node.fields(_FIELDS, ("id", "effect", "tools"))
    rule_id = _id(fields["id"])
    effect = Outcome(fields["effect"].word(EFFECTS))
    names = _selectors(fields["tools"], ground)
    tools = () if names == (ANY_TOOL,) else tuple(ground.tools[name] for name in names)
    _only(fields, effect, rule_id)
    stage = Stage(fields["stage"].word(tuple(map(str, Stage)))) if "stage" in fields else Stage.REQUEST
    mode = fields["mode"].word(("enforce", "shadow")) if "mode" in fields else "enforce"
    return Rule(
        id=rule_id,
        effect=effect,
        tools=names,
        when=_when(fields["when"], effect, tools, ground) if "when" in fields else None,
        reason=fields["reason"].text() if "reason" in fields else "",
        shadow=mode == "shadow",
        stage=stage,
        redactions=redactions(fields["redact"], stage, tools) if "redact" in fields else (),
        terms=_terms(fields["approval"]) if "approval" in fields else None,
        place=node.place(),
    )


def _id(node: Node) -> str:
    text = node.text()
    if not is_dotted(text):
        raise node.fail(f"`{text}` is not an id: expected names joined by dots (letters, digits, `_`, `-`)")
    if is_reserved(text):
        raise node.fail(f"`{text}` is reserved; choose another id")
    return text


def _selectors(node: Node, ground: Ground) -> tuple[str, ...]:
    found = []
    for item in node.items():
        name = item.text()
        if name != ANY_TOOL and name not in ground.tools:
            hint = "; only exact names and `*` select tools" if "*" in name else nearest(name, ground.tools)
            raise item.fail(f"unknown tool `{name}`; expected {choices([*ground.tools, ANY_TOOL])}{hint}")
        if name in found:
            raise item.fail(f"tool `{name}` stands here twice")
        found.append(name)
    if ANY_TOOL in found and len(found) > 1:
        raise node.fail('"*" selects every tool already; leave the other names out')
    return tuple(found)


def _only(fields: dict[str, Node], effect: Outcome, rule_id: str) -> None:
    """Keys that belong to one effect, and must stand there."""
    for key, owner in (("redact", Outcome.SANITIZE), ("approval", Outcome.APPROVAL_NEEDED), ("stage", Outcome.SANITIZE)):
        if key in fields and effect is not owner:
            raise fields[key].fail(f"`{key}` belongs to rules with effect {owner}, but `{rule_id}` has effect {effect}")
    if effect is Outcome.SANITIZE and "redact" not in fields:
        raise fields["effect"].fail(f"rule `{rule_id}` sanitizes but says not what: `redact` is missing")
    if effect is Outcome.APPROVAL_NEEDED and "approval" not in fields:
        raise fields["effect"].fail(f"rule `{rule_id}` needs an approval but says not from whom: `approval` is missing")


def _when(node: Node, effect: Outcome, tools: tuple[ToolLine, ...], ground: Ground) -> Condition:
    scope = Scope(
        tools=tools,
        lists=ground.lists,
        tenant_shape=ground.tenant_shape,
        loosens=effect is Outcome.ALLOW,
        effect=effect,
        known_tools=ground.tools,
        terms=ground.terms,
        cap=ground.cap,
    )
    return condition(node, scope)


def _terms(node: Node) -> ApprovalTerms:
    fields = node.fields(("approvers", "quorum", "ttl", "not_requester"), ("approvers",))
    approvers = tuple(sorted({_approver(item) for item in fields["approvers"].items()}))
    quorum = fields["quorum"].integer(1, MAX_QUORUM) if "quorum" in fields else 1
    if all(name.startswith("person:") for name in approvers) and quorum > len(approvers):
        raise fields["quorum"].fail(f"quorum {quorum} can never be met by {len(approvers)} named people")
    return ApprovalTerms(
        approver_sets=(approvers,),
        quorum=quorum,
        ttl=duration(fields["ttl"]) if "ttl" in fields else timedelta(minutes=30),
        not_requester=fields["not_requester"].flag() if "not_requester" in fields else True,
    )


def _approver(node: Node) -> str:
    text = node.text()
    kind, _, name = text.partition(":")
    if kind not in ("role", "person") or not name or name != name.strip():
        raise node.fail(f"`{text}` names nobody; expected `role:<name>` or `person:<name>`")
    return text
