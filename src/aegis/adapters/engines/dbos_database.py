"""The database of the dispatcher: made ready, and opened so that nothing is lost and no limit is passed.

On SQLite every transaction is immediate: it takes the write lock before it reads. DBOS counts what runs and then claims what waits;
left to the driver, those would be two transactions, and two processes could both find room for one. WAL with `synchronous=FULL`
keeps what was committed through a power cut. SQLite below 3.42 has no `unixepoch('subsec')`, which the tables of DBOS use for
their times, so it is given one.

On PostgreSQL the tables lie in a schema of their own, in whatever database the URL names.
"""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from dbos import DBOSClient, Serializer

from aegis.errors import AegisError, StoreError

SCHEMA = "aegis_dispatch"
APPLICATION = "aegis"
_POOL = 8


class Plain(Serializer):
    """JSON and nothing else: whatever lies in the database, reading it runs no code."""

    def serialize(self, data: Any) -> str:
        """As JSON."""
        return json.dumps(data)

    def deserialize(cls, serialized_data: str) -> Any:  # noqa: N805 - the name that the base class gives it
        """From JSON."""
        return json.loads(serialized_data)

    def name(self) -> str:
        """What stands beside each row."""
        return "aegis_json"


def opened(url: str, *, immediate: bool = True) -> sa.Engine:
    """The database at `sqlite:PATH` or `postgresql://...`; `immediate=False` is for migrations, which begin by themselves."""
    if not url.startswith("sqlite:"):
        found = sa.make_url(url).set(drivername="postgresql+psycopg")
        return sa.create_engine(found, pool_size=_POOL, max_overflow=_POOL, pool_pre_ping=True)
    engine = sa.create_engine(f"sqlite:///{url.removeprefix('sqlite:')}", pool_size=_POOL, max_overflow=_POOL)
    sa.event.listen(engine, "connect", _durable if not immediate else _durable_by_hand)
    if immediate:
        sa.event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _durable(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = "IMMEDIATE"
    for pragma in ("busy_timeout=30000", "foreign_keys=ON", "journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")
    if sqlite3.sqlite_version_info < (3, 42):
        connection.create_function("unixepoch", 1, _unixepoch)


def _durable_by_hand(connection: sqlite3.Connection, record: object) -> None:
    _durable(connection, record)
    connection.isolation_level = None


def _unixepoch(modifier: str) -> float:
    return time.time() if modifier == "subsec" else int(time.time())


def client(engine: sa.Engine) -> DBOSClient:
    """What enqueues, cancels, lists and deletes; it connects when it is first used, and tells at once when it cannot."""
    return DBOSClient(
        system_database_engine=engine,
        dbos_system_schema=SCHEMA if engine.dialect.name == "postgresql" else None,
        serializer=Plain(),
        application_name=APPLICATION,
        lazy=True,
        retry_connection_errors=False,
    )


def prepare(url: str) -> None:
    """Make the tables, or bring them to what this version of DBOS expects.

    Raises:
        StoreError: The database cannot be used.
    """
    engine = opened(url, immediate=False)
    with told("prepare"):
        try:
            client(engine)._sys_db.run_migrations()  # noqa: SLF001 - the public `DBOS.migrate` takes no engine of ours
        finally:
            engine.dispose()


@contextmanager
def told(what: str) -> Iterator[None]:
    """Say what a failure of the database means here, and what to do.

    Raises:
        StoreError: Whatever DBOS, the driver or the database raised.
    """
    try:
        yield
    except AegisError:
        raise
    except Exception as error:
        raise StoreError(
            f"the database of the dispatcher cannot be used to {what} ({type(error).__name__}): check `workflows.database`, that "
            "nothing else holds it locked, and that its role may create a schema and tables; "
            'or set `workflows.engine = "local"`'
        ) from error
