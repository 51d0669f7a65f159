"""Open a store: create or migrate it, make it durable, and check that it is sound."""

import asyncio
import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

from aegis.adapters import migrate
from aegis.adapters.group import Stop
from aegis.adapters.sqlite.connection import connect, translated
from aegis.adapters.sqlite.inspection import check_ends, check_everything
from aegis.adapters.sqlite.store import SqliteStore
from aegis.adapters.sqlite.writer import doubt_file
from aegis.errors import StoreError, StoreHaltedError


async def open_store(path: Path, *, clock: Callable[[], datetime], check: bool = True) -> SqliteStore:
    """The store in the file `path`, created and migrated where need be.

    Several processes may open it at once. After a failed write the first opening checks everything, which takes a while.
    `check=False` opens a store that may contradict itself, so that `fsck` can say how.

    Raises:
        StoreError: The file cannot be used, or was written by a newer version.
        CorruptStoreError: The store contradicts itself.
    """
    return await asyncio.to_thread(_open, Path(path), clock, check)


def _open(path: Path, clock: Callable[[], datetime], check: bool) -> SqliteStore:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            _create(path)
            with closing(connect(path)) as connection:
                if migrate.behind(_revision(connection)):
                    migrate.upgrade("sqlite", lambda: connect(path), "BEGIN IMMEDIATE")
                if check:
                    _check(path, connection)
            return SqliteStore(path, clock)
    except sqlite3.Error as error:
        found = translated(error)
        raise (found.error if isinstance(found, Stop) else found) from error
    except OSError as error:
        raise StoreError(f"`{path.name}` cannot be opened: {error.strerror}") from error


def _check(path: Path, connection: sqlite3.Connection) -> None:
    doubt = doubt_file(path)
    if doubt.exists():
        # A failed sync may have left the log's pages in memory only, marked as written: whatever follows them in the log would be
        # lost with them. Moving the log into the database writes and syncs them anew, and begins another log.
        busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise StoreHaltedError("a write to stable storage failed: stop every process that uses the store, then open it anew")
        check_everything(connection)
        doubt.unlink(missing_ok=True)
    else:
        check_ends(connection)


def _revision(connection: sqlite3.Connection) -> str | None:
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone() is None:
        return None
    found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return found[0] if found else None


def _create(path: Path) -> None:
    """An empty file that only its owner may read, in a directory that remembers it.

    A file that is there is not touched: closing a handle of it would drop every lock that this process holds on it, and another
    process would take the log away from under the connections of a store that is open here already.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time creates, migrates and checks; the kernel drops the lock of one that dies."""
    descriptor = os.open(path.with_name(path.name + ".opening"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
