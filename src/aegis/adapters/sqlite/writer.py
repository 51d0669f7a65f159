"""The writer's side of the SQLite store: one connection, one transaction per group, and the checkpoints of the log."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import orjson

from aegis.adapters import columns
from aegis.adapters.draft import Draft, event_keys, key_refs, row_refs
from aegis.adapters.group import Stop
from aegis.adapters.instants import from_micros, to_micros
from aegis.adapters.noise import NoiseBuffer, Place, Tally, merge
from aegis.adapters.sqlite import postings, statements
from aegis.adapters.sqlite.checkpoint import Checkpoints
from aegis.adapters.sqlite.connection import connect, translated
from aegis.adapters.sqlite.readings import past_of, prepare
from aegis.errors import AegisError, StoreHaltedError
from aegis.journal.postings import Posting
from aegis.journal.store import PostingKey
from aegis.journal.unit import Receipt, Unit


class SqliteBackend:
    """Commits groups. Everything here runs on the writer's thread, but for building and `mark`."""

    def __init__(self, path: Path, noise: NoiseBuffer, clock: Callable[[], datetime]) -> None:
        self._connection = connect(path)
        self._execute = self._connection.execute
        prepare(self._execute)
        self._doubt = doubt_file(path)
        self._noise = noise
        self._clock = clock
        self._checkpoints = Checkpoints(path, self._connection)
        self._stopped = False

    def write(self, units: Sequence[Unit]) -> Sequence[Receipt | AegisError]:
        """Commit `units` as one transaction, synced to the disk."""
        with self._transaction() as commit:
            draft = self._read(units)
            answers = [draft.take(unit) for unit in units]
            if not draft.empty:
                self._record(draft)
                commit()
        self._checkpoints.wrote(len(units))
        return answers

    def propose_key(self, tenant: str, subject: str, proposed: tuple[str, bytes]) -> tuple[str, bytes]:
        """The newest key of the subject, which is `proposed` when there was none."""
        with self._transaction() as commit:
            found: tuple[str, bytes] | None = self._execute(statements.NEWEST_KEY, (tenant, subject)).fetchone()
            if found is not None:
                return found
            key_id, wrapped = proposed
            self._execute(statements.PUT_KEY, (tenant, key_id, subject, wrapped, to_micros(self._clock())))
            commit()
        return proposed

    def rewrap(self, tenant: str, key_id: str, former: bytes, wrapped: bytes) -> bool:
        """Put `wrapped` in the place of exactly `former`."""
        with self._transaction() as commit:
            changed = self._execute(statements.REWRAP, (wrapped, tenant, key_id, former)).rowcount == 1
            if changed:
                commit()
        return changed

    def forget(self, before: int, most: int) -> int:
        """Remove at most so many entries of history from before a time in microseconds; how many went."""
        with self._transaction() as commit:
            gone = self._execute(statements.FORGET, (before, most)).rowcount
            if gone:
                commit()
        return gone

    def shed(self, tenant: str, most: int) -> int:
        """Remove at most so many events below the first that is kept, with what is sealed beside them; how many went."""
        with self._transaction() as commit:
            gone = self._execute(statements.SHEDDING, (tenant, most)).fetchall()
            if gone:
                self._execute(statements.SHED_PAYLOADS, (tenant, orjson.dumps([event_id for _, event_id in gone]).decode()))
                self._execute(statements.SHED_EVENTS, (tenant, gone[-1][0]))
                commit()
        self._checkpoints.wrote(len(gone))
        return len(gone)

    def put_tiles(self, tenant: str, tiles: Mapping[tuple[int, int], bytes]) -> None:
        """Keep these tiles; those that are there already stay as they are."""
        rows = [(tenant, level, number, hashes) for (level, number), hashes in tiles.items()]
        with self._transaction() as commit:
            for text, values in statements.inserts(statements.PUT_TILES, rows):
                self._execute(text, values)
            commit()

    def put_postings(self, tenant: str, found: Sequence[Posting]) -> None:
        """Write these, each in the place of what the index held."""
        with self._transaction() as commit:
            postings.put(self._execute, tenant, found)
            commit()

    def drop_postings(self, tenant: str, below: int, after: PostingKey) -> PostingKey | None:
        """Remove those of blocks below this one among the next few after a key; the last key that was looked at."""
        with self._transaction() as commit:
            last = postings.drop(self._execute, tenant, below, after)
            commit()
        return last

    def flush_noise(self) -> None:
        """Write what was counted, now."""
        self._noise.flush(self._write_noise, now=True)

    def rest(self) -> None:
        """Write the noise that is due, and move the log into the database when it has grown."""
        self._noise.flush(self._write_noise)
        self._checkpoint(self._checkpoints.step)

    def close(self) -> None:
        """Leave one tidy file behind, unless something is in doubt."""
        try:
            if not self._stopped:
                self.flush_noise()
                self._checkpoint(self._checkpoints.finish)
        finally:
            self._connection.close()

    def _read(self, units: Sequence[Unit]) -> Draft:
        """Heads, events, rows and history of the group, as they stand under the write lock."""
        execute = self._execute
        tenants = orjson.dumps(list({unit.tenant for unit in units})).decode()
        heads = dict(map(columns.head, execute(statements.HEADS, (tenants,)).fetchall()))
        events = {}
        if keys := list(event_keys(units)):
            for found in execute(statements.EVENTS, (orjson.dumps(keys).decode(),)).fetchall():
                events[found[0], found[2]] = columns.stored(found)
        rows = {}
        if refs := row_refs(units):
            for found in execute(statements.ROWS, (orjson.dumps(refs).decode(),)).fetchall():
                rows[found[0], found[1], found[2]] = columns.row(found)
        standing = {}
        if names := key_refs(units):
            for tenant, key_id, stands in execute(statements.KEYS_STANDING, (orjson.dumps(names).decode(),)).fetchall():
                standing[tenant, key_id] = bool(stands)
        return Draft(heads, events, rows, past_of(execute, units), standing)

    def _record(self, draft: Draft) -> None:
        puts = [columns.of_row(row) for row in draft.changed.values() if row is not None]
        for statement, rows in (
            (statements.PUT_EVENTS, [columns.of_event(event) for event in draft.events]),
            (statements.PUT_PAYLOADS, [columns.of_payload(*payload) for payload in draft.payloads]),
            (statements.PUT_ROWS, puts),
            (statements.PUT_HEADS, [columns.of_head(tenant, head) for tenant, head in draft.heads.items()]),
            (statements.PUT_ENTRIES, [columns.of_entry(name[0], entry) for name, entry in draft.past.remembered.items()]),
        ):
            for text, values in statements.inserts(statement, rows):
                self._execute(text, values)
        for ref, row in draft.changed.items():
            if row is None:
                self._execute(statements.DELETE_ROW, ref)
        for tenant, first in draft.first.items():
            self._execute(statements.RAISE_FIRST, (first, tenant))
        for key in draft.destroyed:
            self._execute(statements.DESTROY_KEY, key)
        if draft.past.settled:
            self._execute(
                statements.SETTLE, (orjson.dumps([(*name, phase) for name, phase in draft.past.settled.items()]).decode(),)
            )

    def _write_noise(self, counted: Mapping[Place, Tally]) -> None:
        with self._transaction() as commit:
            changed = merge(read_noise(self._connection), counted)
            for (reason, source), tally in changed.items():
                self._execute(statements.PUT_NOISE, (reason, source, tally.count, to_micros(tally.first), to_micros(tally.last)))
            commit()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Callable[[], None]]:
        """A transaction that holds the write lock; what leaves without the given commit is rolled back."""
        committing = False

        def commit() -> None:
            nonlocal committing
            committing = True
            self._execute("COMMIT")

        try:
            self._execute("BEGIN IMMEDIATE")
            yield commit
        except sqlite3.Error as error:
            self._rollback()
            raise self._halting(translated(error, committing=committing)) from error
        except BaseException:
            self._rollback()
            raise
        self._rollback()

    def _rollback(self) -> None:
        if not self._connection.in_transaction:
            return
        try:
            self._execute("ROLLBACK")
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", type(error).__name__)
            raise self._halting(Stop(StoreHaltedError(f"a transaction could not be rolled back ({name})"))) from error

    def _checkpoint(self, work: Callable[[], None]) -> None:
        try:
            work()
        except sqlite3.Error as error:
            raise self._halting(translated(error)) from error

    def _halting(self, found: AegisError | Stop) -> AegisError | Stop:
        """Remember in the file system that the next opening has to check everything."""
        if isinstance(found, Stop):
            self._stopped = True
            with contextlib.suppress(OSError):
                self._doubt.touch(mode=0o600)
        return found


def doubt_file(path: Path) -> Path:
    """The file that stands beside the database from a failed write until the database has been checked."""
    return path.with_name(path.name + ".doubt")


def read_noise(connection: sqlite3.Connection) -> dict[Place, Tally]:
    """The system journal as it is stored."""
    return {
        (reason, source): Tally(count, from_micros(first), from_micros(last))
        for reason, source, count, first, last in connection.execute(statements.NOISE).fetchall()
    }
