"""Check a unit before it waits for the writer: what no store could hold is refused here, by the caller's own thread.

Both databases then accept the same units. What only the place in the journal decides (the canonical body) is left to `draft`.
"""

import re
from collections.abc import Collection, Sequence
from datetime import datetime

import orjson

from aegis.adapters.instants import to_micros
from aegis.adapters.past import Asked
from aegis.errors import StoreError
from aegis.journal.tiles import TILE_WIDTH
from aegis.journal.unit import Put, Unit
from aegis.model.history import COMPARISONS, MAX_TOTAL, Measure, Phase, Query, Value
from aegis.model.history import queries as asked_of

EVENT_BYTES = 1024
"""What an event is taken to weigh before it has been encoded; the bound on waiting bytes is not exact."""
ENTRY_BYTES = 256
"""What an entry of history, or a demand on it, is taken to weigh."""

_UNQUOTABLE = re.compile(r'["\\\x00-\x1f]')  # SQLite's paths have no way to write these


def weigh(unit: Unit) -> int:
    """The approximate size of `unit` in bytes, once it has been found to be one that a store can hold.

    Raises:
        StoreError: The unit contradicts itself; nothing was recorded and repeating it will not help.
    """
    check_text("tenant", unit.tenant)
    size = _events(unit)
    own = {event.id for event in unit.events}
    places = set()
    for payload in unit.payloads:
        if payload.event_id not in own:
            raise StoreError("a `payload` names an event that its unit does not hold: seal it beside its own event")
        check_text("payload.name", payload.name)
        check_text("payload.key_id", payload.key_id)
        places.add((payload.event_id, payload.name))
        size += len(payload.ciphertext)
    if len(places) != len(unit.payloads):
        raise StoreError("two payloads of the unit have the same `event_id` and `name`")
    if unit.drops < 0 or unit.drops % TILE_WIDTH:
        raise StoreError(f"`drops` is {unit.drops}: expected a multiple of {TILE_WIDTH}, where a tile ends")
    if (unit.destroys or unit.drops) and not unit.events:
        raise StoreError("a unit that destroys keys or drops events tells of it: it has an event")
    for key_id in unit.destroys:
        check_text("destroys", key_id)
    for require in unit.requires:
        check_text("requires.kind", require.kind)
        check_text("requires.id", require.id)
        if require.version < 0:
            raise StoreError("`requires.version` is negative: expected 0 (no such row) or more")
    for write in unit.writes:
        check_text("writes.kind", write.kind)
        check_text("writes.id", write.id)
        if isinstance(write, Put):
            size += _put(write)
    return size + _history(unit)


def askable(tenant: str, queries: Sequence[Query]) -> list[Asked]:
    """The queries with their tenant, once they have been found to be ones that a store can answer.

    Raises:
        StoreError: A name or value is one that no column can hold.
    """
    check_text("tenant", tenant)
    for query in queries:
        _query(query)
    return [(tenant, query) for query in queries]


def _history(unit: Unit) -> int:
    for expect in unit.expects:
        _operator("expects.op", expect.op, COMPARISONS)
        for query in asked_of(expect.reading):
            _query(query)
    for entry in unit.remember:
        check_text("remember.id", entry.id)
        check_text("remember.tool", entry.tool)
        for name in ("agent", "run", "subject"):
            check_text(f"remember.{name}", getattr(entry, name), empty=True)
        _time("remember.at", entry.at)
        if to_micros(entry.at) < 0:
            raise StoreError("`remember.at` is before 1970")
        _phase("remember.phase", entry.phase)
        for field, value in entry.fields.items():
            _field("remember.fields", field)
            _value("remember.fields", value)
    for settle in unit.settle:
        check_text("settle.id", settle.id)
        _phase("settle.phase", settle.phase)
    return ENTRY_BYTES * (len(unit.remember) + len(unit.expects))


def _query(query: Query) -> None:
    for name in ("tool", "of", "agent", "run", "subject", "excluding"):
        check_text(f"query.{name}", getattr(query, name), empty=True)
    _time("query.since", query.since)
    if not isinstance(query.measure, Measure):
        raise StoreError("`query.measure` is none that there is")
    for phase in query.phases:
        _phase("query.phases", phase)
    if query.of:
        _field("query.of", query.of)
    for test in query.tests:
        _field("query.tests", test.field)
        _operator("query.tests", test.op, (*COMPARISONS, "in"))
        for value in test.values:
            _value("query.tests", value)


def _field(name: str, field: str) -> None:
    check_text(name, field)
    if _UNQUOTABLE.search(field):
        raise StoreError(f"`{name}` names a field with a quotation mark, a backslash or a control character")


def _time(name: str, time: datetime) -> None:
    if time.tzinfo is None:  # it could not be compared with the others, on the writer's thread
        raise StoreError(f"`{name}` has no time zone")


def _phase(name: str, phase: Phase) -> None:
    if not isinstance(phase, Phase):
        raise StoreError(f"`{name}` is none that there is")


def _operator(name: str, op: str, known: Collection[str]) -> None:
    if op not in known:
        raise StoreError(f"`{name}` has an operator that there is not")


def _value(name: str, value: Value) -> None:
    if isinstance(value, str):
        check_text(name, value, empty=True)
    elif type(value) is not int or abs(value) > MAX_TOTAL:
        raise StoreError(f"`{name}` holds a value that is neither a string nor an integer of at most 2^53 - 1")


def _events(unit: Unit) -> int:
    ids = set()
    for event in unit.events:
        if event.tenant != unit.tenant:
            raise StoreError("`event.tenant` is another than `unit.tenant`: a unit belongs to one tenant")
        check_text("event.id", event.id)
        check_text("event.type", event.type)
        check_text("event.request_id", event.request_id, empty=True)
        ids.add(event.id)
    if len(ids) != len(unit.events):
        raise StoreError("two events of the unit have the same `id`")
    return EVENT_BYTES * len(ids)


def _put(put: Put) -> int:
    check_text("writes.state", put.state, empty=True)
    check_text("writes.lookup", put.lookup, empty=True)
    try:
        orjson.loads(put.body)
    except orjson.JSONDecodeError:
        raise StoreError(f"`writes.body` of kind `{put.kind}` is not JSON in UTF-8") from None
    return len(put.body)


def check_text(name: str, value: str, *, empty: bool = False) -> None:
    """Refuse what a database column of text cannot hold or what could not be found again."""
    if not value and not empty:
        raise StoreError(f"`{name}` is empty")
    if "\0" in value:
        raise StoreError(f"`{name}` holds a NUL character")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise StoreError(f"`{name}` holds a lone surrogate, which is not a character") from None
