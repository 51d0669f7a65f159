"""One snapshot of the database for `fsck`, and the short look at the ends that opening takes."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import psycopg
from psycopg import Connection

from aegis.adapters import columns
from aegis.adapters.draft import Head
from aegis.adapters.fsck import check_tail
from aegis.adapters.group import Stop
from aegis.adapters.postgres import statements
from aegis.adapters.postgres.connection import translated
from aegis.journal.unit import Row
from aegis.model.event import Stored

_BATCH = 1_000
_TAILS = f"""SELECT {columns.HEAD}, e.* FROM head h LEFT JOIN LATERAL (
  SELECT {columns.EVENT} FROM event e WHERE e.tenant = h.tenant ORDER BY e.seq DESC LIMIT 1) e ON true"""  # noqa: S608 - constants
_EVENTS = f"SELECT {columns.EVENT} FROM event e ORDER BY e.tenant, e.seq"  # noqa: S608 - constants
_ROWS = f"SELECT {columns.ROW} FROM state s ORDER BY s.tenant, s.kind, s.id"  # noqa: S608 - constants
_ORPHANS = """SELECT p.tenant, p.event_id, p.name FROM payload p
  WHERE NOT EXISTS (SELECT 1 FROM event e WHERE e.id = p.event_id AND e.tenant = p.tenant)"""
_KEYLESS = """SELECT p.tenant, p.event_id, p.name, p.key_id FROM payload p
  WHERE NOT EXISTS (SELECT 1 FROM data_key k WHERE k.tenant = p.tenant AND k.key_id = p.key_id)"""
_BAD_KEYS = "SELECT tenant, key_id FROM data_key WHERE length(wrapped) = 0 OR ordinal < 1"


class PostgresInspection:
    """What `fsck` reads; the connection is inside a transaction that sees one snapshot."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._numbers = count()

    def damage(self) -> Iterator[str]:
        """The server tells of damage when it meets it: every table and its rows are read below."""
        return iter(())

    def heads(self) -> dict[str, Head]:
        """Where each tenant's journal ends."""
        return dict(map(columns.head, self._rows(statements.ALL_HEADS)))

    def events(self) -> Iterator[Stored]:
        """Every event, in order of tenant and `seq`."""
        return map(columns.stored, self._rows(_EVENTS))

    def tiles(self, tenant: str) -> Iterator[tuple[int, int, bytes]]:
        """Level, number and hashes of a tenant's tiles, in this order."""
        return self._rows("SELECT level, number, hashes FROM tile WHERE tenant = %s ORDER BY level, number", (tenant,))

    def rows(self) -> Iterator[Row]:
        """Every row."""
        return map(columns.row, self._rows(_ROWS))

    def history(self) -> Iterator[tuple[str, str, int, str, str]]:
        """Every remembered call."""
        return self._rows("SELECT tenant, id, at, phase, fields::text FROM history")

    def orphans(self) -> Iterator[tuple[str, str, str]]:
        """Payloads without their event."""
        return self._rows(_ORPHANS)

    def keyless(self) -> Iterator[tuple[str, str, str, str]]:
        """Payloads whose data key was never known."""
        return self._rows(_KEYLESS)

    def bad_keys(self) -> Iterator[tuple[str, str]]:
        """Data keys that hold nothing."""
        return self._rows(_BAD_KEYS)

    def _rows(self, text: str, given: tuple[str, ...] = ()) -> Iterator[Any]:
        try:
            with self._connection.cursor(f"fsck{next(self._numbers)}", binary=True) as cursor:
                cursor.itersize = _BATCH
                yield from cursor.execute(text, given)
        except psycopg.Error as error:
            found = translated(error, self._connection)
            raise (found.error if isinstance(found, Stop) else found) from error


def check_ends(connection: Connection) -> None:
    """Check the end of every journal: an index look-up for each tenant.

    Raises:
        CorruptStoreError: A head and its last event do not agree.
    """
    for found in connection.execute(_TAILS, binary=True):
        tenant, head = columns.head(found[: columns.HEAD_WIDTH])
        last = found[columns.HEAD_WIDTH :]
        check_tail(tenant, head, columns.stored(last) if last[0] is not None else None)
