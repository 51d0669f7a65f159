"""Values on both sides of the edge of one comparison.

What an operator compares with tells where its edge is: one below, the limit, one above; a prefix and the prefix cut short; a member
of a list and a text that resembles it. Which side a value falls on is not decided here but by evaluating the comparison.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from aegis.policy.analysis.domains import critical
from aegis.policy.ir import Kind, Leaf, Op
from aegis.policy.nearmiss.texts import specimens
from aegis.policy.operands import WEEKDAYS
from aegis.policy.versions import parse_range

HOST_KINDS = ("name", "ipv4", "ipv6")
ABSENT = None
"""Nothing stands at the place."""
MEMBERS = 4
"""How many members of a list are tried."""
LONGEST = 20_000
_OF_KIND: dict[Kind, tuple[Any, ...]] = {
    Kind.STRING: ("sample",),
    Kind.INTEGER: (1,),
    Kind.NUMBER: (1,),
    Kind.BOOLEAN: (True,),
    Kind.OBJECT: ({"a": 1},),
    Kind.ARRAY: (["a"],),
    Kind.ANY: ("sample", 1),
    Kind.URL: ("https://host.example/",),
    Kind.EMAIL: ("someone@mail.example",),
    Kind.HOST: ("host.example",),
    Kind.TIME: ("12:00",),
    Kind.WEEKDAY: ("wed",),
    Kind.VERSION: ("1.0.0",),
}


def sample(kind: Kind) -> Any:
    """A plain value of a kind."""
    return _OF_KIND[kind][0]


def edges(leaf: Leaf, operands: Sequence[Any]) -> list[Any]:
    """Values around the edge of a comparison with resolved operands."""
    op, kind = leaf.op, leaf.path.kind
    if op is Op.PRESENT:
        return [*_OF_KIND[kind], ABSENT]
    if any(operand is None for operand in operands):
        return [*_OF_KIND[kind]]
    if op in (Op.EQ, Op.NE):
        words = HOST_KINDS if leaf.path.parts[-1] == "host_kind" else ()
        return [operands[0], *_beside(operands[0], kind), *words]
    if op in (Op.GT, Op.GTE, Op.LT, Op.LTE):
        return _around(operands[0], kind)
    if op in (Op.BETWEEN, Op.OUTSIDE):
        return _clock(operands) if kind is Kind.TIME else [value for limit in operands for value in _around(limit, kind)]
    if op in (Op.IN, Op.HOST_IN):
        return _listed(operands[0], kind, hosts=op is Op.HOST_IN)
    if op is Op.CONTAINS:
        wanted = operands[0]
        return [[wanted], [], [_first(_beside(wanted, Kind.ANY))], ["other", wanted]]
    return _texts(op, kind, operands[0])


def _texts(op: Op, kind: Kind, operand: Any) -> list[Any]:
    if op is Op.STARTS_WITH:
        return [f"{operand}x", operand, operand[:-1], f"x{operand}"]
    if op is Op.ENDS_WITH:
        return [f"x{operand}", operand, operand[1:], f"{operand}x"]
    if op is Op.VERSION:
        return _versions(operand)
    if op is Op.MATCHES:
        found = specimens(operand)
        return [*found, *(near for text in found[:2] for near in (text[:-1], f"{text}~", f"~{text}", text[1:])), "", "sample"]
    return [sized for size in (operand + 1, operand, operand - 1) if (sized := _sized(kind, size)) is not None]


def _beside(value: Any, kind: Kind) -> list[Any]:
    """Values that are not `value`, near it."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value + 1, value - 1]
    if kind is Kind.WEEKDAY:
        return [WEEKDAYS[(WEEKDAYS.index(value) + 1) % 7], WEEKDAYS[WEEKDAYS.index(value) - 1]]
    if kind is Kind.VERSION:
        return ["1.0.0", "2.0.0"]
    if kind is Kind.HOST:
        return _hosts(value)
    return [text for text in (f"{value}x", value[:-1], value.swapcase()) if text not in (value, "")]


def _around(limit: Any, kind: Kind) -> list[Any]:
    steps = (limit - 1, limit, limit + 1)
    return [*steps, limit - 0.5, limit + 0.5] if kind is Kind.NUMBER else [*steps]


def _clock(edges_: Sequence[str]) -> list[str]:
    """A minute before each edge, and the edge itself."""
    minutes = [int(text[:2]) * 60 + int(text[3:]) + step for text in edges_ for step in (-1, 0)]
    return [f"{each // 60 % 24:02}:{each % 60:02}" for each in minutes]


def _listed(members: Sequence[Any], kind: Kind, *, hosts: bool) -> list[Any]:
    found: list[Any] = []
    for member in members[:MEMBERS]:
        found += _hosts(member) if hosts else [member]
    others = ["sample", "other", 1, 2]
    if members and not hosts:
        others = [*_beside(members[0], kind), *_beside(members[-1], kind)]
    if kind is Kind.WEEKDAY:
        others = [*WEEKDAYS]
    return [*found, *others, *(("host.example",) if kind is Kind.HOST else ())]


def _hosts(entry: str) -> list[str]:
    """An entry of a list of hosts: below it, itself, and names that resemble it."""
    if entry.startswith("*."):
        return [f"a.{entry[2:]}", entry[2:], f"not{entry[2:]}", f"a.{entry[2:]}.evil.example"]
    numeric = entry.replace(".", "").isdigit() or ":" in entry
    return [entry, "192.0.2.1"] if numeric else [entry, f"not{entry}", f"{entry}.evil.example", f"a.{entry}"]


def _sized(kind: Kind, size: int) -> Any:
    """A value of `size` code points or elements; nothing where there is none."""
    if not 0 <= size <= LONGEST:
        return None
    if kind is Kind.ARRAY:
        return ["a"] * size
    if kind is Kind.URL:
        start = "https://host.example/"
        return start + "a" * (size - len(start)) if size >= len(start) else None
    if kind is Kind.EMAIL:
        end = "@mail.example"
        return "a" * (size - len(end)) + end if 0 < size - len(end) <= 64 else None
    if kind is Kind.HOST:
        return "a" * size if 1 <= size <= 63 else None
    return "a" * size


def _versions(text: str) -> list[str]:
    """The bounds of a range, and the versions right behind and before them."""
    return [".".join(map(str, version)) for version in critical(parse_range(text) or ())]


def _first(values: Iterable[Any]) -> Any:
    return next(iter(values), "other")
