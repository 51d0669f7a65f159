"""How the history is asked: SQL for both dialects, and what its answers mean.

A query becomes one row of parameters; all queries of one *shape* are asked by one statement, whatever their number. The shape is
what decides the text: which index leads, which columns are held against a value, phases, measure, and the operators and types of
the tests. Nothing that comes from a policy or from a caller is ever part of a text.

A window is the stretch of the leading index from `since` to now. When it holds more than `MAX_WINDOW` entries the answer is
unknown: the writer must not be held for long by one unit. Strings and integers are never confused: a value is compared as the type
that it has in the stored JSON, with a bound of that type.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from aegis.adapters.instants import to_micros
from aegis.adapters.past import UNKNOWN, Asked
from aegis.model.history import MAX_DISTINCT, Measure, Measured, Phase, Query, Test

MAX_WINDOW = 50_000
"""A query whose window holds more entries than this has no answer."""

_OPERATORS = {"eq": "=", "ne": "<>", "gt": ">", "gte": ">=", "lt": "<", "lte": "<="}
_PINS = ("run", "subject", "agent", "tool")  # the narrowest window leads
_TYPES = (("integer", int), ("string", str))


class Shape(NamedTuple):
    """What decides the text of a statement. `lead` is the column whose index leads, empty for time alone; `held` are the others."""

    lead: str
    held: tuple[str, ...]
    phases: tuple[Phase, ...]
    measure: Measure
    tests: tuple[tuple[str, tuple[str, ...]], ...]


class Dialect(NamedTuple):
    """What the two databases write differently. `w` is an entry, `q` a query; `{}` is a column or a parameter."""

    path: str
    """A field's name as the parameter that the other members take."""
    column: str
    """The column, so that no index is looked for."""
    value: str
    """The field's value, whatever its type."""
    integer: str
    """The field's value if it is an integer, else null."""
    string: str
    """The field's value if it is a string, else null."""
    member: str
    """Condition: the value is among a JSON array."""
    total: str
    """The sum as a JSON array of its upper part and its lower 32 bits, so that nothing overflows."""
    values: str
    """All `v` as a JSON array."""
    last: str
    """Time and id as a JSON array."""
    touched: str
    """Condition: the group does not touch the entry."""


def shape_of(query: Query) -> Shape:
    """What decides the text for `query`."""
    pins = tuple(_pins(query))
    tests = tuple((test.op, _kinds(test)) for test in query.tests)
    return Shape("".join(pins[:1]), pins[1:], tuple(sorted(set(query.phases))), query.measure, tests)


@lru_cache(1024)
def columns(shape: Shape) -> tuple[tuple[str, type], ...]:
    """Names and types of the parameters of one query."""
    found: list[tuple[str, type]] = [("n", int), ("tenant", str), ("since", int), ("excluding", str), ("path", str)]
    found += [(pin, str) for pin in (shape.lead, *shape.held) if pin]
    for index, (op, kinds) in enumerate(shape.tests):
        found.append((f"path{index}", str))
        found += [(f"bounds{index}", str)] if op == "in" else [(f"{k}{index}", type_) for k, type_ in _TYPES if k in kinds]
    return tuple(found)


def parameters(dialect: Dialect, number: int, tenant: str, query: Query) -> tuple[Any, ...]:
    """The values of `query` for `columns`."""
    found: list[Any] = [number, tenant, to_micros(query.since), query.excluding, dialect.path.format(query.of)]
    found += _pins(query).values()
    for test in query.tests:
        found.append(dialect.path.format(test.field))
        firsts = (next((value for value in test.values if type(value) is type_), None) for _, type_ in _TYPES)
        found += [orjson.dumps(test.values).decode()] if test.op == "in" else [first for first in firsts if first is not None]
    return tuple(found)


@lru_cache(1024)
def statement(dialect: Dialect, shape: Shape, *, touching: bool) -> str:
    """The number of each query of a table `q`, and its answer: null when its window is too large."""
    window = _window(shape)
    where = " AND ".join((window, *_conditions(dialect, shape), *([dialect.touched] if touching else [])))
    return f"""SELECT q.n, CASE WHEN (SELECT count(*) FROM (SELECT 1 FROM history w WHERE {window} LIMIT {MAX_WINDOW + 1}) x)
  <= {MAX_WINDOW} THEN ({_answer(dialect, shape, where)}) END FROM q"""  # noqa: S608 - built of constants


def answer(measure: Measure, found: Any) -> Measured:
    """What the second column says. A sum tells its number even when it is too large to be known."""
    if found is None:
        return UNKNOWN
    if measure is Measure.COUNT:
        return Measured(number=found)
    parts = orjson.loads(found)
    if measure is Measure.SUM:
        upper, lower = (part or 0 for part in parts)
        return Measured(number=(upper << 32) + lower)
    if measure is Measure.LAST:
        return Measured(last=(parts[0], parts[1]) if parts else None)
    return Measured(values=frozenset(parts)) if len(parts) <= MAX_DISTINCT else UNKNOWN


def by_shape(asked: Iterable[Asked]) -> dict[Shape, list[tuple[int, str, Query]]]:
    """The queries by shape, each with its number."""
    found: dict[Shape, list[tuple[int, str, Query]]] = {}
    for number, (tenant, query) in enumerate(asked):
        found.setdefault(shape_of(query), []).append((number, tenant, query))
    return found


def _pins(query: Query) -> dict[str, str]:
    return {pin: value for pin in _PINS if (value := getattr(query, pin))}


def _kinds(test: Test) -> tuple[str, ...]:
    return tuple(kind for kind, type_ in _TYPES if any(type(value) is type_ for value in test.values))


def _window(shape: Shape) -> str:
    # The words `<> ''` let the database see that a partial index holds all of them.
    lead = f"w.{shape.lead} = q.{shape.lead} AND w.{shape.lead} <> '' AND " if shape.lead else ""
    return f"w.tenant = q.tenant AND {lead}w.at >= q.since"


def _conditions(dialect: Dialect, shape: Shape) -> list[str]:
    phases = ", ".join(f"'{phase.value}'" for phase in shape.phases)
    found = [f"w.phase IN ({phases})" if phases else "1 = 0", "w.id <> q.excluding"]
    found += [f"{dialect.column.format(name)} = q.{name}" for name in shape.held]
    return found + [_test(dialect, index, op, kinds) for index, (op, kinds) in enumerate(shape.tests)]


def _test(dialect: Dialect, index: int, op: str, kinds: tuple[str, ...]) -> str:
    path = f"path{index}"
    if not kinds:
        return "1 = 0"
    if op == "in":
        return dialect.member.format(path, f"bounds{index}")
    values = {"integer": dialect.integer, "string": dialect.string}
    return "(" + " OR ".join(f"{values[kind].format(path)} {_OPERATORS[op]} q.{kind}{index}" for kind in kinds) + ")"


def _answer(dialect: Dialect, shape: Shape, where: str) -> str:
    match shape.measure:
        case Measure.COUNT:
            return f"SELECT count(*) FROM history w WHERE {where}"  # noqa: S608 - as above
        case Measure.SUM:
            return f"SELECT {dialect.total} FROM (SELECT {dialect.integer.format('path')} v FROM history w WHERE {where}) x"  # noqa: S608 - as above
        case Measure.LAST:
            last = f"SELECT {dialect.last} FROM history w WHERE {where} ORDER BY w.at DESC, w.id DESC LIMIT 1"  # noqa: S608 - as above
            return f"SELECT coalesce(({last}), '[]')"
        case Measure.DISTINCT:
            value = dialect.value.format("path")
            different = f"SELECT DISTINCT {value} v FROM history w WHERE {where} AND {value} IS NOT NULL"  # noqa: S608 - as above
            return f"SELECT {dialect.values} FROM ({different} LIMIT {MAX_DISTINCT + 1}) x"  # noqa: S608 - as above
