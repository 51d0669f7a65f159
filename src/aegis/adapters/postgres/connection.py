"""Connections to the database, and what PostgreSQL's errors mean for a unit."""

import hashlib
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from aegis.adapters.group import Stop, UnfitError
from aegis.adapters.postgres import tenancy
from aegis.errors import ConfigError, CorruptStoreError, StoreBusyError, StoreError, StoreHaltedError

OLDEST = 130_000
LOCK_SECONDS = 10

# A dead peer must be noticed while a call can still be refused in time; a setting in the DSN wins.
_DEFAULTS: dict[str, Any] = {
    "application_name": "aegis",
    "connect_timeout": 5,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}
_DURABLE = ("on", "remote_apply")
_BUSY = {"55P03"}
_AGAIN = {"40001", "40P01"}
_NO_ROOM = {"53100"}
_DAMAGED = {"XX001", "XX002"}
_FAILED_WRITE = {"58030"}


class LostError(StoreError):
    """The connection is gone. Whether that leaves a doubt depends on what was under way."""


class AgainError(StoreError):
    """Another transaction stood in the way; nothing was recorded and the same may be tried again."""


def connect(dsn: str) -> Connection:
    """A connection in autocommit mode.

    Raises:
        ConfigError: The DSN cannot be read.
        LostError: The server does not answer.
    """
    try:
        conninfo = make_conninfo("", **{**_DEFAULTS, **conninfo_to_dict(dsn)})
    except psycopg.ProgrammingError:
        raise ConfigError("`store.url` is not a connection string of PostgreSQL: expected postgresql://HOST/DATABASE") from None
    try:
        return psycopg.connect(conninfo, autocommit=True)
    except psycopg.Error as error:
        raise LostError(f"PostgreSQL does not answer ({type(error).__name__})") from error


def connect_writer(dsn: str) -> Connection:
    """A connection whose commits are on the server's disk when they are acknowledged, and whose plans look up by index."""
    return _prepared(dsn, _write_durably, tenancy.confine)


def connect_reader(dsn: str) -> Connection:
    """A connection that is kept to the tenants that it names."""
    return _prepared(dsn, tenancy.confine)


def _prepared(dsn: str, *steps: Callable[[Connection], None]) -> Connection:
    """A connection on which `steps` have been taken; it is closed when one cannot be."""
    connection = connect(dsn)
    try:
        for step in steps:
            step(connection)
    except psycopg.Error as error:
        connection.close()
        raise LostError(f"PostgreSQL does not answer ({type(error).__name__})") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _write_durably(connection: Connection) -> None:
    _require_durable(connection)
    for setting in (
        "SET jit = off",
        "SET enable_seqscan = off",
        "SET enable_hashjoin = off",
        "SET enable_mergejoin = off",
        "SET plan_cache_mode = force_generic_plan",
        f"SET lock_timeout = '{LOCK_SECONDS}s'",
        "SET default_transaction_isolation = 'read committed'",
    ):
        connection.execute(setting)


def _require_durable(connection: Connection) -> None:
    if connection.info.server_version < OLDEST:
        raise ConfigError(f"PostgreSQL {connection.info.server_version // 10_000} is too old: expected 13 or newer")
    for name in ("fsync", "full_page_writes"):
        if _shown(connection, name) != "on":
            raise StoreError(f"the server runs with `{name} = off`: what it acknowledges would not be durable")
    if _shown(connection, "server_encoding") != "UTF8":
        raise ConfigError("the database's encoding must be UTF8")
    if _shown(connection, "synchronous_commit") not in _DURABLE:
        connection.execute("SET synchronous_commit = on")
    if _shown(connection, "synchronous_commit") not in _DURABLE:
        raise StoreError("the server does not keep `synchronous_commit = on`: what it acknowledges would not be durable")


def _shown(connection: Connection, name: str) -> str:
    found = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    return str(found[0]) if found else ""


def translated(error: psycopg.Error, connection: Connection | None) -> StoreError | Stop:
    """What an error means; it is `LostError` when the connection did not survive it."""
    if connection is None or connection.closed or connection.broken:
        return LostError(f"the connection to PostgreSQL was lost ({type(error).__name__})")
    state = error.sqlstate or ""
    if state in _AGAIN:
        return AgainError(f"another transaction stood in the way ({state})")
    if state in _BUSY:
        return StoreBusyError("another process holds the tenant's journal")
    if state in _NO_ROOM:
        return StoreError(f"no room is left on the server's disk: make room, nothing else is needed ({state})")
    if state in _DAMAGED:
        return Stop(CorruptStoreError(f"the database is damaged ({state}): run `aegis fsck`, then restore"))
    if state in _FAILED_WRITE:
        return Stop(StoreHaltedError(f"the server failed to read or write its disk ({state})"))
    if state[:2] in ("22", "23"):
        return UnfitError(f"the database refused the data of a unit ({state})")
    return StoreError(f"PostgreSQL refused ({state or type(error).__name__})")


def lock_key(purpose: str, name: str) -> int:
    """A key for advisory locks: 64 bits of a digest, signed."""
    return int.from_bytes(hashlib.sha256(f"aegis {purpose}\0{name}".encode()).digest()[:8], "big", signed=True)
