"""The history as the units of one group see it, one after the other.

Entries that some unit of the group remembers or settles are *touched*: they are loaded whole and stand here in memory, and the
stored answers leave them out. The answer to a query is then the stored answer over all other entries, joined with the answer of the
reference model over the touched ones as they stand now. So each unit sees exactly what the units before it have done, a replaced
entry is counted once, and nothing of the database has to be asked again.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import msgspec

from aegis.journal.unit import Unit
from aegis.model.history import MAX_DISTINCT, MAX_TOTAL, Entry, Measure, Measured, Phase, Query, measure, queries

Asked = tuple[str, Query]
"""Tenant and query."""
Name = tuple[str, str]
"""Tenant and id of an entry."""

BATCH = 1_000
"""So many entries are forgotten in one transaction."""
UNKNOWN = Measured(known=False)


class Past:
    """What the group has changed so far. `answers` hold nothing of the touched entries; `entries` are those that are stored."""

    def __init__(self, answers: Mapping[Asked, Measured] | None = None, entries: Mapping[Name, Entry] | None = None) -> None:
        self.remembered: dict[Name, Entry] = {}
        self.settled: dict[Name, Phase] = {}
        self._answers = answers or {}
        self._touched: dict[str, dict[str, Entry]] = {}
        for (tenant, _), entry in (entries or {}).items():
            self._of(tenant)[entry.id] = entry

    def ask(self, tenant: str, query: Query) -> Measured:
        """The answer as of now."""
        stored = self._answers.get((tenant, query), UNKNOWN)
        return joined(query, stored, measure(self._of(tenant).values(), query))

    def apply(self, unit: Unit) -> None:
        """Let `unit` remember and settle. Entries to write are in `remembered`, all other changes in `settled`."""
        if not (unit.remember or unit.settle):
            return
        touched = self._of(unit.tenant)
        for entry in unit.remember:
            touched[entry.id] = entry
            self.remembered[unit.tenant, entry.id] = entry
            self.settled.pop((unit.tenant, entry.id), None)
        for settle in unit.settle:
            name = (unit.tenant, settle.id)
            if (before := touched.get(settle.id)) is not None:
                touched[settle.id] = msgspec.structs.replace(before, phase=settle.phase)
            if name in self.remembered:
                self.remembered[name] = touched[settle.id]
            else:
                self.settled[name] = settle.phase

    def _of(self, tenant: str) -> dict[str, Entry]:
        return self._touched.setdefault(tenant, {})


def joined(query: Query, stored: Measured, here: Measured) -> Measured:
    """The answer over two histories without a common entry.

    A stored sum tells its number however large it is, and is unknown only when it was not taken: `here` may bring it back.
    """
    if not stored.known:
        return UNKNOWN
    if query.measure is Measure.SUM:
        total = stored.number + here.number
        return Measured(number=total, known=abs(total) <= MAX_TOTAL)
    if not here.known:
        return UNKNOWN
    if query.measure is Measure.COUNT:
        return Measured(number=stored.number + here.number)
    if query.measure is Measure.LAST:
        return Measured(last=max((each.last for each in (stored, here) if each.last is not None), default=None))
    values = stored.values | here.values
    return Measured(values=values) if len(values) <= MAX_DISTINCT else UNKNOWN


def asked_by(units: Iterable[Unit]) -> list[Asked]:
    """Every query of the group, once."""
    found = ((unit.tenant, query) for unit in units for expect in unit.expects for query in queries(expect.reading))
    return list(dict.fromkeys(found))


def touched_by(units: Iterable[Unit]) -> list[Name]:
    """Every entry that the group remembers or settles, once."""
    found: dict[Name, None] = {}
    for unit in units:
        found |= dict.fromkeys((unit.tenant, entry.id) for entry in unit.remember)
        found |= dict.fromkeys((unit.tenant, settle.id) for settle in unit.settle)
    return list(found)


def answered(asked: Sequence[Asked], answers: Mapping[Asked, Measured]) -> tuple[Measured, ...]:
    """The answers in the order of the questions."""
    return tuple(joined(query, answers[tenant, query], Measured()) for tenant, query in asked)


async def forgotten(batch: Callable[[], Awaitable[int]]) -> int:
    """How many entries went in all, batch by batch, until there was not enough for a whole one."""
    total = 0
    while True:
        gone = await batch()
        total += gone
        if gone < BATCH:
            return total
