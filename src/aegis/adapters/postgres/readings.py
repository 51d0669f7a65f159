"""The history in PostgreSQL: a statement for each shape of queries, their parameters as arrays, all in one round trip."""

from collections.abc import Iterable, Sequence
from typing import Any

from aegis.adapters import columns
from aegis.adapters.past import Asked, Name, Past
from aegis.adapters.postgres import statements
from aegis.adapters.readings import Dialect, Shape, answer, by_shape, parameters, statement
from aegis.adapters.readings import columns as parameter_columns
from aegis.model.history import Measured

Text = tuple[str, Sequence[Any]]

DIALECT = Dialect(
    path="{}",
    column="(w.{} || '')",
    value="(w.fields -> q.{})",
    # CASE, because the order of other conditions is not promised, and a cast of a string would fail.
    integer="CASE jsonb_typeof(w.fields -> q.{0}) WHEN 'number' THEN (w.fields ->> q.{0})::bigint END",
    string="CASE jsonb_typeof(w.fields -> q.{0}) WHEN 'string' THEN w.fields ->> q.{0} END COLLATE \"C\"",
    member="q.{1}::jsonb @> (w.fields -> q.{0})",
    total="json_build_array(sum(v >> 32), sum(v & 4294967295))::text",
    values="coalesce(jsonb_agg(v), '[]')::text",
    last="json_build_array(w.at, w.id)::text",
    touched="(w.tenant, w.id) NOT IN (SELECT * FROM unnest(%b::text[], %b::text[]))",
)
_ARRAYS = {int: "%b::bigint[]", str: "%b::text[]"}


def texts(asked: Sequence[Asked], touched: Sequence[Name] = ()) -> dict[Shape, Text]:
    """The statements that give the answers over the stored entries, but for the touched ones."""
    last = statements.arrays(touched) if touched else []
    return {
        shape: (_text(shape, touching=bool(touched)), statements.arrays([parameters(DIALECT, *query) for query in queries]) + last)
        for shape, queries in by_shape(asked).items()
    }


def answers(asked: Sequence[Asked], found: Iterable[tuple[Shape, Iterable[Any]]]) -> dict[Asked, Measured]:
    """What the result rows of each statement say."""
    return {asked[number]: answer(shape.measure, said) for shape, rows in found for number, said in rows}


def past(asked: Sequence[Asked], found: Iterable[tuple[Shape, Iterable[Any]]], entries: Iterable[Any]) -> Past:
    """The history that a group starts from."""
    named = map(columns.entry, entries)
    return Past(answers(asked, found), {(tenant, entry.id): entry for tenant, entry in named})


def _text(shape: Shape, *, touching: bool) -> str:
    names, types = zip(*parameter_columns(shape), strict=True)
    table = f"SELECT * FROM unnest({', '.join(_ARRAYS[each] for each in types)}) k ({', '.join(names)})"  # noqa: S608 - constants
    return f"WITH q AS ({table}) {statement(DIALECT, shape, touching=touching)}"
