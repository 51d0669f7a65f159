"""Runs are found from the newest on, whatever their times and however many begin at once."""

import asyncio
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from aegis.journal.unit import Row
from aegis.runtime import ids
from aegis.runtime.runs.newest import LATEST, PAGE, newest

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def rows(names):
    return [
        Row(tenant="acme", kind="flow", id=name, version=1, body=b"{}", state="", lookup="", due=None) for name in sorted(names)
    ]


def looked(names, end=LATEST, most=10**6):
    kept, reads = rows(names), []

    async def read(after, limit):
        reads.append(limit)
        return tuple([row for row in kept if row.id > after][:limit])

    async def work():
        found = []
        async for row in newest(read, NOW, end):
            found.append(row.id)
            if len(found) == most:
                break
        return found

    return asyncio.run(work()), len(reads)


@given(st.lists(st.integers(-5, 10**10), max_size=40), st.integers(0, 39))
def test_every_run_comes_once_and_newest_first_from_any_run_on(ages, at):
    names = sorted((ids.new("run", NOW - timedelta(milliseconds=age)) for age in ages), reverse=True)
    assert looked(names)[0] == names
    if names:
        assert looked(names, names[at % len(names)])[0] == names[at % len(names) + 1 :]


def test_more_runs_than_a_page_of_one_millisecond_come_too():
    names = sorted((ids.new("run", NOW) for _ in range(PAGE * 2 + 7)), reverse=True)
    assert looked(names)[0] == names


def test_a_page_of_many_runs_costs_a_few_reads():
    names = [ids.new("run", NOW - timedelta(seconds=number)) for number in range(20_000)]
    found, reads = looked(names, most=50)
    assert found == sorted(names, reverse=True)[:50]
    assert reads < 10
