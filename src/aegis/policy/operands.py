"""The right-hand side of an operator: literals of the right type, `{list: x}`, `{ref: tenant.x.y}`."""

from msgspec import Struct

from aegis.model.node import Node, named, nearest
from aegis.policy.hosts import entry_complaint
from aegis.policy.ir import Kind, ListRef, Literal, Op, Operand, Path, Scalar, TenantRef
from aegis.policy.patterns import anchored, complaint
from aegis.policy.places import Scope
from aegis.policy.versions import parse_range

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_TEXT = frozenset({Kind.STRING, Kind.HOST, Kind.ANY})
_NUMBERS = frozenset({Kind.INTEGER, Kind.NUMBER, Kind.ANY})
_SIZED = frozenset({Kind.STRING, Kind.HOST, Kind.URL, Kind.EMAIL, Kind.ARRAY, Kind.ANY})
_EQUAL = frozenset({Kind.STRING, Kind.HOST, Kind.VERSION, Kind.WEEKDAY, Kind.INTEGER, Kind.BOOLEAN, Kind.ANY})
FITTING: dict[Op, frozenset[Kind]] = {
    Op.EQ: _EQUAL,
    Op.NE: _EQUAL,
    Op.GT: _NUMBERS,
    Op.GTE: _NUMBERS,
    Op.LT: _NUMBERS,
    Op.LTE: _NUMBERS,
    Op.BETWEEN: _NUMBERS | {Kind.TIME},
    Op.OUTSIDE: _NUMBERS | {Kind.TIME},
    Op.IN: _EQUAL - {Kind.BOOLEAN},
    Op.CONTAINS: frozenset({Kind.ARRAY, Kind.ANY}),
    Op.STARTS_WITH: _TEXT - {Kind.HOST},
    Op.ENDS_WITH: _TEXT - {Kind.HOST},
    Op.MATCHES: _TEXT,
    Op.HOST_IN: frozenset({Kind.HOST}),
    Op.LONGER_THAN: _SIZED,
    Op.SHORTER_THAN: _SIZED,
    Op.PRESENT: frozenset(Kind),
    Op.VERSION: frozenset({Kind.VERSION, Kind.STRING, Kind.ANY}),
}
STRINGS = frozenset({Kind.STRING, Kind.HOST, Kind.VERSION, Kind.WEEKDAY, Kind.TIME})
SHAPES = ("string", "integer", "number", "boolean", "string[]", "integer[]")


class _Want(Struct, frozen=True):
    """Which literals fit: names of the shapes, and one word for people."""

    shapes: tuple[str, ...]
    words: str


_ANY_SCALAR = _Want(("string", "integer", "boolean"), "a string, an integer or a boolean")
_OF_KIND = {
    Kind.INTEGER: _Want(("integer",), "an integer"),
    Kind.NUMBER: _Want(("integer", "number"), "a number"),
    Kind.BOOLEAN: _Want(("boolean",), "true or false"),
}
_STRING = _Want(("string",), "a string")
_INTEGER = _OF_KIND[Kind.INTEGER]


def operands(path: Path, op: Op, node: Node, scope: Scope) -> tuple[Operand, ...]:
    """The operands of `op` at `node`, checked against `path`."""
    if op is Op.PRESENT:
        return (Literal(node.flag()),)
    if op in (Op.BETWEEN, Op.OUTSIDE):
        return _times(node) if path.kind is Kind.TIME else _bounds(path, node, scope)
    if op in (Op.IN, Op.HOST_IN):
        return (_members(path, op, node, scope),)
    if op is Op.VERSION:
        return (_version(node),)
    if op is Op.MATCHES:
        return (_pattern(node, scope),)
    operand = _operand(node, scope, _want(path, op))
    if isinstance(operand, Literal):
        _check_literal(path, op, operand.value, node)
    return (operand,)


def _want(path: Path, op: Op) -> _Want:
    if op in (Op.GT, Op.GTE, Op.LT, Op.LTE):
        return _OF_KIND.get(path.kind, _INTEGER)
    if op in (Op.LONGER_THAN, Op.SHORTER_THAN):
        return _INTEGER
    if op in (Op.STARTS_WITH, Op.ENDS_WITH) or path.kind in STRINGS:
        return _STRING
    if op is Op.CONTAINS and path.parts[0] == "agent":
        return _STRING
    return _OF_KIND.get(path.kind, _ANY_SCALAR)


def _operand(node: Node, scope: Scope, want: _Want) -> Operand:
    if isinstance(node.value, dict):
        return _reference(node, scope, want)
    if _shape(node.value) not in want.shapes:
        raise node.fail(f"expected {want.words} or {{ref: tenant...}}, found {named(node.value)}")
    return Literal(node.value)


def _reference(node: Node, scope: Scope, want: _Want) -> Operand:
    fields = node.fields(("list", "ref"))
    if len(fields) != 1:
        raise node.fail("expected a literal, {list: name} or {ref: tenant.path}")
    if "list" in fields:
        raise node.fail("a list stands only after `in` and `host_in`")
    text = fields["ref"].text()
    root, _, rest = text.partition(".")
    if root != "tenant" or not rest:
        raise fields["ref"].fail(f"`{text}`: references start with `tenant.`; another field of the input is not a limit")
    shape = scope.tenant_shape.get(rest)
    if shape is None:
        hint = nearest(rest, scope.tenant_shape)
        raise fields["ref"].fail(f"`{text}` is not declared in spec.tenant{hint}")
    if shape not in want.shapes:
        raise fields["ref"].fail(f"`{text}` is {shape}, expected {want.words}")
    return TenantRef(tuple(rest.split(".")))


def _check_literal(path: Path, op: Op, value: Scalar | tuple[Scalar, ...], node: Node) -> None:
    if path.kind is Kind.WEEKDAY and value not in WEEKDAYS:
        raise node.fail(f"expected a weekday, one of {', '.join(WEEKDAYS)}{nearest(str(value), WEEKDAYS)}")
    if op in (Op.STARTS_WITH, Op.ENDS_WITH) and value == "":
        raise node.fail(f"every string {op} the empty one; write the text that is meant")
    if op in (Op.LONGER_THAN, Op.SHORTER_THAN) and isinstance(value, int) and value < 0:
        raise node.fail("a length is never negative")
    if path.kind is Kind.HOST and op in (Op.EQ, Op.NE) and (wrong := entry_complaint(str(value))):
        raise node.fail(f"not a canonical host: {wrong}")


def _bounds(path: Path, node: Node, scope: Scope) -> tuple[Operand, ...]:
    items = node.items()
    if len(items) != 2:
        raise node.fail(f"expected [low, high], found {len(items)} elements")
    want = _OF_KIND.get(path.kind, _INTEGER)
    low, high = (_operand(item, scope, want) for item in items)
    if isinstance(low, Literal) and isinstance(high, Literal) and not low.value < high.value:  # type: ignore[operator]
        raise node.fail("the range is empty: expected low < high (high itself is outside)")
    return low, high


def _times(node: Node) -> tuple[Operand, ...]:
    items = node.items()
    if len(items) != 2:
        raise node.fail(f'expected ["HH:MM", "HH:MM"], found {len(items)} elements')
    for item in items:
        if not is_time(item.text()):
            raise item.fail('expected a time of day "HH:MM" from 00:00 to 23:59')
    low, high = (str(item.value) for item in items)
    if low == high:
        raise node.fail("the range is empty: both times are the same")
    return Literal(low), Literal(high)


def is_time(text: str) -> bool:
    """Whether `text` is `HH:MM` on a 24 hour clock."""
    digits = text[:2] + text[3:]
    return len(text) == 5 and text[2] == ":" and digits.isascii() and digits.isdigit() and text[:2] < "24" and text[3:] < "60"


def _members(path: Path, op: Op, node: Node, scope: Scope) -> Operand:
    if isinstance(node.value, dict):
        if "list" in node.value:
            return _named_list(path, op, node, scope)
        shapes = ("string[]", "integer[]") if path.kind is Kind.ANY else (_element_shape(path) + "[]",)
        return _reference(node, scope, _Want(shapes, f"a list of type {' or '.join(shapes)}"))
    values = tuple(item.value for item in node.items())
    for item in node.items():
        _check_member(path, op, item.value, values, item)
    return Literal(values)


def _named_list(path: Path, op: Op, node: Node, scope: Scope) -> ListRef:
    name = node.fields(("list",))["list"]
    values = scope.lists.get(name.text())
    if values is None:
        raise name.fail(f"unknown list `{name.value}`{nearest(name.value, scope.lists)}")
    for value in values:
        _check_member(path, op, value, values, name)
    return ListRef(name.value)


def _check_member(path: Path, op: Op, value: Scalar, values: tuple[Scalar, ...], node: Node) -> None:
    shape = _shape(value)
    wanted = _shape(values[0]) if path.kind is Kind.ANY else _element_shape(path)
    if shape != wanted or shape not in ("string", "integer"):
        raise node.fail(f"expected a list of {wanted}s for `{path.text}`, found {named(value)}")
    if path.kind is Kind.WEEKDAY:
        _check_literal(path, Op.EQ, value, node)
    if op is Op.HOST_IN and (wrong := entry_complaint(str(value))):
        raise node.fail(f"entry `{value}` is not a canonical host: {wrong}")
    if op is Op.IN and isinstance(value, str) and value.startswith("*."):
        raise node.fail("`in` compares whole texts; an entry that starts with `*.` needs `host_in`")


def _element_shape(path: Path) -> str:
    return "integer" if path.kind is Kind.INTEGER else "string"


def _version(node: Node) -> Literal:
    text = node.text()
    if parse_range(text) is None:
        raise node.fail('expected a version range such as ">=1.2.0 <2.0.0"')
    return Literal(text)


def _pattern(node: Node, scope: Scope) -> Literal:
    text = node.text()
    if wrong := complaint(text):
        raise node.fail(wrong)
    if scope.loosens and not anchored(text):
        raise node.fail("a pattern whose match permits more must cover the whole text: write `^...$`, alternatives in `(?:...)`")
    return Literal(text)


def _shape(value: object) -> str:
    return {str: "string", int: "integer", float: "number", bool: "boolean"}.get(type(value), "other")
