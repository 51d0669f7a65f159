"""Runs from the newest on: their ids begin with the time, so the newest are found in spans of time from now on backwards.

A store gives rows in order of id, from an id on. A span in which there are too many is made shorter, one in which there were few is
followed by a longer one: a page costs a page, whatever the number of runs, and nothing is kept for the list.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime

from aegis.journal.unit import Row

PAGE = 500
FIRST_MS = 60_000
LATEST = "run_g"
"""Above every id of a run."""

Read = Callable[[str, int], Awaitable[tuple[Row, ...]]]
"""(after, limit) -> rows in order of id."""


async def newest(read: Read, now: datetime, end: str = LATEST) -> AsyncIterator[Row]:
    """Rows of runs below the id `end`, newest first."""
    first = await read("", 1)
    upper = int(now.timestamp() * 1000) if end == LATEST else _millis(end)
    span = FIRST_MS
    while first and end > first[0].id:
        lower = _at(max(0, upper - span))
        rows = await _between(read, lower, end, most=PAGE if span > 1 else None)
        if rows is None:
            span = max(1, span // 16)
            continue
        for row in reversed(rows):
            yield row
        end, upper, span = lower, upper - span, span * 4


async def _between(read: Read, lower: str, end: str, *, most: int | None) -> list[Row] | None:
    """The rows between two ids; `None` when they are more than `most`."""
    found: list[Row] = []
    while rows := await read(lower, PAGE):
        lower = rows[-1].id
        found += [row for row in rows if row.id < end]
        if most is not None and len(found) > most:
            return None
        if len(rows) < PAGE or lower >= end:
            break
    return found


def _at(millis: int) -> str:
    """Below every id of a run that was started then or later."""
    return f"run_{millis:012x}"


def _millis(run: str) -> int:
    """The end of the millisecond in which a run was started; far ahead for what is no id of a run."""
    try:
        return int(run.removeprefix("run_")[:12], 16) + 1
    except ValueError:
        return (1 << 48) - 1
