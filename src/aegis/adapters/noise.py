"""The bounded system journal: refusals of callers who are not authenticated, gathered in memory and written now and then.

Nobody can fill the store from outside: a flush writes at most once a second, the table holds at most `MAX_ROWS` pairs of reason
and source (one more `other` per reason), and what an attacker can choose is cut to printable characters.
"""

import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from time import monotonic

from msgspec import Struct

from aegis.journal.store import Noise

OTHER = "other"
MAX_ROWS = 1_000
MAX_OTHERS = 64
MAX_TEXT = 64
FLUSH_SECONDS = 1.0

Place = tuple[str, str]
"""Reason and source."""


class Tally(Struct):
    """How often, and when first and last."""

    count: int
    first: datetime
    last: datetime

    def add(self, other: "Tally") -> None:
        """Count what `other` counted as well."""
        self.count += other.count
        self.first = min(self.first, other.first)
        self.last = max(self.last, other.last)


class NoiseBuffer:
    """What was counted and not yet written. Any thread may count; the writer's thread flushes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tallies: dict[Place, Tally] = {}
        self._flushed = monotonic()

    def count(self, reason: str, source: str, at: datetime) -> None:
        """Count one refusal."""
        place = (printable(reason), printable(source))
        with self._lock:
            _count(self._tallies, place, Tally(1, at, at))

    def flush(self, write: Callable[[Mapping[Place, Tally]], None], *, now: bool = False) -> None:
        """Hand what was counted to `write`, at most once a second unless `now`; it is kept when `write` fails."""
        if not self._tallies or not (now or monotonic() - self._flushed >= FLUSH_SECONDS):
            return
        self._flushed = monotonic()
        with self._lock:
            taken, self._tallies = self._tallies, {}
        try:
            write(taken)
        except BaseException:
            with self._lock:
                for place, tally in taken.items():
                    _count(self._tallies, place, tally)
            raise


def merge(stored: Mapping[Place, Tally], counted: Mapping[Place, Tally]) -> dict[Place, Tally]:
    """The rows that change when `counted` is added to the table `stored`, whole and within its bounds."""
    table = {place: Tally(tally.count, tally.first, tally.last) for place, tally in stored.items()}
    return {place: table[place] for place in {_count(table, place, tally) for place, tally in counted.items()}}


def printable(text: str) -> str:
    """`text` cut to what may stand in a table that people read: no control, format or surrogate characters."""
    return "".join(char if char.isprintable() else "?" for char in text[:MAX_TEXT])


def listed(table: Mapping[Place, Tally]) -> tuple[Noise, ...]:
    """The rows for people, newest first."""
    rows = [
        Noise(reason=reason, source=source, count=tally.count, first=tally.first, last=tally.last)
        for (reason, source), tally in table.items()
    ]
    return tuple(sorted(rows, key=lambda row: (row.last, row.reason, row.source), reverse=True))


def _count(table: dict[Place, Tally], place: Place, tally: Tally) -> Place:
    """Add `tally` at `place`, or where there is still room for it; returns where it went."""
    if place not in table and len(table) >= MAX_ROWS:
        place = (place[0], OTHER)
        if place not in table and len(table) >= MAX_ROWS + MAX_OTHERS:
            place = (OTHER, OTHER)
    if place in table:
        table[place].add(tally)
    else:
        table[place] = tally
    return place
