"""Which fields of a call history keeps: what a contract line lists under `history`, by their full paths."""

from collections.abc import Mapping

from aegis.model.node import Node, choices, nearest
from aegis.policy.ir import Argument, Kind
from aegis.policy.parsed import FIELDS

_KEPT = (Kind.STRING, Kind.INTEGER, Kind.HOST)


def field(node: Node, args: Mapping[str, Argument]) -> str:
    """The path of an argument (`amount` or `args.amount`) or of a part of a parsed one (`parsed.to.domain`)."""
    text = node.text().removeprefix("args.")
    known = [*args, *(f"parsed.{name}.{part}" for name, arg in args.items() for part in FIELDS.get(arg.kind, ()))]
    if text not in known:
        raise node.fail(f"`{text}` is not an argument of this tool; expected {choices(known)}{nearest(text, known)}")
    path = text if text.startswith("parsed.") else f"args.{text}"
    kind = kind_of(path, args)
    if kind not in _KEPT:
        raise node.fail(f"`{text}` is {kind}; history keeps integers and strings only")
    return path


def kind_of(path: str, args: Mapping[str, Argument]) -> Kind:
    """What stands at such a path."""
    root, name, *part = path.split(".")
    return args[name].kind if root == "args" else FIELDS[args[name].kind][part[0]]
