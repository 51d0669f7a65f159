"""The writer's side of the PostgreSQL store: one session that commits groups and holds this process's names.

The names are held on the very session that commits. Whoever else asks sees them go the moment the session does, and a COMMIT that
succeeds proves that they were held; after a loss they are taken again before anything is committed.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from time import monotonic, sleep
from typing import Any, TypeVar

import psycopg
from psycopg import Connection, Cursor

from aegis.adapters import columns
from aegis.adapters.draft import Draft, event_keys, key_refs, row_refs
from aegis.adapters.instants import from_micros, to_micros
from aegis.adapters.noise import NoiseBuffer, Place, Tally, merge
from aegis.adapters.past import asked_by, touched_by
from aegis.adapters.postgres import postings, statements, tenancy
from aegis.adapters.postgres.connection import AgainError, LostError, connect_writer, lock_key, translated
from aegis.adapters.postgres.readings import past, texts
from aegis.errors import AegisError, StoreBusyError, StoreError, StoreUncertainError
from aegis.journal.postings import Posting
from aegis.journal.store import PostingKey
from aegis.journal.unit import Receipt, Unit

ATTEMPTS = 5
HOLD_TRIES = 20
_PAUSE_SECONDS = 0.01
_IDLE_SECONDS = 1.0

Query = tuple[str, Sequence[Any] | dict[str, Any] | None]
Result = TypeVar("Result")


class PostgresBackend:
    """Commits groups. Everything here runs on the writer's thread, but for building."""

    def __init__(self, dsn: str, noise: NoiseBuffer, clock: Callable[[], datetime]) -> None:
        self._dsn = dsn
        self._noise = noise
        self._clock = clock
        self._names: dict[str, int] = {}
        self._known_heads: set[str] = set()
        self._former = 0
        self._asked = monotonic()
        self._connection: Connection | None = connect_writer(dsn)

    def write(self, units: Sequence[Unit]) -> Sequence[Receipt | AegisError]:
        """Commit `units` as one transaction, flushed to the server's disk."""
        return self._attempted(lambda: self._write(units))

    def propose_key(self, tenant: str, subject: str, proposed: tuple[str, bytes]) -> tuple[str, bytes]:
        """The newest key of the subject, which is `proposed` when there was none."""
        return self._attempted(lambda: self._propose_key(tenant, subject, proposed))

    def rewrap(self, tenant: str, key_id: str, former: bytes, wrapped: bytes) -> bool:
        """Put `wrapped` in the place of exactly `former`."""
        asked: list[Query] = [tenancy.naming([tenant]), (statements.REWRAP, [wrapped, tenant, key_id, former])]
        _, cursor = self._attempted(lambda: self._ask(asked))
        return cursor.rowcount == 1

    def forget(self, before: int, most: int) -> int:
        """Remove at most so many entries of history from before a time in microseconds; how many went."""
        _, cursor = self._attempted(lambda: self._ask([tenancy.EVERY, (statements.FORGET, {"before": before, "most": most})]))
        return cursor.rowcount

    def shed(self, tenant: str, most: int) -> int:
        """Remove at most so many events below the first that is kept, with what is sealed beside them; how many went."""
        asked: list[Query] = [tenancy.naming([tenant]), (statements.SHED, {"tenant": tenant, "most": most})]
        _, cursor = self._attempted(lambda: self._ask(asked))
        found = cursor.fetchone()
        return 0 if found is None else int(found[0])

    def put_tiles(self, tenant: str, tiles: Mapping[tuple[int, int], bytes]) -> None:
        """Keep these tiles; those that are there already stay as they are."""
        rows = [(tenant, level, number, hashes) for (level, number), hashes in tiles.items()]
        self._attempted(lambda: self._ask([tenancy.naming([tenant]), (statements.PUT_TILES, statements.arrays(rows))]))

    def put_postings(self, tenant: str, found: Sequence[Posting]) -> None:
        """Write these, each in the place of what the index held."""
        self._attempted(lambda: self._ask([tenancy.naming([tenant]), (postings.PUT, postings.rows(tenant, found))]))

    def drop_postings(self, tenant: str, below: int, after: PostingKey) -> PostingKey | None:
        """Remove those of blocks below this one among the next few after a key; the last key that was looked at."""
        asked: list[Query] = [tenancy.naming([tenant]), (postings.DROP, postings.dropping(tenant, below, after))]
        _, cursor = self._attempted(lambda: self._ask(asked))
        found = cursor.fetchone()
        return None if found is None else (found[0], found[1], found[2])

    def hold(self, instance: str) -> None:
        """Hold `instance` for as long as this session lives, and on every session that follows it."""
        if instance not in self._names:
            self._attempted(lambda: self._take(instance))

    def flush_noise(self) -> None:
        """Write what was counted, now."""
        self._noise.flush(self._write_noise, now=True)

    def rest(self) -> None:
        """Write the noise that is due; find out whether the session still stands, so that our names are held again at once."""
        self._noise.flush(self._write_noise)
        if self._names and monotonic() - self._asked >= _IDLE_SECONDS:
            self._attempted(lambda: self._ask([("SELECT 1", None)]))

    def close(self) -> None:
        """End the session, which lets go of the names."""
        try:
            if self._connection is not None:
                self.flush_noise()
                # The server ends a session some time after its client has gone: let go of the names before that.
                self._ask([(statements.LET_GO, None)])
        finally:
            self._drop()

    def _write(self, units: Sequence[Unit]) -> Sequence[Receipt | AegisError]:
        tenants = sorted({unit.tenant for unit in units})
        with self._transaction() as commit:
            draft = self._read(units, tenants)
            answers = [draft.take(unit) for unit in units]
            if not draft.empty:
                commit(_recording(draft))
                self._known_heads.update(tenants)
        return answers

    def _read(self, units: Sequence[Unit], tenants: list[str]) -> Draft:
        """Heads, events, rows and history of the group, as they stand once every head is locked: the first round trip.

        Each statement sees what was committed before it began, and those after the locks begin when the locks are held.
        """
        asked: dict[Any, Query] = {}
        if new := [tenant for tenant in tenants if tenant not in self._known_heads]:
            asked["new"] = (statements.NEW_HEADS, [new])
        asked["heads"] = (statements.LOCK_HEADS, [tenants])
        if keys := list(event_keys(units)):
            asked["events"] = (statements.EVENTS, statements.arrays(keys))
        if refs := row_refs(units):
            asked["rows"] = (statements.ROWS, statements.arrays(refs))
        if named := key_refs(units):
            asked["keys"] = (statements.KEYS_STANDING, statements.arrays(named))
        readings = asked_by(units)  # nothing is read of the history unless some unit expects
        names = touched_by(units) if readings else []
        if names:
            asked["entries"] = (statements.ENTRIES, statements.arrays(names))
        asked |= (history := texts(readings, names))
        cursors = dict(zip(asked, self._ask([("BEGIN", None), tenancy.naming(tenants), *asked.values()])[2:], strict=True))
        heads = dict(map(columns.head, cursors["heads"].fetchall()))
        events = [columns.stored(found) for found in cursors["events"].fetchall()] if keys else []
        rows = [columns.row(found) for found in cursors["rows"].fetchall()] if refs else []
        entries = cursors["entries"].fetchall() if names else []
        return Draft(
            heads,
            {(event.tenant, event.id): event for event in events},
            {(row.tenant, row.kind, row.id): row for row in rows},
            past(readings, ((shape, cursors[shape].fetchall()) for shape in history), entries),
            {(tenant, key_id): stands for tenant, key_id, stands in cursors["keys"].fetchall()} if named else {},
        )

    def _propose_key(self, tenant: str, subject: str, proposed: tuple[str, bytes]) -> tuple[str, bytes]:
        key_id, wrapped = proposed
        with self._transaction() as commit:
            lock: Query = (statements.LOCK_KEYS, [lock_key("data key", f"{tenant}\0{subject}")])
            begin: list[Query] = [("BEGIN", None), tenancy.naming([tenant])]
            *_, newest = self._ask([*begin, lock, (statements.NEWEST_KEY, [tenant, subject])])
            if (found := newest.fetchone()) is not None:
                return (found[0], found[1])
            given = {
                "tenant": tenant,
                "key_id": key_id,
                "subject": subject,
                "wrapped": wrapped,
                "created": to_micros(self._clock()),
            }
            commit([(statements.PUT_KEY, given)])
        return proposed

    def _write_noise(self, counted: Mapping[Place, Tally]) -> None:
        with self._transaction() as commit:
            *_, stored = self._ask([("BEGIN", None), (statements.LOCK_NOISE, None), (statements.NOISE, None)])
            changed = [
                (reason, source, tally.count, to_micros(tally.first), to_micros(tally.last))
                for (reason, source), tally in merge(tallies(stored.fetchall()), counted).items()
            ]
            commit([(statements.PUT_NOISE, statements.arrays(changed))])

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[Callable[[list[Query]], None]]:
        """What leaves without the given commit is rolled back; a connection that is lost in the commit leaves a doubt."""
        self._session()

        def commit(queries: list[Query]) -> None:
            try:
                self._ask([*queries, ("COMMIT", None)])
            except LostError as error:
                raise StoreUncertainError(f"{error} while committing: ask for the event id before repeating") from error

        try:
            yield commit
        finally:
            self._roll_back()

    def _attempted(self, work: Callable[[], Result]) -> Result:
        """`work`, tried again when nothing can have been recorded and another attempt may go well."""
        for attempt in range(ATTEMPTS):
            try:
                return work()
            except LostError:  # an idle session may have been ended long ago: only a second loss says something
                if attempt:
                    raise
            except AgainError:
                sleep(_PAUSE_SECONDS * attempt)
        raise StoreBusyError("other transactions keep standing in the way: retry later")

    def _ask(self, queries: Sequence[Query]) -> list[Cursor]:
        """Run `queries` in one round trip."""
        connection = self._session()
        self._asked = monotonic()
        try:
            with connection.pipeline():
                return [connection.execute(text, values, binary=True) for text, values in queries]
        except psycopg.Error as error:
            found = translated(error, connection)
            if isinstance(found, LostError):
                self._drop()
            raise found from error

    def _session(self) -> Connection:
        """The session, made anew when it was lost; the names are held before anything else happens on it."""
        if self._connection is None or self._connection.closed:
            self._connection = connect_writer(self._dsn)
            for instance in self._names:
                self._hold_again(instance)
            self._former = 0
        return self._connection

    def _hold_again(self, instance: str) -> None:
        """Take a name back. The server may not have noticed yet that the former session is gone."""
        assert self._connection is not None
        key = lock_key("instance", instance)
        try:
            with self._connection.transaction():
                self._connection.execute("SET LOCAL ROLE NONE")  # only the role that connected may end a session of that role
                self._connection.execute(statements.END_FORMER, (key, self._former))
            held = _held_soon(self._connection, key)
        except psycopg.Error as error:
            self._drop()
            raise LostError(f"the connection to PostgreSQL was lost ({type(error).__name__})") from error
        if not held:
            self._drop(former=self._former)
            raise StoreError("the name of this process is not free again yet: nothing is recorded until it is held")

    def _take(self, instance: str) -> None:
        key = lock_key("instance", instance)
        (cursor,) = self._ask([(statements.HOLD, [key])])
        if cursor.fetchone() != (True,):
            raise StoreError("another process holds this `instance`: every process needs a name of its own")
        self._names[instance] = key

    def _roll_back(self) -> None:
        connection = self._connection
        if connection is None or connection.closed:
            return
        try:
            if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                connection.execute("ROLLBACK")
        except psycopg.Error:
            self._drop()  # a transaction that cannot be rolled back ends with its session

    def _drop(self, former: int = 0) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._former = former or _process_of(connection)
            self._known_heads.clear()
            with contextlib.suppress(psycopg.Error):
                connection.close()


def tallies(rows: Sequence[Any]) -> dict[Place, Tally]:
    """The system journal as it is stored."""
    return {(reason, source): Tally(count, from_micros(first), from_micros(last)) for reason, source, count, first, last in rows}


def _recording(draft: Draft) -> list[Query]:
    """The statements that write `draft`: with the COMMIT, the second round trip."""
    gone = [ref for ref, row in draft.changed.items() if row is None]
    entries = [columns.of_entry(tenant, entry) for (tenant, _), entry in draft.past.remembered.items()]
    queries = (
        (statements.PUT_EVENTS, [columns.of_event(event) for event in draft.events]),
        (statements.PUT_PAYLOADS, [columns.of_payload(*payload) for payload in draft.payloads]),
        (statements.PUT_ROWS, [columns.of_row(row) for row in draft.changed.values() if row is not None]),
        (statements.DELETE_ROWS, gone),
        (statements.PUT_HEADS, [columns.of_head(tenant, head) for tenant, head in draft.heads.items()]),
        (statements.PUT_ENTRIES, entries),
        (statements.DESTROY_KEYS, draft.destroyed),
        (statements.RAISE_FIRST, list(draft.first.items())),
        (statements.SETTLE, [(*name, phase.value) for name, phase in draft.past.settled.items()]),
    )
    return [(text, statements.arrays(rows)) for text, rows in queries if rows]


def _held_soon(connection: Connection, key: int) -> bool:
    """Whether the lock could be taken; a session that is told to end needs a moment for it."""
    for _ in range(HOLD_TRIES):
        if connection.execute(statements.HOLD, (key,)).fetchone() == (True,):
            return True
        sleep(_PAUSE_SECONDS)
    return False


def _process_of(connection: Connection) -> int:
    try:
        return connection.info.backend_pid
    except psycopg.Error:
        return 0
