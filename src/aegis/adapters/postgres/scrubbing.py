"""After a key was destroyed: vacuum the table of data keys.

The former version of a row stays in its page until a vacuum, and in the page's free room until that is written over. The server's
write-ahead log, its archives, replicas and backups hold it as well, and none of them is ours: what ends that is a new KEK
(`aegis keys rotate kek`, `aegis keys rewrap`, and the end of the old one), after which no copy of a wrapped key opens anything.
"""

from contextlib import closing

import psycopg

from aegis.adapters.postgres.connection import connect

LEFT = (
    "the server's write-ahead log, replicas and backups may hold the wrapped keys: rotate the kek, rewrap, and destroy the old one"
)
NOT_VACUUMED = "the role of `store.url` may not vacuum table `data_key`: let its owner run VACUUM data_key; and " + LEFT


def scrub(dsn: str) -> str:
    """Vacuum; a sentence about what is left."""
    told: list[str] = []
    with closing(connect(dsn)) as connection:
        connection.add_notice_handler(lambda notice: told.append(notice.severity_nonlocalized or ""))
        try:
            connection.execute("VACUUM data_key")
        except psycopg.Error:
            return NOT_VACUUMED
    return NOT_VACUUMED if "WARNING" in told else LEFT
