"""Places where a store can live, so that one suite runs on both, and the units that tests commit."""

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from tests.made_once import copy_store
from tests.postgres_server import migrated_database

from aegis.adapters import postgres, sqlite
from aegis.journal.store import Store
from aegis.journal.unit import Payload, Put, Require, Unit
from aegis.model.event import Event

START = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
KINDS = ("sqlite", "postgres")
BEFORE_EVIDENCE = (
    "DROP TABLE tile",
    "DROP TABLE posting",
    "ALTER TABLE head DROP COLUMN frontier",
    "ALTER TABLE head DROP COLUMN first",
)
"""What takes a store back behind the revision that brought the Merkle log."""


def now() -> datetime:
    return START


class Home:
    """A database of its own: `open` opens a store on it, `sql` goes behind the store's back."""

    def __init__(self, kind: str, where: str) -> None:
        self.kind = kind
        self.where = where
        self._opened: list[Store] = []

    async def open(self, **options: Any) -> Store:
        store: Store
        if self.kind == "sqlite":
            store = await sqlite.open_store(Path(self.where), clock=now, **options)
        else:
            store = await postgres.open_store(self.where, clock=now, **options)
        self._opened.append(store)
        return store

    async def close(self) -> None:
        await asyncio.gather(*(store.close() for store in self._opened))

    def sql(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run `statements` in one transaction; the rows of the last one, if it has any."""
        if self.kind == "sqlite":
            with closing(sqlite3.connect(self.where)) as connection, connection:
                return [connection.execute(statement).fetchall() for statement in statements][-1]
        with psycopg.connect(self.where) as connection:
            cursors = [connection.execute(statement) for statement in statements]
            return cursors[-1].fetchall() if cursors[-1].description else []


def ready(kind: str, folder: Path) -> Home:
    """A home whose database stands at the newest revision already, and holds nothing."""
    if kind == "sqlite":
        copy_store(folder / "store.db")
        return Home(kind, str(folder / "store.db"))
    return Home(kind, migrated_database())


def event(tenant: str, event_id: str, *, request_id: str = "req_1", minutes: float = 0, **data: Any) -> Event:
    return Event(
        id=event_id, type="decision", tenant=tenant, time=START + timedelta(minutes=minutes), request_id=request_id, data=data
    )


def unit(tenant: str, *ids: str, writes: tuple[Any, ...] = (), requires: tuple[Require, ...] = (), **about: Any) -> Unit:
    return Unit(tenant=tenant, events=tuple(event(tenant, each, **about) for each in ids), writes=writes, requires=requires)


def put(row_id: str, body: bytes = b"{}", *, kind: str = "call", **about: Any) -> Put:
    return Put(kind=kind, id=row_id, body=body, **about)


def absent(row_id: str, kind: str = "call") -> Require:
    return Require(kind=kind, id=row_id, version=0)


def sealed(event_id: str, name: str = "arguments", key_id: str = "key_1") -> Payload:
    return Payload(event_id=event_id, name=name, key_id=key_id, nonce=b"n" * 12, ciphertext=b"\x00\xff" * 20)
