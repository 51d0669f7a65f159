"""What the journal remembers of past calls, and what may be asked of it.

An entry is one call of a tool that is remembered: who called, when, how it stands, and the few arguments that the tool's contract
line lists under `history`. Integers are kept as they are, strings as a keyed hash, so that history holds no personal data.

A *reading* is what one history condition needs to know for one call: how often, how much, how many different, whether it was
before. It is taken outside the commit to decide, and taken again inside the commit, on rows that the commit holds: an `Expect` is
the demand that the comparison still comes out as it did when the decision was made. So two racing calls can never both pass.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from msgspec import Struct

MAX_DISTINCT = 10_000
"""More different values than this are not counted: the reading is unknown."""
MAX_TOTAL = 2**53 - 1
"""Sums beyond this are unknown: no reader of JSON would hold them alike."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Value = str | int


class Phase(StrEnum):
    """How a remembered call stands. Whether the effect of an `unknown` one happened, nobody knows."""

    OPEN = "open"
    SUCCEEDED = "succeeded"
    UNKNOWN = "unknown"
    FAILED = "failed"
    DENIED = "denied"


ALLOWED = (Phase.OPEN, Phase.SUCCEEDED, Phase.UNKNOWN)
"""The phases of a call that was permitted and may have had its effect."""


class Entry(Struct, frozen=True, kw_only=True):
    """One remembered call. `id` is the claim of its idempotency key, or its request id: a repetition is the same entry."""

    id: str
    tool: str
    at: datetime
    phase: Phase
    agent: str = ""
    run: str = ""
    subject: str = ""
    fields: dict[str, Value] = {}


class Settle(Struct, frozen=True, kw_only=True):
    """The entry `id` has come to another phase; without such an entry nothing happens."""

    id: str
    phase: Phase


class Test(Struct, frozen=True, kw_only=True):
    """A demand on a remembered field: `op` is one of `eq ne in gt gte lt lte`; a missing field or another type fails it."""

    field: str
    op: str
    values: tuple[Value, ...]


class Measure(StrEnum):
    """What a query gives."""

    COUNT = "count"
    SUM = "sum"
    DISTINCT = "distinct"
    LAST = "last"


class Query(Struct, frozen=True, kw_only=True):
    """Entries of one tenant: of `tool` (empty: any), in one of `phases`, not older than `since`, as pinned and tested.

    `agent`, `run`, `subject` pin when they are not empty. `excluding` is the id of the call that asks. `of` is the field that is
    summed, or whose different values are counted.
    """

    tool: str
    phases: tuple[Phase, ...]
    since: datetime
    measure: Measure
    of: str = ""
    agent: str = ""
    run: str = ""
    subject: str = ""
    tests: tuple[Test, ...] = ()
    excluding: str = ""


class Measured(Struct, frozen=True, kw_only=True):
    """The answer to a query; which member counts follows from its measure. `known=False`: it could not be worked out.

    `last` orders entries by (time in microseconds since 1970, id).
    """

    number: int = 0
    values: frozenset[Value] = frozenset()
    last: tuple[int, str] | None = None
    known: bool = True


class ReadingKind(StrEnum):
    """The five history conditions, and `immediately`."""

    COUNT = "count_within"
    SUM = "sum_within"
    DISTINCT = "distinct_within"
    FORMERLY = "formerly"
    NEVER_AFTER = "never_after"
    IMMEDIATELY = "immediately"


class Reading(Struct, frozen=True, kw_only=True):
    """What is asked for one call. `own` is what the call itself adds: 1 or the amount or the value; `None` when it adds nothing.

    `other` is the event that cancels (`unless_since`, `until`), or any event at all for `immediately`.
    """

    kind: ReadingKind
    event: Query
    other: Query | None = None
    own: Value | None = None


class Expect(Struct, frozen=True, kw_only=True):
    """A demand of a commit unit: `reading op bound` must (still) be `truth`. Booleans are compared as 1 and 0."""

    reading: Reading
    op: str
    bound: int
    truth: bool


Ask = Callable[[Query], Measured]


def queries(reading: Reading) -> tuple[Query, ...]:
    """What has to be asked for a reading."""
    return (reading.event,) if reading.other is None else (reading.event, reading.other)


def take(reading: Reading, ask: Ask) -> int | bool | None:
    """The value of a reading; `None` when it is unknown."""
    event = ask(reading.event)
    other = ask(reading.other) if reading.other is not None else Measured()
    if not (event.known and other.known):
        return None
    if reading.kind is ReadingKind.COUNT:
        return event.number + (reading.own is not None)
    if reading.kind is ReadingKind.SUM:
        total = event.number + (reading.own if isinstance(reading.own, int) else 0)
        return total if abs(total) <= MAX_TOTAL else None
    if reading.kind is ReadingKind.DISTINCT:
        return len(event.values | ({reading.own} if reading.own is not None else set()))
    if event.last is None:
        return False
    if reading.kind is ReadingKind.IMMEDIATELY:
        return other.last == event.last
    if other.last is None:
        return True
    # What happened within the same microsecond is taken in the stricter order: a condition met is cancelled, a ban is not ended.
    return event.last[0] > other.last[0] if reading.kind is ReadingKind.FORMERLY else event.last[0] >= other.last[0]


def compare(value: int | bool | None, op: str, bound: int) -> bool | None:
    """`value op bound`; unknown stays unknown."""
    return None if value is None else _COMPARE[op](int(value), bound)


def holds(expect: Expect, ask: Ask) -> bool:
    """Whether the demand is met."""
    return compare(take(expect.reading, ask), expect.op, expect.bound) is expect.truth


def matches(entry: Entry, query: Query) -> bool:
    """Whether a query is about this entry."""
    return (
        query.tool in ("", entry.tool)
        and entry.phase in query.phases
        and entry.at >= query.since
        and entry.id != query.excluding
        and query.agent in ("", entry.agent)
        and query.run in ("", entry.run)
        and query.subject in ("", entry.subject)
        and all(meets(entry.fields.get(test.field), test) for test in query.tests)
    )


def meets(value: Value | None, test: Test) -> bool:
    """Whether a remembered value meets a demand. Values of different types are never equal, and never compared."""
    same = [bound for bound in test.values if type(bound) is type(value)]
    if value is None or not same:
        return False
    if test.op == "in":
        return value in same
    return _COMPARE[test.op](value, same[0])


def measure(entries: Iterable[Entry], query: Query) -> Measured:
    """The answer to a query over `entries`: what every store must give as well."""
    found = [entry for entry in entries if matches(entry, query)]
    if query.measure is Measure.COUNT:
        return Measured(number=len(found))
    if query.measure is Measure.LAST:
        return Measured(last=max(((micros(entry.at), entry.id) for entry in found), default=None))
    values = [entry.fields[query.of] for entry in found if query.of in entry.fields]
    if query.measure is Measure.SUM:
        total = sum(value for value in values if type(value) is int)
        return Measured(number=total, known=abs(total) <= MAX_TOTAL)
    different = frozenset(values)
    return Measured(values=different) if len(different) <= MAX_DISTINCT else Measured(known=False)


def micros(time: datetime) -> int:
    """Microseconds since 1970."""
    return (time - _EPOCH) // timedelta(microseconds=1)


_COMPARE: dict[str, Callable[..., bool]] = {
    "eq": lambda value, bound: value == bound,
    "ne": lambda value, bound: value != bound,
    "gt": lambda value, bound: value > bound,
    "gte": lambda value, bound: value >= bound,
    "lt": lambda value, bound: value < bound,
    "lte": lambda value, bound: value <= bound,
}
COMPARISONS = tuple(_COMPARE)
"""The operators of an `Expect`, and all of a `Test` but `in`."""
