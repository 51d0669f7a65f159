"""Open a store: create or migrate its tables, make sure that it is durable, and check that it is sound."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from datetime import datetime

import psycopg
from psycopg import Connection

from aegis.adapters import migrate, schema
from aegis.adapters.group import Stop
from aegis.adapters.postgres import tenancy
from aegis.adapters.postgres.connection import connect, lock_key, translated
from aegis.adapters.postgres.inspection import check_ends
from aegis.adapters.postgres.store import PostgresStore


async def open_store(dsn: str, *, clock: Callable[[], datetime], check: bool = True) -> PostgresStore:
    """The store in the database `dsn`, its tables created and migrated where need be.

    Several processes may open it at once. `check=False` opens a store that may contradict itself, so that `fsck` can say how.

    Raises:
        StoreError: The server cannot be reached, is not durable, or the store was written by a newer version.
        CorruptStoreError: The store contradicts itself.
    """
    return await asyncio.to_thread(_open, dsn, clock, check)


def _open(dsn: str, clock: Callable[[], datetime], check: bool) -> PostgresStore:
    with closing(connect(dsn)) as connection:
        try:
            # One process at a time looks and migrates; the lock goes with the session.
            connection.execute("SELECT pg_advisory_lock(%s)", (lock_key("migrate", ""),))
            if migrate.behind(_revision(connection)):
                migrate.upgrade("postgresql+psycopg", lambda: _for_all(dsn), "")
            tenancy.prepare(connection, schema.metadata.tables)
            if check:
                with connection.transaction():
                    connection.execute(*tenancy.EVERY)
                    check_ends(connection)
        except psycopg.Error as error:
            found = translated(error, connection)
            raise (found.error if isinstance(found, Stop) else found) from error
    return PostgresStore(dsn, clock)


def _for_all(dsn: str) -> Connection:
    """A connection for revisions, which may have to change rows of every tenant."""
    connection = psycopg.connect(dsn)
    connection.execute("SELECT set_config('aegis.tenants', '*', false)")
    connection.commit()
    return connection


def _revision(connection: Connection) -> str | None:
    (table,) = connection.execute("SELECT to_regclass('alembic_version')").fetchone() or (None,)
    if table is None:
        return None
    found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(found[0]) if found else None
