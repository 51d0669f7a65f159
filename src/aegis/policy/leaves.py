"""One comparison as one closure.

Every maker takes `unknown` and `want`. The closure answers `unknown` when an operand is missing or has the wrong type, and else
whether the comparison came out as `want`. Negation and the direction in which a rule is safe are decided when the set is
compiled, so that nothing three-valued is left at run time. Types are compared with `type(v) is int`: `True` is not 1.
"""

from collections.abc import Callable
from typing import Any

from aegis.model.node import MAX_INTEGER
from aegis.policy.hosts import entry_complaint, member_of
from aegis.policy.ir import Kind, Op
from aegis.policy.patterns import search
from aegis.policy.versions import parse_range, parse_version, within
from aegis.policy.view import Get

Test = Callable[[Any], bool]
Maker = Callable[[Get, tuple[Any, ...], Kind, bool, bool], Test]
_SCALARS = (str, int, bool, float)


def always(*, answer: bool) -> Test:
    """A test whose answer is known when the set is compiled."""
    return lambda _: answer


def leaf(op: Op, get: Get, operands: tuple[Any, ...], kind: Kind, *, unknown: bool, want: bool) -> Test:
    """The test of `op` against resolved operands; `None` among them is an operand that the tenant's data does not have."""
    if op is not Op.PRESENT and any(operand is None for operand in operands):
        return always(answer=unknown)
    maker, flip = _MAKERS[op]
    return maker(get, operands, kind, unknown, want is not flip)


def _eq(get: Get, operands: tuple[Any, ...], _: Kind, unknown: bool, want: bool) -> Test:
    (wanted,) = operands
    same = type(wanted)

    def test(subject: Any) -> bool:
        value = get(subject)
        return (value == wanted) is want if type(value) is same else unknown

    return test


def _gt(get: Get, operands: tuple[Any, ...], kind: Kind, unknown: bool, want: bool) -> Test:
    (limit,) = operands
    if kind is Kind.NUMBER:
        return lambda subject: (value > limit) is want if is_number(value := get(subject)) else unknown

    def test(subject: Any) -> bool:
        value = get(subject)
        return (value > limit) is want if type(value) is int else unknown

    return test


def _lt(get: Get, operands: tuple[Any, ...], kind: Kind, unknown: bool, want: bool) -> Test:
    (limit,) = operands
    if kind is Kind.NUMBER:
        return lambda subject: (value < limit) is want if is_number(value := get(subject)) else unknown

    def test(subject: Any) -> bool:
        value = get(subject)
        return (value < limit) is want if type(value) is int else unknown

    return test


def _between(get: Get, operands: tuple[Any, ...], kind: Kind, unknown: bool, want: bool) -> Test:
    low, high = operands
    if kind is Kind.TIME:
        return _time_between(get, low, high, unknown, want)
    fits = is_number if kind is Kind.NUMBER else is_integer

    def test(subject: Any) -> bool:
        value = get(subject)
        return (low <= value < high) is want if fits(value) else unknown

    return test


def _time_between(get: Get, low: str, high: str, unknown: bool, want: bool) -> Test:
    wraps = low > high

    def test(subject: Any) -> bool:
        value = get(subject)
        if type(value) is not str:
            return unknown
        return ((value >= low or value < high) if wraps else (low <= value < high)) is want

    return test


def _in(get: Get, operands: tuple[Any, ...], _: Kind, unknown: bool, want: bool) -> Test:
    members = frozenset(operands[0])
    if not members:  # nothing is a member of an empty list, whatever it might have held
        return lambda subject: want is False if type(get(subject)) in (str, int) else unknown
    same = type(operands[0][0])

    def test(subject: Any) -> bool:
        value = get(subject)
        return (value in members) is want if type(value) is same else unknown

    return test


def _contains(get: Get, operands: tuple[Any, ...], _: Kind, unknown: bool, want: bool) -> Test:
    (wanted,) = operands
    same = type(wanted)

    def test(subject: Any) -> bool:
        value = get(subject)
        if type(value) is not tuple and type(value) is not list:
            return unknown
        strange = False
        for item in value:
            if type(item) is same:
                if item == wanted:
                    return want
            elif type(item) not in _SCALARS:
                strange = True  # the literal may hide in a nested array: an array of scalars was expected
        return unknown if strange else not want

    return test


def _starts(get: Get, operands: tuple[Any, ...], _: Kind, unknown: bool, want: bool) -> Test:
    (prefix,) = operands
    return lambda subject: value.startswith(prefix) is want if type(value := get(subject)) is str else unknown


def _ends(get: Get, operands: tuple[Any, ...], _: Kind, unknown: bool, want: bool) -> Test:
    (suffix,) = operands
    return lambda subject: value.endswith(suffix) is want if type(value := get(subject)) is str else unknown


def _matches(get: Get, operands: tuple[Any, ...], _: Kind, unknown: bool, want: bool) -> Test:
    found = search(operands[0])
    return lambda subject: found(value) is want if type(value := get(subject)) is str else unknown


def _host_in(get: Get, operands: tuple[Any, ...], _: Kind, unknown: bool, want: bool) -> Test:
    if any(entry_complaint(entry) for entry in operands[0]):
        return always(answer=unknown)
    listed = member_of(operands[0])
    return lambda subject: listed(value) is want if type(value := get(subject)) is str else unknown


def _longer(get: Get, operands: tuple[Any, ...], _: Kind, unknown: bool, want: bool) -> Test:
    (limit,) = operands
    return lambda subject: (len(value) > limit) is want if type(value := get(subject)) in _SIZED else unknown


def _shorter(get: Get, operands: tuple[Any, ...], _: Kind, unknown: bool, want: bool) -> Test:
    (limit,) = operands
    return lambda subject: (len(value) < limit) is want if type(value := get(subject)) in _SIZED else unknown


def _present(get: Get, operands: tuple[Any, ...], _: Kind, unknown: bool, want: bool) -> Test:
    del unknown  # presence is always known
    wanted = operands[0] is want
    return lambda subject: (get(subject) is not None) is wanted


def _version(get: Get, operands: tuple[Any, ...], _: Kind, unknown: bool, want: bool) -> Test:
    wanted = parse_range(operands[0])
    assert wanted is not None, "the language has read this range"
    return lambda subject: within(version, wanted) is want if (version := parse_version(get(subject))) is not None else unknown


def is_integer(value: Any) -> bool:
    """Whether `value` is an integer and not a boolean."""
    return type(value) is int


def is_number(value: Any) -> bool:
    """Whether `value` is a number, not a boolean, that every reader holds alike; NaN, infinity and larger ones are not."""
    return type(value) in (int, float) and abs(value) <= MAX_INTEGER


_SIZED = (str, list, tuple)
_MAKERS: dict[Op, tuple[Maker, bool]] = {
    Op.EQ: (_eq, False),
    Op.NE: (_eq, True),
    Op.GT: (_gt, False),
    Op.LTE: (_gt, True),
    Op.LT: (_lt, False),
    Op.GTE: (_lt, True),
    Op.BETWEEN: (_between, False),
    Op.OUTSIDE: (_between, True),
    Op.IN: (_in, False),
    Op.CONTAINS: (_contains, False),
    Op.STARTS_WITH: (_starts, False),
    Op.ENDS_WITH: (_ends, False),
    Op.MATCHES: (_matches, False),
    Op.HOST_IN: (_host_in, False),
    Op.LONGER_THAN: (_longer, False),
    Op.SHORTER_THAN: (_shorter, False),
    Op.PRESENT: (_present, False),
    Op.VERSION: (_version, False),
}
