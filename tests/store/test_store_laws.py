"""A group of units is as if each had come by itself, in the order in which they were asked for."""

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.store.homes import event, ready

from aegis.errors import CanonicalError
from aegis.journal.unit import Committed, Conflict, Delete, Existing, Put, Require, Unit

_numbers = itertools.count()

names = st.sampled_from(["a", "b", "c"])
kinds = st.sampled_from(["call", "claim"])
writes = st.one_of(
    st.builds(Put, kind=kinds, id=names, body=st.sampled_from([b"1", b"2"]), state=st.sampled_from(["", "x"])),
    st.builds(Delete, kind=kinds, id=names),
)
requires = st.builds(Require, kind=kinds, id=names, version=st.integers(0, 3))
plans = st.fixed_dictionaries(
    {
        "tenant": st.sampled_from(["one", "two"]),
        "ids": st.lists(st.integers(0, 12).map(str), max_size=2, unique=True),
        "writes": st.lists(writes, max_size=3),
        "requires": st.lists(requires, max_size=2),
        "float": st.integers(0, 9).map(lambda n: n == 0),
    }
)
groups = st.lists(st.lists(plans, min_size=1, max_size=8), min_size=1, max_size=5)


class Model:
    """The same promises, written as simply as can be."""

    def __init__(self) -> None:
        self.events: dict[str, list[str]] = {}
        self.rows: dict[tuple[str, str, str], tuple[int, bytes, str]] = {}

    def take(self, unit: Unit) -> tuple[str, Any]:
        log = self.events.setdefault(unit.tenant, [])
        if existing := [each.id for each in unit.events if each.id in log]:
            return ("existing", [(log.index(each), each) for each in existing])
        keys = [(unit.tenant, each.kind, each.id) for each in unit.requires]
        standing = [self.rows.get(key, (0, b"", ""))[0] for key in keys]
        wrong = [key for key, version, each in zip(keys, standing, unit.requires, strict=True) if version != each.version]
        if wrong:
            return ("conflict", {key: self.rows[key] for key in wrong if key in self.rows})
        if any("float" in each.data for each in unit.events):
            return ("not canonical", None)
        first = len(log)
        log += [each.id for each in unit.events]
        for write in unit.writes:
            key = (unit.tenant, write.kind, write.id)
            if isinstance(write, Put):
                self.rows[key] = (self.rows.get(key, (0,))[0] + 1, write.body, write.state)
            else:
                self.rows.pop(key, None)
        return ("committed", list(enumerate(log[first:], first)))


def said(receipt: Any) -> tuple[str, Any]:
    """A receipt in the words of the model."""
    match receipt:
        case Committed():
            return ("committed", [(each.seq, each.id) for each in receipt.events])
        case Existing():
            return ("existing", [(each.seq, each.id) for each in receipt.events])
        case Conflict():
            return ("conflict", {(row.tenant, row.kind, row.id): (row.version, row.body, row.state) for row in receipt.rows})
        case CanonicalError():
            return ("not canonical", None)
    raise receipt


def built(plan: dict[str, Any], example: int) -> Unit:
    tenant = f"{plan['tenant']}{example}"
    data = {"float": 0.5} if plan["float"] else {}
    return Unit(
        tenant=tenant,
        events=tuple(event(tenant, each, **data) for each in plan["ids"]),
        writes=tuple(plan["writes"]),
        requires=tuple(plan["requires"]),
    )


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_a_group_is_as_if_each_unit_had_come_by_itself(kind, tmp_path):
    home = ready(kind, tmp_path)
    with asyncio.Runner() as runner:
        store = runner.run(home.open())

        async def play(asked: list[list[dict[str, Any]]]) -> None:
            model, example = Model(), next(_numbers)
            for group in asked:
                units = [built(plan, example) for plan in group]
                answers = await asyncio.gather(*map(store.commit, units), return_exceptions=True)
                assert [said(answer) for answer in answers] == [model.take(unit) for unit in units]
            for tenant, log in model.events.items():
                assert [(each.seq, each.id) for each in await store.events(tenant)] == list(enumerate(log))
                rows = [row for kind in ("call", "claim") for row in await store.find(tenant, kind)]
                assert {(row.tenant, row.kind, row.id): (row.version, row.body, row.state) for row in rows} == {
                    key: row for key, row in model.rows.items() if key[0] == tenant
                }

        @settings(max_examples=60 if kind == "sqlite" else 30, deadline=None, suppress_health_check=list(HealthCheck))
        @given(groups)
        def law(asked: list[list[dict[str, Any]]]) -> None:
            runner.run(play(asked))

        law()
        assert runner.run(store.fsck()) == ()
        runner.run(home.close())
