"""What is remembered, and what is answered about it: every store as the reference model does."""

import asyncio
import itertools
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.store.homes import START, Home, event

from aegis.journal.unit import Unit
from aegis.model import history
from aegis.model.history import MAX_TOTAL, Entry, Measure, Phase, Query, measure

_numbers = itertools.count()

FIELDS = ("n", "s", "parsed.to.domain", "ü[0]")
values = st.one_of(
    st.integers(-3, 3),
    st.sampled_from([MAX_TOTAL, -MAX_TOTAL, MAX_TOTAL - 1, 2**32, -(2**32) - 1]),
    st.sampled_from(["", "1", "-1", "a", "A", "é", "\U0001f600", "\uffff", '"', "true", "null"]),
)
instants = st.integers(-3, 3).map(lambda n: START + timedelta(microseconds=n))
ids = st.sampled_from(["a", "b", "c", "d", "e", "f"])
phases = st.sampled_from(list(Phase))
agents = st.sampled_from(["", "x", "y"])
entries = st.builds(
    Entry,
    id=ids,
    tool=st.sampled_from(["pay", "read"]),
    at=instants,
    phase=phases,
    agent=agents,
    run=agents,
    subject=agents,
    fields=st.dictionaries(st.sampled_from(FIELDS), values, max_size=4),
)
tests = st.builds(
    history.Test,
    field=st.sampled_from([*FIELDS, "missing"]),
    op=st.sampled_from(["eq", "ne", "in", "gt", "gte", "lt", "lte"]),
    values=st.lists(values, max_size=3).map(tuple),
)
queries = st.builds(
    Query,
    tool=st.sampled_from(["", "pay", "read"]),
    phases=st.lists(phases, max_size=5).map(tuple) | st.just(tuple(Phase)),
    since=instants,
    measure=st.sampled_from(list(Measure)),
    of=st.sampled_from([*FIELDS, "missing"]),
    agent=agents,
    run=agents,
    subject=agents,
    tests=st.lists(tests, max_size=2).map(tuple),
    excluding=ids | st.just(""),
)


def remembering(tenant: str, *remembered: Entry, **about: Any) -> Unit:
    return Unit(tenant=tenant, events=(event(tenant, f"e{next(_numbers)}"),), remember=remembered, **about)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def player(request, tmp_path):
    """A store and a runner for properties."""
    where = str(tmp_path / "store.db") if request.param == "sqlite" else request.getfixturevalue("postgres_dsn")
    home = Home(request.param, where)
    with asyncio.Runner() as runner:
        yield runner, runner.run(home.open()), 150 if request.param == "sqlite" else 80
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
