"""The history in SQLite: a statement for each shape of queries, its parameters as a table of values."""

import sqlite3
from collections.abc import Callable, Sequence

import orjson

from aegis.adapters import columns
from aegis.adapters.past import Asked, Past, asked_by, touched_by
from aegis.adapters.readings import Dialect, answer, by_shape, parameters, statement
from aegis.adapters.readings import columns as parameter_columns
from aegis.adapters.sqlite import statements
from aegis.journal.unit import Unit
from aegis.model.history import Measured

Execute = Callable[..., sqlite3.Cursor]

DIALECT = Dialect(
    path='$."{}"',
    column="+w.{}",
    value="json_extract(w.fields, q.{})",
    integer="CASE json_type(w.fields, q.{0}) WHEN 'integer' THEN json_extract(w.fields, q.{0}) END",
    string="CASE json_type(w.fields, q.{0}) WHEN 'text' THEN json_extract(w.fields, q.{0}) END",
    # Neither side has an affinity, so values of different types are not equal.
    member="json_extract(w.fields, q.{}) IN (SELECT value FROM json_each(q.{}))",
    total="json_array(sum(v >> 32), sum(v & 4294967295))",
    values="json_group_array(v)",
    last="json_array(w.at, w.id)",
    touched="NOT EXISTS (SELECT 1 FROM temp.touched t WHERE t.tenant = w.tenant AND t.id = w.id)",
)


def prepare(execute: Execute) -> None:
    """Make what the writer's connection needs: a table, because SQLite would build a list anew for each query of a statement."""
    execute("CREATE TEMP TABLE touched (tenant TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (tenant, id)) WITHOUT ROWID")


def past_of(execute: Execute, units: Sequence[Unit]) -> Past:
    """The history that a group starts from, as it stands under the write lock; nothing is read unless some unit expects."""
    if not (asked := asked_by(units)):
        return Past()
    entries = {}
    if names := touched_by(units):
        found = execute(statements.ENTRIES, (orjson.dumps(names).decode(),)).fetchall()
        entries = {(tenant, entry.id): entry for tenant, entry in map(columns.entry, found)}
    if entries:
        execute("DELETE FROM temp.touched")
        execute(statements.TOUCH, (orjson.dumps(list(entries)).decode(),))
    return Past(measured(execute, asked, touching=bool(entries)), entries)


def measured(execute: Execute, asked: Sequence[Asked], *, touching: bool = False) -> dict[Asked, Measured]:
    """The answers over the stored entries; `touching`: but for those in the table of touched ones."""
    answers: dict[Asked, Measured] = {}
    for shape, queries in by_shape(asked).items():
        names = [name for name, _ in parameter_columns(shape)]
        text = (f"WITH q({', '.join(names)}) AS (VALUES ", len(names), f") {statement(DIALECT, shape, touching=touching)}")
        for sql, values in statements.inserts(text, [parameters(DIALECT, *query) for query in queries]):
            for number, found in execute(sql, values).fetchall():
                answers[asked[number]] = answer(shape.measure, found)
    return answers
