"""One snapshot of the database for `fsck`, and the short look at the ends that opening takes."""

import sqlite3
from collections.abc import Generator, Iterator

from aegis.adapters import columns
from aegis.adapters.draft import Head
from aegis.adapters.fsck import check, check_tail
from aegis.adapters.group import Stop
from aegis.adapters.sqlite import statements
from aegis.adapters.sqlite.connection import translated
from aegis.errors import CorruptStoreError
from aegis.journal.unit import Row
from aegis.model.event import Stored

_TAILS = f"""SELECT {columns.HEAD}, {columns.EVENT} FROM head h LEFT JOIN event e
  ON e.tenant = h.tenant AND e.seq = (SELECT MAX(seq) FROM event m WHERE m.tenant = h.tenant)"""  # noqa: S608 - constants
_ORPHANS = """SELECT p.tenant, p.event_id, p.name FROM payload p
  WHERE NOT EXISTS (SELECT 1 FROM event e WHERE e.id = p.event_id AND e.tenant = p.tenant)"""
_KEYLESS = """SELECT p.tenant, p.event_id, p.name, p.key_id FROM payload p
  WHERE NOT EXISTS (SELECT 1 FROM data_key k WHERE k.tenant = p.tenant AND k.key_id = p.key_id)"""
_BAD_KEYS = "SELECT tenant, key_id FROM data_key WHERE length(wrapped) = 0 OR ordinal < 1"


class SqliteInspection:
    """What `fsck` reads; the connection is inside a read transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def damage(self) -> Iterator[str]:
        """SQLite's own findings: pages, indexes against tables, column types."""
        return (text for (text,) in self._rows("PRAGMA integrity_check(100)") if text != "ok")

    def heads(self) -> dict[str, Head]:
        """Where each tenant's journal ends."""
        return dict(map(columns.head, self._rows(statements.ALL_HEADS)))

    def events(self) -> Iterator[Stored]:
        """Every event, in order of tenant and `seq`."""
        text = f"SELECT {columns.EVENT} FROM event e ORDER BY e.tenant, e.seq"  # noqa: S608 - constants
        return (columns.stored(found) for found in self._rows(text))

    def tiles(self, tenant: str) -> Iterator[tuple[int, int, bytes]]:
        """Level, number and hashes of a tenant's tiles, in this order."""
        return self._rows("SELECT level, number, hashes FROM tile WHERE tenant = ? ORDER BY level, number", (tenant,))

    def rows(self) -> Iterator[Row]:
        """Every row."""
        text = f"SELECT {columns.ROW} FROM state s ORDER BY s.tenant, s.kind, s.id"  # noqa: S608 - constants
        return (columns.row(found) for found in self._rows(text))

    def history(self) -> Iterator[tuple[str, str, int, str, str]]:
        """Every remembered call."""
        return self._rows("SELECT tenant, id, at, phase, fields FROM history")

    def orphans(self) -> Iterator[tuple[str, str, str]]:
        """Payloads without their event."""
        return self._rows(_ORPHANS)

    def keyless(self) -> Iterator[tuple[str, str, str, str]]:
        """Payloads whose data key was never known."""
        return self._rows(_KEYLESS)

    def bad_keys(self) -> Iterator[tuple[str, str]]:
        """Data keys that hold nothing."""
        return self._rows(_BAD_KEYS)

    def _rows(self, text: str, given: tuple[str, ...] = ()) -> Generator[tuple, None, None]:  # type: ignore[type-arg]  # columns differ
        try:
            yield from self._connection.execute(text, given)
        except sqlite3.Error as error:
            found = translated(error)
            raise (found.error if isinstance(found, Stop) else found) from error


def inspected(connection: sqlite3.Connection) -> SqliteInspection:
    """The snapshot as of now; it ends with the transaction that this begins."""
    connection.execute("BEGIN")
    return SqliteInspection(connection)


def check_ends(connection: sqlite3.Connection) -> None:
    """Check the end of every journal: an index look-up for each tenant.

    Raises:
        CorruptStoreError: A head and its last event do not agree.
    """
    for found in connection.execute(_TAILS):
        tenant, head = columns.head(found[: columns.HEAD_WIDTH])
        last = found[columns.HEAD_WIDTH :]
        check_tail(tenant, head, columns.stored(last) if last[0] is not None else None)


def check_everything(connection: sqlite3.Connection) -> None:
    """Check the whole store, as it must be after a failed write.

    Raises:
        CorruptStoreError: With the first finding.
    """
    findings = check(inspected(connection))
    connection.execute("COMMIT")
    if findings:
        first = findings[0]
        raise CorruptStoreError(f"{len(findings)} findings, the first: tenant `{first.tenant}`, {first.place}: {first.text}")
