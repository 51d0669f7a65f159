"""Which processes serve: each changes its row again and again, and one whose row stands still is gone.

DBOS counts what a process had started against the limits of its lane until somebody says that it will not end. Here the others
say so. No clock is compared with another: each process watches by its own, which never goes back, how long a row stands still.

The rule: `lease_seconds` without a change, and the tasks that it had started wait again in their queues, under the same ids.
Whoever takes one finds in the journal whether it was claimed; then nothing happens, and the sweep hands the command in under its
next number. Who could not look for a while, because the database or it itself stood still, watches anew: it cannot tell whether
the others could write. A process that was only suspended finds its row gone, writes it anew, and goes on; what it answers is
refused by the journal where another took over.
"""

import time

import sqlalchemy as sa

from aegis.adapters.engines.dbos_database import SCHEMA
from aegis.adapters.engines.dbos_rows import Rows


class Executors:
    """The rows of the processes that serve, seen by the one that is called `own`."""

    def __init__(self, engine: sa.Engine, rows: Rows, own: str, lease_seconds: float) -> None:
        schema = SCHEMA if engine.dialect.name == "postgresql" else None
        self._engine = engine
        self._tasks = rows
        self._own = own
        self._lease = lease_seconds
        self._seen: dict[str, tuple[int, float]] = {}
        self._looked = 0.0
        self._rows = sa.Table(
            "aegis_executor",
            sa.MetaData(schema=schema),
            sa.Column("id", sa.Text, primary_key=True),
            sa.Column("beats", sa.BigInteger, nullable=False),
        )

    def create(self) -> None:
        """Make the table where it is missing."""
        with self._engine.begin() as connection:
            name = self._rows.fullname
            connection.exec_driver_sql(f"CREATE TABLE IF NOT EXISTS {name} (id TEXT PRIMARY KEY, beats BIGINT NOT NULL)")

    def beat(self) -> int:
        """Say that this process lives, and give back what those had started that do not; how many tasks."""
        with self._engine.begin() as connection:
            mine = self._rows.c.id == self._own
            if not connection.execute(self._rows.update().where(mine).values(beats=self._rows.c.beats + 1)).rowcount:
                connection.execute(self._rows.insert().values(id=self._own, beats=1))
            found = {row.id: row.beats for row in connection.execute(self._rows.select())}
        return sum(self._bury(executor) for executor in self._gone(found, time.monotonic()))

    def leave(self) -> None:
        """This process serves no more."""
        self._forget(self._own)

    def _gone(self, found: dict[str, int], now: float) -> list[str]:
        """Those whose rows did not change for as long as the lease."""
        last = self._seen if now - self._looked < self._lease / 2 else {}
        self._looked = now
        self._seen = {each: last[each] if last.get(each, (0,))[0] == beats else (beats, now) for each, beats in found.items()}
        return [each for each, (_, since) in self._seen.items() if each != self._own and now - since >= self._lease]

    def _bury(self, executor: str) -> int:
        count = self._tasks.give_back(executor)
        self._forget(executor)
        return count

    def _forget(self, executor: str) -> None:
        with self._engine.begin() as connection:
            connection.execute(self._rows.delete().where(self._rows.c.id == executor))
