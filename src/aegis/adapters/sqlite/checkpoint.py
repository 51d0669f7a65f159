"""Move the log into the database file without holding up those who commit.

SQLite begins its log anew only when all of it has been moved and nobody reads it. A thread with a connection of its own moves
what is there while the writer goes on; then the writer itself moves the few frames that came meanwhile, between two groups.
SQLite's automatic checkpoint does all of it inside a COMMIT and hides its errors: a failed sync must stop the writer.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from threading import Thread

from aegis.adapters.sqlite.connection import connect

PAGES = 2_000
"""Pages of log, by estimate, after which it is moved: about 8 MB."""

_PAGES_PER_GROUP = 8
_PAGES_PER_UNIT = 3


class Checkpoints:
    """When the log is moved; for the writer's thread alone. Errors of the thread beside it come out of `step`."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._pages = 0
        self._mover: Thread | None = None
        self._failed: sqlite3.Error | None = None

    def wrote(self, units: int) -> None:
        """Count what a group added to the log."""
        self._pages += _PAGES_PER_GROUP + _PAGES_PER_UNIT * units

    def step(self) -> None:
        """Begin to move the log, or finish, or neither."""
        if self._mover is None:
            if self._pages >= PAGES:
                self._mover = Thread(target=self._move, name="aegis-sqlite-checkpoint", daemon=True)
                self._mover.start()
        elif not self._mover.is_alive():
            self._join()
            self._pages = 0
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def finish(self) -> None:
        """Move what can be moved without holding up another process; SQLite removes the log when the last one closes."""
        self._join()
        self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def _move(self) -> None:
        try:
            with closing(connect(self._path)) as connection:
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            self._failed = error

    def _join(self) -> None:
        if self._mover is not None:
            self._mover.join()
            self._mover = None
        if self._failed is not None:
            raise self._failed
