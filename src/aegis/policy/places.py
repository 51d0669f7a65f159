"""Which places of the input a rule may read, and what stands there.

The input is closed: `tenant environment tool version agent.* subject.id chain run.* now.* labels.* tool_labels.* budget.* risk.*
confidence.*` stand for every call, `args.*` and `parsed.*` follow the contract lines of the tools that the rule names. Numbers are
integers with their unit in the name.
"""

from collections.abc import Callable
from datetime import timedelta

from msgspec import Struct, field

from aegis.model.decision import Outcome
from aegis.model.node import Node, nearest
from aegis.model.stated import NAMES as STATED
from aegis.policy.ir import Argument, Kind, Path, Scalar, Term, ToolLine
from aegis.policy.parsed import FIELDS

FIXED: dict[str, Kind] = {
    "tenant": Kind.STRING,
    "environment": Kind.STRING,
    "tool": Kind.STRING,
    "version": Kind.VERSION,
    "agent.id": Kind.STRING,
    "agent.roles": Kind.ARRAY,
    "agent.trust": Kind.INTEGER,
    "agent.scopes": Kind.ARRAY,
    "subject.id": Kind.STRING,
    "chain": Kind.ARRAY,
    "run.id": Kind.STRING,
    "run.task": Kind.STRING,
    "now.time": Kind.TIME,
    "now.weekday": Kind.WEEKDAY,
    "labels.call": Kind.ARRAY,
    "labels.run": Kind.ARRAY,
    "tool_labels.emits": Kind.ARRAY,
    "tool_labels.sink": Kind.STRING,
    "tool_labels.source": Kind.STRING,
    "tool_labels.region": Kind.STRING,
}
FIXED |= dict.fromkeys(STATED, Kind.INTEGER)
OF_STRINGS = frozenset({"agent.roles", "agent.scopes", "labels.call", "labels.run", "tool_labels.emits"})
LINK: dict[str, Kind] = {"id": Kind.STRING, "trust": Kind.INTEGER}
CAP = timedelta(hours=24)


class Scope(Struct, frozen=True, kw_only=True):
    """What the conditions of one rule may name.

    `tools` is empty for a rule about every tool. `loosens` says whether a leaf that holds makes the call more permitted: such a
    leaf must not be satisfied by part of a text. `element` is the array whose elements are looked at, if any. `terms` collects the
    readings of history that the conditions need, of any of `known_tools`, over at most `cap`. `resolver` is for conditions about
    something other than a call: it says which places there are, and nothing of the past is read.
    """

    tools: tuple[ToolLine, ...]
    lists: dict[str, tuple[Scalar, ...]]
    tenant_shape: dict[str, str]
    loosens: bool
    element: Path | None = None
    effect: Outcome = Outcome.DENY
    known_tools: dict[str, ToolLine] = {}
    terms: dict[str, Term] = field(default_factory=dict)
    cap: timedelta = CAP
    resolver: Callable[[str, tuple[str, ...], Node], Path] | None = None


def resolve(text: str, scope: Scope, node: Node) -> Path:
    """The place that `text` names, or an error at `node`."""
    parts = tuple(text.split("."))
    if not all(parts):
        raise node.fail(f"`{text}` is not a path; expected names joined by single dots")
    if scope.element is not None:
        return _element(text, parts, scope.element, node)
    if scope.resolver is not None:
        return scope.resolver(text, parts, node)
    if text in FIXED:
        return Path(text, parts, FIXED[text])
    if parts[0] not in ("args", "parsed"):
        known = [*FIXED, *(f"args.{name}" for tool in scope.tools for name in tool.args)]
        near = nearest(text, known)
        raise node.fail(f"no such path `{text}` in the input" + (near or f"; expected one of {', '.join(FIXED)}, args.*"))
    if not scope.tools:
        raise node.fail(f'`{text}`: a rule for "*" may not read arguments; name the tools')
    if len(parts) < 2:
        raise node.fail(f"`{text}` needs the name of an argument, such as `{text}.amount`")
    return _args(text, parts, scope, node) if parts[0] == "args" else _parsed(text, parts, scope, node)


def _element(text: str, parts: tuple[str, ...], element: Path, node: Node) -> Path:
    whole = f"{element.text}[].{text}"
    if element.text != "chain":
        return Path(whole, parts, Kind.ANY)
    if text not in LINK:
        raise node.fail(f"no such path `{text}` in a link of the chain; expected one of id, trust{nearest(text, LINK)}")
    return Path(whole, parts, LINK[text])


def _args(text: str, parts: tuple[str, ...], scope: Scope, node: Node) -> Path:
    argument, optional = _argument(parts[1], text, scope, node)
    kind = argument.kind
    if len(parts) > 2:
        if kind is not Kind.OBJECT:
            raise node.fail(f"`{text}` goes below an argument of type {kind}; only an object has members")
        kind = Kind.ANY
    return Path(text, parts, kind, parts[1] if optional else "")


def _parsed(text: str, parts: tuple[str, ...], scope: Scope, node: Node) -> Path:
    argument, optional = _argument(parts[1], text, scope, node)
    fields = FIELDS.get(argument.kind)
    if fields is None:
        raise node.fail(f"`{text}` reads an argument of type {argument.kind}; only url and email arguments are parsed")
    if len(parts) != 3 or parts[2] not in fields:
        wanted = ", ".join(f"parsed.{parts[1]}.{name}" for name in fields)
        raise node.fail(f"no such path `{text}`; expected one of {wanted}{nearest(parts[-1], fields)}")
    return Path(text, parts, fields[parts[2]], parts[1] if optional else "")


def _argument(name: str, text: str, scope: Scope, node: Node) -> tuple[Argument, bool]:
    """The argument as every tool of the rule knows it, and whether it may be absent in one of them."""
    optional = False
    found: Argument | None = None
    for tool in scope.tools:
        argument = tool.args.get(name)
        if argument is None:
            raise node.fail(f"`{text}`: tool `{tool.name}` has no argument `{name}`{nearest(name, tool.args)}")
        if found is not None and found.kind is not argument.kind:
            raise node.fail(f"`{text}` is {found.kind} for one tool and {argument.kind} for `{tool.name}`; split the rule")
        found = argument
        optional = optional or argument.optional
    assert found is not None, "a rule that reads arguments names a tool"
    return found, optional
