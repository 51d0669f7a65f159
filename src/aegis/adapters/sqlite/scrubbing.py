"""After a key was destroyed: empty the write-ahead log.

`secure_delete` wipes in its page whatever is deleted or replaced. The log still holds pages as they were before, and the database
file holds them until the log has been moved into it: both are over once the log has been moved and cut to nothing. That needs a
moment in which nobody reads an older snapshot, so it is tried for a while, holding up nobody for longer than a part of it.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from time import sleep

from aegis.adapters.sqlite.connection import connect

TRIES = 20
_WAIT_MILLIS = 250
_PAUSE_SECONDS = 0.1
LEFT = (
    "the write-ahead log of the store could not be emptied, since somebody keeps reading: the wrapped keys are in it until it is;"
    " run `aegis audit erase --subject ID` again"
)


def scrub(path: Path) -> str:
    """Empty the log; a sentence when somebody read all the while."""
    with closing(connect(path)) as connection:
        connection.execute(f"PRAGMA busy_timeout = {_WAIT_MILLIS}")
        for _ in range(TRIES):
            if _emptied(connection):
                return ""
            sleep(_PAUSE_SECONDS)
    return LEFT


def _emptied(connection: sqlite3.Connection) -> bool:
    try:
        busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return False
        raise
    return not busy
