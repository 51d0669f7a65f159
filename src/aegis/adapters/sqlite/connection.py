"""Connections to the database file, and what SQLite's error codes mean for a unit."""

import sqlite3
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aegis.adapters.group import Stop, UnfitError
from aegis.errors import ConfigError, CorruptStoreError, StoreBusyError, StoreError, StoreHaltedError, StoreUncertainError

OLDEST = (3, 35, 0)
BUSY_MILLIS = 10_000
WRITER_CACHE_KIB = 32 * 1024
_FULL_SYNC = 2

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_UNFIT = {sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_RANGE}
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
# These leave the file as it was, and may pass.
_PASSING = {
    sqlite3.SQLITE_FULL: "no room is left on the disk: make room, nothing else is needed",
    sqlite3.SQLITE_NOMEM: "memory is exhausted",
    sqlite3.SQLITE_CANTOPEN: "a file of the store cannot be opened",
    sqlite3.SQLITE_READONLY: "the store is read-only for this process",
    sqlite3.SQLITE_PERM: "a file of the store may not be used by this process",
}


def connect(path: Path, *, reads_only: bool = False) -> sqlite3.Connection:
    """A connection in autocommit mode that is durable to the disk; any thread may use it, one at a time."""
    if sqlite3.sqlite_version_info < OLDEST:
        raise ConfigError(f"SQLite {sqlite3.sqlite_version} is too old: expected {'.'.join(map(str, OLDEST))} or newer")
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    try:
        _prepare(connection, reads_only=reads_only)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, *, reads_only: bool) -> None:
    execute = connection.execute
    execute(f"PRAGMA busy_timeout = {BUSY_MILLIS}")
    if execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
        raise ConfigError("SQLite cannot keep a write-ahead log here: put the store on a local file system")
    execute("PRAGMA synchronous = FULL")
    execute("PRAGMA fullfsync = ON")
    execute("PRAGMA secure_delete = ON")  # a destroyed key must not stay in a free page
    execute("PRAGMA temp_store = MEMORY")
    execute("PRAGMA trusted_schema = OFF")
    execute("PRAGMA wal_autocheckpoint = 0")  # the automatic one hides its errors; the writer does its own
    if reads_only:
        execute("PRAGMA query_only = ON")
    else:
        execute(f"PRAGMA cache_size = -{WRITER_CACHE_KIB}")
    if execute("PRAGMA synchronous").fetchone() != (_FULL_SYNC,):
        raise StoreError("SQLite does not keep `synchronous = FULL`: what it acknowledges would not be durable")


def translated(error: sqlite3.Error, *, committing: bool = False) -> StoreError | Stop:
    """What an error of the writer's connection means; `committing` when a COMMIT was under way."""
    extended = getattr(error, "sqlite_errorcode", None)
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    code = None if extended is None else extended & 0xFF
    if code in _BUSY:
        return StoreBusyError("another process holds the store's write lock")
    if code in _UNFIT:
        return UnfitError(f"the database refused the data of a unit ({name})")
    if code in _PASSING:
        return StoreError(f"{_PASSING[code]} ({name})")
    if code in _CORRUPT:
        return Stop(CorruptStoreError(f"the database file is damaged ({name}): run `aegis fsck`, then restore"))
    if committing:
        # The frames may be in the log although they were not synced: after a restart the unit may turn out to be there.
        return Stop(StoreUncertainError(f"a write to stable storage failed while committing ({name})"))
    return Stop(StoreHaltedError(f"a write to stable storage failed ({name})"))


def opened(path: Path) -> sqlite3.Connection:
    """A connection that only reads; SQLite's errors come out as `StoreError`."""
    try:
        return connect(path, reads_only=True)
    except sqlite3.Error as error:
        found = translated(error)
        raise (found.error if isinstance(found, Stop) else found) from error


class Readers:
    """Connections that only read, as many as are used at once; each use has one to itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: deque[sqlite3.Connection] = deque()
        self._closed = False

    @contextmanager
    def one(self) -> Iterator[sqlite3.Connection]:
        """A connection; SQLite's errors come out as `StoreError`."""
        if self._closed:
            raise StoreError("the store is closed")
        connection = self._borrow()
        try:
            yield connection
            if connection.in_transaction:  # a snapshot ends with its use
                connection.rollback()
        except sqlite3.Error as error:
            connection.close()
            found = translated(error)
            raise (found.error if isinstance(found, Stop) else found) from error
        except (UnicodeEncodeError, OverflowError):
            connection.close()
            raise StoreError("a name or number that was asked for is one that no column can hold") from None
        except BaseException:
            connection.close()
            raise
        self._give_back(connection)

    def close(self) -> None:
        """Close what is idle now; the others close when they come back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _borrow(self) -> sqlite3.Connection:
        try:
            return self._idle.pop()
        except IndexError:
            return opened(self._path)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        if self._closed:
            connection.close()
        else:
            self._idle.append(connection)
