"""What is remembered, and what is answered about it: every store as the reference model does."""

import asyncio
import itertools
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.store.homes import START, Home, absent, event, put

from aegis.journal.unit import Conflict, Unit
from aegis.model import history
from aegis.model.history import MAX_TOTAL, Entry, Expect, Measure, Phase, Query, Reading, ReadingKind, Settle, measure

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
    where = str(tmp_path / "store.db") if request.param == "sqlite" else request.getfixturevalue("postgres_dsn")
    home = Home(request.param, where)
    with asyncio.Runner() as runner:
        yield runner, runner.run(home.open()), 100 if request.param == "sqlite" else 60
        runner.run(home.close())


def test_every_answer_is_that_of_the_model(player):
    runner, store, examples = player

    async def play(kept: list[Entry], asked: list[Query]) -> None:
        tenant, other = f"acme{next(_numbers)}", f"globex{next(_numbers)}"
        await asyncio.gather(store.commit(remembering(tenant, *kept)), store.commit(remembering(other, *kept[::-1])))
        stand = {entry.id: entry for entry in kept}
        assert await store.measure(tenant, asked) == tuple(measure(stand.values(), query) for query in asked)

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(entries, max_size=12), st.lists(queries, min_size=1, max_size=12))
    def law(kept: list[Entry], asked: list[Query]) -> None:
        runner.run(play(kept, asked))

    law()
    assert runner.run(store.fsck()) == ()


def test_a_group_that_expects_and_remembers_is_as_if_each_unit_had_come_by_itself(player):
    runner, store, examples = player

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

    @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))
    @given(groups, st.lists(near | queries, min_size=3, max_size=6))
    def law(asked: list[list[dict[str, Any]]], about: list[Query]) -> None:
        runner.run(play(asked, about))

    law()
    assert runner.run(store.fsck()) == ()
    told = runner.run(store.stats())
    assert told["groups_committed"] < told["units_committed"], "the units never met in a group"
