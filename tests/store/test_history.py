"""What is remembered, and what is answered about it: every store as the reference model does."""

import asyncio
import itertools
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.examples_drawn import examples
from tests.store.homes import START, Home, absent, event, put, ready
from tests.store.racing import ASKED, TENANT, reading, reserve

from aegis.adapters import readings
from aegis.adapters.postgres import readings as postgres_readings
from aegis.adapters.postgres import statements as postgres_statements
from aegis.adapters.postgres.connection import connect_writer
from aegis.adapters.sqlite import readings as sqlite_readings
from aegis.adapters.sqlite import statements as sqlite_statements
from aegis.errors import StoreError
from aegis.journal.unit import Committed, Conflict, Existing, Unit
from aegis.model import history
from aegis.model.history import (
    MAX_DISTINCT,
    MAX_TOTAL,
    Entry,
    Expect,
    Measure,
    Measured,
    Phase,
    Query,
    Reading,
    ReadingKind,
    Settle,
    measure,
)

_numbers = itertools.count()

FIELDS = ("n", "s", "parsed.to.domain", "ü[0]")
EARLY = START - timedelta(seconds=1)
LARGE = (MAX_TOTAL, -MAX_TOTAL, MAX_TOTAL - 1, 2**32, -(2**32) - 1)
TEXTS = ("", "1", "-1", "a", "B", "é", "\U0001f600", "\uffff", '"', "true")


def mostly(usual: Any, *others: Any) -> st.SearchStrategy[Any]:
    """The usual choice half of the time: a law of readings says nothing while hardly any entry is ever read."""
    return st.sampled_from([usual] * len(others) + list(others))


values = st.one_of(st.integers(-2, 2), st.integers(-2, 2), st.sampled_from(LARGE), st.sampled_from(TEXTS))
instants = st.integers(-2, 2).map(lambda n: START + timedelta(microseconds=n))
ids = st.sampled_from(["a", "b", "c", "d", "e", "f"])
phases = st.sampled_from(list(Phase))
agents = st.sampled_from(["x", "y", ""])
entries = st.builds(
    Entry,
    id=ids,
    tool=mostly("pay", "read"),
    at=instants,
    phase=phases,
    agent=agents,
    run=agents,
    subject=agents,
    fields=st.fixed_dictionaries({"n": values}, optional=dict.fromkeys(FIELDS[1:], values)),
)
tests = st.builds(
    history.Test,
    field=mostly("n", *FIELDS, "missing"),
    op=st.sampled_from(["eq", "ne", "in", "gt", "gte", "lt", "lte"]),
    values=st.lists(values, max_size=3).map(tuple),
)
pins = mostly("", "x", "y")
queries = st.builds(
    Query,
    tool=mostly("", "pay", "read"),
    phases=mostly(tuple(Phase), history.ALLOWED, (Phase.FAILED,), ()),
    since=st.just(EARLY) | instants,
    measure=st.sampled_from(list(Measure)),
    of=mostly("n", *FIELDS, "missing"),
    agent=pins,
    run=pins,
    subject=pins,
    tests=st.just(()) | st.tuples(tests) | st.tuples(tests, tests),
    excluding=mostly("", "a", "b"),
)
near = st.builds(
    Query,
    tool=st.just(""),
    phases=mostly(tuple(Phase), history.ALLOWED, (Phase.FAILED,)),
    since=st.just(EARLY),
    measure=st.sampled_from(list(Measure)),
    of=st.just("n"),
    excluding=mostly("", "a"),
)
"""Questions that nearly every change of the history answers otherwise."""

MEASURES = {
    ReadingKind.COUNT: Measure.COUNT,
    ReadingKind.SUM: Measure.SUM,
    ReadingKind.DISTINCT: Measure.DISTINCT,
}


@st.composite
def expects(draw: st.DrawFn) -> Expect:
    kind = draw(st.sampled_from(list(ReadingKind)))
    pair = [replace(draw(near | queries), measure=MEASURES.get(kind, Measure.LAST)) for _ in range(2)]
    reading = Reading(
        kind=kind,
        event=pair[0],
        other=pair[1] if kind is ReadingKind.IMMEDIATELY or (kind not in MEASURES and draw(st.booleans())) else None,
        own=draw(st.none() | values),
    )
    return Expect(
        reading=reading, op=draw(st.sampled_from(["eq", "gt", "lte"])), bound=draw(st.integers(0, 3)), truth=draw(st.booleans())
    )


plans = st.fixed_dictionaries(
    {
        "tenant": st.sampled_from(["one", "two"]),
        "expects": st.lists(expects(), max_size=1).map(tuple),
        "remember": st.lists(entries, max_size=2).map(tuple),
        "settle": st.lists(st.builds(Settle, id=ids, phase=phases), max_size=2).map(tuple),
        "requires": st.sampled_from([(), (), (), (absent("r"),)]),
        "writes": st.sampled_from([(), (), (put("r"),)]),
    }
)
groups = st.lists(st.lists(plans, min_size=1, max_size=8), min_size=1, max_size=4)


class Model:
    """The same promises, written as simply as can be."""

    def __init__(self) -> None:
        self.entries: dict[str, dict[str, Entry]] = {}
        self.rows: set[str] = set()

    def take(self, unit: Unit) -> tuple[bool, bool]:
        """Whether a row or the history is in the unit's way; if neither, it has been applied."""
        kept = self.entries.setdefault(unit.tenant, {})
        row = bool(unit.requires) and unit.tenant in self.rows
        past = not all(history.holds(expect, lambda query: measure(kept.values(), query)) for expect in unit.expects)
        if not (row or past):
            kept.update((entry.id, entry) for entry in unit.remember)
            kept.update((each.id, replace(kept[each.id], phase=each.phase)) for each in unit.settle if each.id in kept)
            self.rows.update([unit.tenant] if unit.writes else [])
        return row, past


def remembering(tenant: str, *remembered: Entry, **about: Any) -> Unit:
    return Unit(tenant=tenant, events=(event(tenant, f"e{next(_numbers)}"),), remember=remembered, **about)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def player(request, tmp_path):
    """A store and a runner for properties."""
    home = ready(request.param, tmp_path)
    with asyncio.Runner() as runner:
        yield runner, runner.run(home.open()), examples(40 if request.param == "sqlite" else 25)
        runner.run(home.close())


def test_every_answer_is_that_of_the_model(player):
    runner, store, count = player

    async def play(kept: list[Entry], asked: list[Query]) -> None:
        tenant, other = f"acme{next(_numbers)}", f"globex{next(_numbers)}"
        await asyncio.gather(store.commit(remembering(tenant, *kept)), store.commit(remembering(other, *kept[::-1])))
        stand = {entry.id: entry for entry in kept}
        assert await store.measure(tenant, asked) == tuple(measure(stand.values(), query) for query in asked)

    @settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(entries, max_size=12), st.lists(queries, min_size=1, max_size=12))
    def law(kept: list[Entry], asked: list[Query]) -> None:
        runner.run(play(kept, asked))

    law()
    assert runner.run(store.fsck()) == ()


def test_a_group_that_expects_and_remembers_is_as_if_each_unit_had_come_by_itself(player):
    runner, store, count = player

    async def play(asked: list[list[dict[str, Any]]], about: list[Query]) -> None:
        model, example = Model(), next(_numbers)
        for group in asked:
            units = [
                Unit(
                    **(
                        plan
                        | {"tenant": (tenant := f"{plan['tenant']}{example}"), "events": (event(tenant, f"e{next(_numbers)}"),)}
                    )
                )
                for plan in group
            ]
            answers = await asyncio.gather(*map(store.commit, units))
            said = [(bool(answer.rows), answer.history) if isinstance(answer, Conflict) else (False, False) for answer in answers]
            assert said == [model.take(unit) for unit in units]
        for tenant, kept in model.entries.items():
            assert await store.measure(tenant, about) == tuple(measure(kept.values(), query) for query in about)

    @settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))
    @given(groups, st.lists(near | queries, min_size=3, max_size=6))
    def law(asked: list[list[dict[str, Any]]], about: list[Query]) -> None:
        runner.run(play(asked, about))

    law()
    assert runner.run(store.fsck()) == ()
    told = runner.run(store.stats())
    assert told["groups_committed"] < told["units_committed"], "the units never met in a group"


def entry(
    entry_id: str = "h1", *, phase: Phase = Phase.OPEN, minutes: float = 0, tool: str = "pay", **fields: history.Value
) -> Entry:
    return Entry(
        id=entry_id, tool=tool, at=START + timedelta(minutes=minutes), phase=phase, agent="x", run="r", subject="s", fields=fields
    )


def about(measure: Measure = Measure.COUNT, **rest: Any) -> Query:
    return Query(**({"tool": "pay", "phases": tuple(Phase), "since": EARLY, "measure": measure, "of": "n"} | rest))


def at_most(limit: int, **rest: Any) -> Expect:
    """The count, the asking call included, does not exceed `limit`."""
    reading = Reading(kind=ReadingKind.COUNT, event=about(**rest), own=1)
    return Expect(reading=reading, op="gt", bound=limit, truth=False)


async def test_a_unit_whose_expectation_fails_records_nothing_and_its_neighbours_are_untouched(store):
    await store.commit(remembering("acme", entry("h1")))
    units = [
        remembering("acme", entry("h2", tool="read")),
        remembering("acme", entry("h3"), expects=(at_most(1),), writes=(put("c1"),), settle=(Settle(id="h1", phase=Phase.FAILED),)),
        remembering("acme", entry("h4"), expects=(at_most(2),)),
        remembering("globex", entry("h5"), expects=(at_most(1),)),
    ]
    answers = await asyncio.gather(*map(store.commit, units))
    assert answers[1] == Conflict(rows=(), history=True)
    assert all(isinstance(answer, Committed) for index, answer in enumerate(answers) if index != 1)
    assert await store.event("acme", units[1].events[0].id) is None
    assert await store.rows("acme", [("call", "c1")]) == {}
    assert await store.measure("acme", [about(phases=(Phase.OPEN,)), about(tool="")]) == (Measured(number=2), Measured(number=3))


async def test_a_conflict_tells_of_rows_and_of_history_at_once(store):
    await store.commit(remembering("acme", entry("h1"), writes=(put("c1"),)))
    answer = await store.commit(remembering("acme", entry("h2"), requires=(absent("c1"),), expects=(at_most(1),)))
    assert (len(answer.rows), answer.history) == (1, True)
    answer = await store.commit(remembering("acme", entry("h2"), requires=(absent("c1"),), expects=(at_most(2),)))
    assert (len(answer.rows), answer.history) == (1, False)


async def test_the_last_place_goes_to_one_of_a_group(store):
    units = [remembering("acme", entry(f"h{n}"), expects=(at_most(5),)) for n in range(40)]
    answers = await asyncio.gather(*map(store.commit, units))
    assert [isinstance(answer, Committed) for answer in answers] == [True] * 5 + [False] * 35


async def test_an_entry_that_is_remembered_again_is_the_same_one(store):
    await store.commit(remembering("acme", entry("h1", n=1)))
    again = [remembering("acme", entry("h1", n=n), expects=(at_most(2),)) for n in (2, 3)]
    assert all(isinstance(answer, Committed) for answer in await asyncio.gather(*map(store.commit, again)))
    assert await store.measure("acme", [about(), about(Measure.SUM)]) == (Measured(number=1), Measured(number=3))


async def test_what_a_failed_call_reserved_is_free_again_within_the_same_group(store):
    await store.commit(remembering("acme", entry("h1")))
    free = remembering("acme", settle=(Settle(id="h1", phase=Phase.FAILED),))
    units = [remembering("acme", entry(f"h{n}"), expects=(at_most(1, phases=history.ALLOWED),)) for n in (2, 3)]
    answers = await asyncio.gather(*map(store.commit, [units[0], free, units[1]]))
    assert [isinstance(answer, Committed) for answer in answers] == [False, True, True]


async def test_a_repeated_unit_finds_its_first_answer_though_its_expectation_would_fail_now(store):
    asked = remembering("acme", entry("h1"), expects=(at_most(1),))
    first = await store.commit(asked)
    assert await store.commit(asked) == Existing(events=first.events)


async def test_settling_what_is_not_remembered_does_nothing(store):
    assert isinstance(await store.commit(remembering("acme", settle=(Settle(id="x", phase=Phase.FAILED),))), Committed)
    assert await store.measure("acme", [about(tool="")]) == (Measured(number=0),)


async def test_the_history_outlives_the_process(store, home):
    await store.commit(remembering("acme", entry("h1", n=5, s="x")))
    await store.commit(remembering("acme", settle=(Settle(id="h1", phase=Phase.SUCCEEDED),)))
    await store.close()
    store = await home.open()
    assert await store.measure("acme", [about(Measure.SUM, phases=(Phase.SUCCEEDED,))]) == (Measured(number=5),)


async def test_a_sum_beyond_what_json_holds_is_unknown_until_it_comes_back(store):
    await store.commit(remembering("acme", *(entry(f"h{n}", n=MAX_TOTAL) for n in range(3000))))
    assert await store.measure("acme", [about(Measure.SUM)]) == (measure([entry(n=3000 * MAX_TOTAL)], about(Measure.SUM)),)
    known = Expect(reading=Reading(kind=ReadingKind.SUM, event=about(Measure.SUM)), op="lte", bound=MAX_TOTAL, truth=True)
    assert await store.commit(remembering("acme", expects=(known,))) == Conflict(rows=(), history=True)
    await store.commit(remembering("acme", *(entry(f"g{n}", n=-MAX_TOTAL) for n in range(2999))))
    assert isinstance(await store.commit(remembering("acme", expects=(known,))), Committed)
    assert await store.measure("acme", [about(Measure.SUM)]) == (Measured(number=MAX_TOTAL),)


async def test_too_many_different_values_are_unknown(store):
    await store.commit(remembering("acme", *(entry(f"h{n}", n=n) for n in range(MAX_DISTINCT))))
    (answer,) = await store.measure("acme", [about(Measure.DISTINCT)])
    assert len(answer.values) == MAX_DISTINCT
    await store.commit(remembering("acme", entry("one more", n="1")))
    assert await store.measure("acme", [about(Measure.DISTINCT)]) == (Measured(known=False),)


async def test_a_window_that_holds_too_many_entries_is_not_measured(store, monkeypatch):
    monkeypatch.setattr(readings, "MAX_WINDOW", 20)
    readings.statement.cache_clear()
    try:
        await store.commit(remembering("acme", *(entry(f"h{n}", minutes=n) for n in range(20)), entry("other", tool="read")))
        asked = [about(each) for each in Measure] + [about(tool=""), about(agent="x"), about(agent="y")]
        assert [answer.known for answer in await store.measure("acme", asked)] == [True] * 4 + [False, False, True]
        assert isinstance(await store.commit(remembering("acme", expects=(at_most(21),))), Committed)
        await store.commit(remembering("acme", entry("one more")))
        assert await store.commit(remembering("acme", expects=(at_most(100),))) == Conflict(rows=(), history=True)
        later = about(since=START + timedelta(minutes=10))
        assert await store.measure("acme", [later]) == (Measured(number=10),)
    finally:
        readings.statement.cache_clear()


async def test_what_is_older_is_forgotten_in_every_tenant(store):
    for tenant in ("acme", "globex"):
        await store.commit(remembering(tenant, *(entry(f"h{n}", minutes=n // 1000) for n in range(2500))))
    assert await store.forget(START) == 0
    assert await store.forget(START + timedelta(minutes=2)) == 4000
    assert await store.measure("acme", [about()]) == (Measured(number=500),)
    assert await store.forget(START + timedelta(minutes=2)) == 0


@pytest.mark.parametrize(
    "odd",
    [
        entry(n=MAX_TOTAL + 1),
        entry(n=True),
        entry(n=1.5),
        entry(s="a\0"),
        entry(s="\ud800"),
        entry(**{'a"b': 1}),
        entry(**{"a\\b": 1}),
        entry(""),
        entry("a\0"),
        entry(tool=""),
        entry(minutes=-60 * 24 * 365 * 60),
        replace(entry(), at=START.replace(tzinfo=None)),
        replace(entry(), phase="open"),
    ],
    ids=str,
)
async def test_what_no_store_can_hold_is_refused_before_it_waits(store, odd):
    with pytest.raises(StoreError):
        await store.commit(remembering("acme", odd))
    assert await store.tenants() == ()


@pytest.mark.parametrize(
    "odd",
    [
        {"of": 'a"b'},
        {"agent": "\0"},
        {"tests": (history.Test(field="n", op="eq", values=(2**63,)),)},
        {"tests": (history.Test(field="n", op="like", values=(1,)),)},
        {"since": START.replace(tzinfo=None)},
        {"phases": ("open",)},
        {"measure": "count"},
    ],
    ids=str,
)
async def test_a_question_that_no_store_can_put_is_refused(store, odd):
    with pytest.raises(StoreError):
        await store.measure("acme", [about(**odd)])
    with pytest.raises(StoreError):
        await store.commit(remembering("acme", expects=(at_most(1, **odd),)))


async def test_an_unknown_operator_or_phase_of_a_unit_is_refused(store):
    for unfit in (
        remembering("acme", expects=(replace(at_most(1), op="like"),)),
        remembering("acme", settle=(Settle(id="h1", phase="x"),)),
    ):
        with pytest.raises(StoreError):
            await store.commit(unfit)
    assert isinstance(await store.commit(remembering("acme", entry())), Committed)


async def test_racing_callers_never_pass_a_limit_and_reach_it(home):
    limit = 20 * ASKED
    store, second = await home.open(), await home.open()
    command = [sys.executable, Path(__file__).with_name("racing.py"), home.kind, home.where, "child", "8", str(limit)]
    child = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))})
    await asyncio.gather(*(reserve(each, f"{name}.{n}", limit) for name, each in (("a", store), ("b", second)) for n in range(8)))
    assert await asyncio.to_thread(child.wait) == 0
    # Whoever came last may have been refused for the sake of a call that then failed: what it gave back is free for the next.
    await reserve(store, "last", limit)
    standing = replace(reading("").event, phases=history.ALLOWED)
    assert await store.measure(TENANT, [standing]) == (Measured(number=limit),)
    sums, total = [], 0
    for each in await store.events(TENANT, limit=10_000):
        total += ASKED if ":" not in each.id else 0
        failed = each.id.endswith(":outcome") and int(each.id.split(".")[-1].removesuffix(":outcome")) % 3 == 2
        total -= ASKED if failed else 0
        sums.append(total)
    assert max(sums) == limit
    assert await store.fsck() == ()


@pytest.mark.parametrize("measure_", list(Measure), ids=str)
@pytest.mark.parametrize(
    ("index", "pins"),
    [
        ("run", {"tool": "pay", "run": "r", "subject": "s", "agent": "x"}),
        ("subject", {"tool": "pay", "subject": "s", "agent": "x"}),
        ("agent", {"tool": "pay", "agent": "x"}),
        ("tool", {"tool": "pay"}),
        ("at", {"tool": ""}),
    ],
    ids=str,
)
async def test_a_window_is_found_by_its_index(store, home, index, pins, measure_):
    usual = (entry(f"h{n}", minutes=n, tool=f"tool{n % 5}") for n in range(3000))
    many = (replace(each, run=f"r{n // 10}", agent=f"x{n % 20}", subject=f"s{n % 100}") for n, each in enumerate(usual))
    await store.commit(remembering("acme", *many))
    home.sql("ANALYZE history")
    plan = explained(home, about(measure_, **pins))
    assert set(re.findall(r"history_\w+", plan)) == {f"history_{index}"}
    assert not re.search("SCAN w|Seq Scan", plan)


async def test_an_entry_is_found_by_its_id_before_there_are_statistics(store, home):
    if home.kind == "postgres":
        with connect_writer(home.where) as connection:
            asked = (f"EXPLAIN {postgres_statements.SETTLE}", [["acme"], ["h1"], ["failed"]])
            plan = str(connection.execute(*asked, binary=True).fetchall())
            assert set(re.findall(r"history_\w+", plan)) == {"history_pkey"}
    else:
        with closing(sqlite3.connect(home.where)) as connection:
            plan = str(connection.execute(f"EXPLAIN QUERY PLAN {sqlite_statements.SETTLE}", ("[]",)).fetchall())
            assert "sqlite_autoindex_history_1 (id=? AND tenant=?)" in plan


def explained(home: Home, query: Query) -> str:
    """How the writer of this store would look for the answer."""
    if home.kind == "postgres":
        with connect_writer(home.where) as connection:
            ((text, given),) = postgres_readings.texts([("acme", query)]).values()
            return str(connection.execute(f"EXPLAIN {text}", given, binary=True).fetchall())
    plans: list[Any] = []
    with closing(sqlite3.connect(home.where)) as connection:

        def execute(text: str, given: list[Any]) -> sqlite3.Cursor:
            plans.extend(connection.execute(f"EXPLAIN QUERY PLAN {text}", given))
            return connection.execute(text, given)

        sqlite_readings.measured(execute, [("acme", query)])
    return str(plans)
