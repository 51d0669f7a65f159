"""The store on PostgreSQL."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from functools import partial
from typing import Any

import psycopg
from psycopg import Connection

from aegis.adapters import columns
from aegis.adapters.fsck import check
from aegis.adapters.group import GroupWriter
from aegis.adapters.instants import from_micros, to_micros
from aegis.adapters.noise import NoiseBuffer, listed
from aegis.adapters.past import BATCH, Asked, answered, forgotten
from aegis.adapters.postgres import postings, statements, tenancy
from aegis.adapters.postgres.connection import connect, lock_key, translated
from aegis.adapters.postgres.inspection import PostgresInspection
from aegis.adapters.postgres.readers import Readers
from aegis.adapters.postgres.readings import answers, texts
from aegis.adapters.postgres.scrubbing import scrub
from aegis.adapters.postgres.writer import PostgresBackend, tallies
from aegis.adapters.prepare import askable, check_text, weigh
from aegis.errors import StoreError
from aegis.journal.postings import Posting, batches
from aegis.journal.store import Finding, Noise, Place, PostingKey, TreeHead
from aegis.journal.terms import Term
from aegis.journal.unit import Payload, Receipt, Row, Unit
from aegis.model.event import Stored
from aegis.model.history import Measured, Query

Given = Sequence[Any] | dict[str, Any]


class PostgresStore:
    """`journal.store.Store` in one database. Any number of processes may open it, on any host."""

    def __init__(self, dsn: str, clock: Callable[[], datetime]) -> None:
        self._dsn = dsn
        self._noise = NoiseBuffer()
        self._readers = Readers(dsn)
        self._backend = PostgresBackend(dsn, self._noise, clock)
        self._writer = GroupWriter(self._backend, name="aegis-postgres-writer")

    async def commit(self, unit: Unit) -> Receipt:
        """Record `unit` durably, or say what stands in its way."""
        return await self._writer.commit(unit, weigh(unit))

    async def rows(self, tenant: str, refs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Row]:
        """The rows of these (kind, id) that exist, in one reading."""
        if not refs:
            return {}
        keys = statements.arrays([(tenant, kind, row_id) for kind, row_id in refs])
        return {(row.kind, row.id): row for row in map(columns.row, await self._all(tenant, statements.ROWS, keys))}

    async def find(
        self,
        tenant: str,
        kind: str,
        *,
        state: str | None = None,
        lookup: str | None = None,
        after: str = "",
        limit: int = 100,
    ) -> tuple[Row, ...]:
        """Rows of a kind in order of id, after the id `after`."""
        text = columns.percent(columns.find(state=state, lookup=lookup))
        given = {"tenant": tenant, "kind": kind, "state": state, "lookup": lookup, "after": after, "limit": max(limit, 0)}
        return tuple(map(columns.row, await self._all(tenant, text, given)))

    async def measure(self, tenant: str, queries: Sequence[Query]) -> tuple[Measured, ...]:
        """The answers to `queries` over the tenant's history; a window of more than `MAX_WINDOW` entries is not measured."""
        asked = askable(tenant, queries)
        history = texts(asked)

        def read(connection: Connection) -> dict[Asked, Measured]:
            return answers(asked, zip(history, _together(connection, tenant, list(history.values())), strict=True))

        return answered(asked, await self._readers.read(read))

    async def forget(self, before: datetime) -> int:
        """Remove entries of history older than `before`; units are committed between one batch and the next."""
        return await forgotten(lambda: self._writer.run(lambda: self._backend.forget(to_micros(before), BATCH)))

    async def event(self, tenant: str, event_id: str) -> Stored | None:
        """The event of this id."""
        found = await self._one(tenant, statements.EVENT_BY_ID, [event_id, tenant])
        return columns.stored(found) if found else None

    async def events(
        self,
        tenant: str,
        *,
        request_id: str | None = None,
        after: int = -1,
        limit: int = 1000,
        newest_first: bool = False,
    ) -> tuple[Stored, ...]:
        """Events with `seq > after` (or `seq < after` when newest first and `after >= 0`), in order of `seq`."""
        text = columns.percent(columns.events(request_id=request_id, after=after, newest_first=newest_first))
        given = {"tenant": tenant, "request_id": request_id, "after": after, "limit": max(limit, 0)}
        return tuple(map(columns.stored, await self._all(tenant, text, given)))

    async def payload(self, tenant: str, event_id: str, name: str) -> Payload | None:
        """A sealed payload; `None` when there never was one or it was erased."""
        found = await self._one(tenant, statements.PAYLOAD, [event_id, name, tenant])
        if found is None:
            return None
        key_id, nonce, ciphertext = found
        return Payload(event_id=event_id, name=name, key_id=key_id, nonce=nonce, ciphertext=ciphertext)

    async def data_key(self, tenant: str, subject: str, proposed: tuple[str, bytes] | None) -> tuple[str, bytes] | None:
        """The newest (key id, wrapped key) of a subject, or `proposed` once it has durably become it."""
        found = await self._one(tenant, statements.NEWEST_KEY, [tenant, subject])
        if found is not None:
            return (found[0], found[1])
        if proposed is None:
            return None
        check_text("tenant", tenant)
        check_text("subject", subject, empty=True)
        check_text("key id", proposed[0])
        return await self._writer.run(lambda: self._backend.propose_key(tenant, subject, proposed))

    async def data_key_by_id(self, tenant: str, key_id: str) -> bytes | None:
        """The wrapped key of this id; `None` when it was destroyed."""
        found = await self._one(tenant, statements.KEY_BY_ID, [tenant, key_id])
        return found[0] if found else None

    async def data_keys(self, tenant: str, *, after: str = "", limit: int = 1000) -> tuple[tuple[str, bytes], ...]:
        """The (key id, wrapped key) of the data keys that were not destroyed, in order of id, after the id `after`."""
        return tuple((name, key) for name, key in await self._all(tenant, statements.KEYS, [tenant, after, max(limit, 0)]))

    async def rewrap(self, tenant: str, key_id: str, former: bytes, wrapped: bytes) -> bool:
        """Durably put `wrapped` in the place of exactly `former`; false when something else stands there, or nothing any more."""
        return await self._writer.run(lambda: self._backend.rewrap(tenant, key_id, former, wrapped))

    async def sealed(self, tenant: str, key_id: str) -> int:
        """How many payloads lie under a data key."""
        (count,) = await self._one(tenant, statements.SEALED, [tenant, key_id])
        return int(count)

    async def shed(self, tenant: str) -> int:
        """Remove what was dropped; units are committed between one batch and the next."""
        return await forgotten(lambda: self._writer.run(lambda: self._backend.shed(tenant, BATCH)))

    async def payloads(self, tenant: str, first: int, end: int) -> tuple[Payload, ...]:
        """What is sealed beside the events of these places, in their order."""
        return tuple(map(columns.payload, await self._all(tenant, statements.PAYLOADS_OF, [tenant, first, end])))

    async def scrub(self) -> str:
        """Have the server reuse the room of what was destroyed; its logs and backups are beyond us."""
        return await asyncio.to_thread(scrub, self._dsn)

    async def tenants(self) -> tuple[str, ...]:
        """Every tenant that has at least one event, sorted."""
        return tuple(tenant for (tenant,) in await self._system(statements.TENANTS))

    async def heads(self) -> dict[str, TreeHead]:
        """Where each tenant's log ends."""
        return columns.tree_heads(await self._system(statements.ALL_HEADS))

    async def tiles(self, tenant: str, places: Sequence[Place]) -> dict[Place, bytes]:
        """Those of these tiles that are kept."""
        if not places:
            return {}
        found = await self._all(tenant, statements.TILES, [*statements.arrays(list(places)), tenant])
        return {(level, number): hashes for level, number, hashes in found}

    async def put_tiles(self, tenant: str, tiles: Mapping[Place, bytes]) -> None:
        """Durably keep complete tiles; one that is there already stays as it is."""
        if tiles:
            await self._writer.run(lambda: self._backend.put_tiles(tenant, tiles))

    async def at(self, tenant: str, places: Sequence[int]) -> tuple[Stored, ...]:
        """Those of the events at these places that are kept, in no order."""
        return tuple(map(columns.stored, await self._all(tenant, *postings.at(tenant, places))))

    async def postings(self, tenant: str, terms: Sequence[Term], blocks: range) -> dict[int, dict[Term, bytes]]:
        """What the index of searches holds of these terms in these blocks, by block and term."""
        return postings.by_block(await self._all(tenant, *postings.held(tenant, terms, blocks))) if terms else {}

    async def put_postings(self, tenant: str, made: Sequence[Posting]) -> None:
        """Durably write these, in this order, a few in each transaction."""
        for some in batches(made, postings.AT_ONCE):
            await self._writer.run(partial(self._backend.put_postings, tenant, some))

    async def drop_postings(self, tenant: str, below: int, after: PostingKey) -> PostingKey | None:
        """Remove postings of blocks below this one among the next few after a key; the last key that was looked at."""
        return await self._writer.run(lambda: self._backend.drop_postings(tenant, below, after))

    async def latest(self) -> datetime | None:
        """The greatest time of any event in any tenant."""
        ((latest,),) = await self._system(statements.LATEST)
        return None if latest is None else from_micros(latest)

    async def count_noise(self, reason: str, source: str, at: datetime) -> None:
        """Count a refusal of a caller who is not authenticated; it is written within about a second."""
        self._noise.count(reason, source, at)

    async def noise(self) -> tuple[Noise, ...]:
        """The bounded system journal, newest first."""
        await self._writer.run(self._backend.flush_noise)
        return listed(tallies(await self._system(statements.NOISE)))

    async def register(self, instance: str) -> None:
        """Hold `instance` as alive for as long as this process lives and reaches the store."""
        await self._writer.run(lambda: self._backend.hold(instance))

    async def alive(self, instance: str) -> bool:
        """Whether some process still holds `instance`."""
        ((held,),) = await self._system(statements.ALIVE, [lock_key("instance", instance)])
        return bool(held)

    async def fsck(self) -> tuple[Finding, ...]:
        """Check that the store does not contradict itself, in one snapshot and on a thread and a connection of its own."""
        return await asyncio.to_thread(self._fsck)

    async def stats(self) -> dict[str, Any]:
        """Numbers for metrics; `bytes` is left out while the server cannot be reached."""
        found = dict[str, Any](self._writer.stats())
        try:
            ((size,),) = await self._system(statements.SIZE)
        except StoreError:
            return found | {"reachable": False}
        return found | {"reachable": True, "bytes": size}

    async def close(self) -> None:
        """Finish what is waiting, then let go of everything."""
        await self._writer.close()
        await self._readers.close()

    def _fsck(self) -> tuple[Finding, ...]:
        with closing(connect(self._dsn)) as connection:
            try:
                tenancy.confine(connection)
                connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                connection.execute(*tenancy.EVERY)
                return check(PostgresInspection(connection))
            except psycopg.Error as error:
                found = translated(error, connection)
                raise found from error

    async def _all(self, tenant: str, text: str, given: Given) -> list[Any]:
        return await self._readers.read(lambda connection: _named(connection, tenancy.naming([tenant]), text, given).fetchall())

    async def _one(self, tenant: str, text: str, given: Given) -> Any:
        return await self._readers.read(lambda connection: _named(connection, tenancy.naming([tenant]), text, given).fetchone())

    async def _system(self, text: str, given: Given = ()) -> list[Any]:
        """Of all tenants, or of none."""
        return await self._readers.read(lambda connection: _named(connection, tenancy.EVERY, text, given).fetchall())


def _named(connection: Connection, naming: tenancy.Naming, text: str, given: Given) -> psycopg.Cursor:
    """What a statement finds among the named tenants. One round trip, which is one transaction: the naming ends with it."""
    with connection.pipeline():
        _execute(connection, *naming)
        return _execute(connection, text, given)


def _together(connection: Connection, tenant: str, asked: list[tuple[str, Given]]) -> list[list[Any]]:
    """What each statement finds, all of them in one snapshot and one round trip."""
    if len(asked) == 1:  # a statement is a snapshot by itself
        return [_named(connection, tenancy.naming([tenant]), *asked[0]).fetchall()]
    with connection.pipeline():
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        _execute(connection, *tenancy.naming([tenant]))
        cursors = [_execute(connection, *each) for each in asked]
        connection.execute("COMMIT")
    return [cursor.fetchall() for cursor in cursors]


def _execute(connection: Connection, text: str, given: Given) -> psycopg.Cursor:
    try:
        return connection.execute(text, given, binary=True)
    except (UnicodeEncodeError, OverflowError, psycopg.DataError):
        raise StoreError("a name or number that was asked for is one that no column can hold") from None
