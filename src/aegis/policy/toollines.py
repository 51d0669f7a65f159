"""Read the contract lines of a set: which tools exist, their arguments, versions and labels."""

from collections.abc import Mapping

from aegis.model.contract import Contract
from aegis.model.node import Node, choices, nearest
from aegis.policy.contracts import drawn
from aegis.policy.ir import DEFAULT_DENY, SHADOW_REVISION, SHADOW_SET, Argument, Kind, Labels, ToolLine
from aegis.policy.remembered import field
from aegis.policy.versions import parse_range

ARGUMENT_KINDS = tuple(
    map(str, (Kind.STRING, Kind.INTEGER, Kind.NUMBER, Kind.BOOLEAN, Kind.OBJECT, Kind.ARRAY, Kind.URL, Kind.EMAIL))
)
_FIELDS = ("version", "critical", "args", "labels", "history", "contract")
_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_LATER = _FIRST | frozenset("0123456789-")


def tool_lines(node: Node, contracts: Mapping[str, Contract]) -> dict[str, ToolLine]:
    """The contract lines at `spec.tools`; `contracts` are those that a line may name."""
    members = node.members()
    if not members:
        raise node.fail("expected at least one tool")
    return {name: _tool(name, child, contracts) for name, child in members.items()}


def is_name(text: str) -> bool:
    """Whether `text` is a plain name: a letter or `_`, then letters, digits, `_` and `-`; at most 128 characters."""
    return 0 < len(text) <= 128 and text[0] in _FIRST and _LATER.issuperset(text)


def is_dotted(text: str) -> bool:
    """Whether `text` is plain names joined by dots, as tools and rules are called."""
    return len(text) <= 256 and all(is_name(part) for part in text.split("."))


def _tool(name: str, node: Node, contracts: Mapping[str, Contract]) -> ToolLine:
    if not is_dotted(name):
        raise node.fail(f"`{name}` is not the name of a tool: expected names joined by dots, without `#` or spaces")
    fields = node.fields(_FIELDS)
    args, version, digest = _shape(name, node, fields, contracts)
    wanted = parse_range(version) if version else ()
    if wanted is None:
        raise fields["version"].fail('expected a version range such as ">=1.2.0 <2.0.0"')
    return ToolLine(
        name=name,
        args=args,
        version=wanted,
        version_text=version,
        critical="critical" in fields and fields["critical"].flag(),
        labels=_labels(fields["labels"]) if "labels" in fields else Labels(),
        history=tuple(sorted({field(item, args) for item in fields["history"].items(empty=True)})) if "history" in fields else (),
        remembered="history" in fields,
        contract_digest=digest,
    )


def _shape(
    name: str, node: Node, fields: dict[str, Node], contracts: Mapping[str, Contract]
) -> tuple[dict[str, Argument], str, str]:
    """Arguments, version range and the digest of the contract that they were drawn from, if any."""
    if "contract" in fields:
        for key in ("args", "version"):
            if key in fields:
                raise fields[key].fail(f"`{key}` and `contract` say the same thing twice: leave `{key}` out")
        line = drawn(fields["contract"], name, contracts)
        return line.args, line.version, line.digest
    if "args" not in fields:
        raise node.fail(f"tool `{name}` has no `args`; write `args: {{}}` for a tool without arguments, or name its `contract`")
    args = {key: _argument(key, child) for key, child in fields["args"].members().items()}
    return args, fields["version"].text() if "version" in fields else "", ""


def _argument(name: str, node: Node) -> Argument:
    if not is_name(name):
        raise node.fail(f"`{name}` is not the name of an argument: expected letters, digits, `_` and `-`")
    text = node.text()
    kind = text.removesuffix("?")
    if kind not in ARGUMENT_KINDS:
        wanted = f"{choices(ARGUMENT_KINDS)}, with `?` behind it for an optional argument"
        raise node.fail(f"unknown type `{text}` of argument `{name}`; expected {wanted}{nearest(kind, ARGUMENT_KINDS)}")
    return Argument(Kind(kind), text.endswith("?"))


def _labels(node: Node) -> Labels:
    fields = node.fields(("emits", "sink", "source", "region"))
    return Labels(
        emits=tuple(item.text() for item in fields["emits"].items()) if "emits" in fields else (),
        sink=fields["sink"].text() if "sink" in fields else "",
        source=fields["source"].text() if "source" in fields else "",
        region=fields["region"].text() if "region" in fields else "",
    )


def is_reserved(rule: str) -> bool:
    """Whether a rule may not have this id because decisions use it themselves."""
    return rule in (DEFAULT_DENY, SHADOW_SET, SHADOW_REVISION, "halted", "safe-mode")
