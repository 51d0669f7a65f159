"""The store on SQLite."""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import orjson

from aegis.adapters import columns
from aegis.adapters.fsck import check
from aegis.adapters.group import GroupWriter
from aegis.adapters.instants import from_micros, to_micros
from aegis.adapters.noise import NoiseBuffer, listed
from aegis.adapters.past import BATCH, Asked, answered, forgotten
from aegis.adapters.prepare import askable, check_text, weigh
from aegis.adapters.sqlite import postings, statements
from aegis.adapters.sqlite.connection import Readers
from aegis.adapters.sqlite.inspection import inspected
from aegis.adapters.sqlite.instances import Instances
from aegis.adapters.sqlite.readings import measured
from aegis.adapters.sqlite.scrubbing import scrub
from aegis.adapters.sqlite.writer import SqliteBackend, read_noise
from aegis.errors import StoreError
from aegis.journal.postings import Posting, batches
from aegis.journal.store import Finding, Noise, Place, PostingKey, TreeHead
from aegis.journal.terms import Term
from aegis.journal.unit import Payload, Receipt, Row, Unit
from aegis.model.event import Stored
from aegis.model.history import Measured, Query

Result = TypeVar("Result")

SHORT = 100
"""So many rows are read on the caller's own thread; more are read on another, so that the event loop goes on."""


class SqliteStore:
    """`journal.store.Store` in one file. Several processes of one host may open it; one writes at a time."""

    def __init__(self, path: Path, clock: Callable[[], datetime]) -> None:
        self._path = path
        self._noise = NoiseBuffer()
        self._readers = Readers(path)
        self._instances = Instances(path)
        self._backend = SqliteBackend(path, self._noise, clock)
        self._writer = GroupWriter(self._backend, name="aegis-sqlite-writer")

    async def commit(self, unit: Unit) -> Receipt:
        """Record `unit` durably, or say what stands in its way."""
        return await self._writer.commit(unit, weigh(unit))

    async def rows(self, tenant: str, refs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Row]:
        """The rows of these (kind, id) that exist, in one reading."""
        keys = _json([(tenant, kind, row_id) for kind, row_id in refs])
        found = self._read(lambda db: [columns.row(found) for found in db.execute(statements.ROWS, (keys,))])
        return {(row.kind, row.id): row for row in found}

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
        text = columns.find(state=state, lookup=lookup)
        given = {"tenant": tenant, "kind": kind, "state": state, "lookup": lookup, "after": after, "limit": max(limit, 0)}

        def read(db: sqlite3.Connection) -> tuple[Row, ...]:
            return tuple(columns.row(found) for found in db.execute(text, given))

        return await self._read_many(read, limit)

    async def measure(self, tenant: str, queries: Sequence[Query]) -> tuple[Measured, ...]:
        """The answers to `queries` over the tenant's history; a window of more than `MAX_WINDOW` entries is not measured."""
        asked = askable(tenant, queries)

        def read(db: sqlite3.Connection) -> dict[Asked, Measured]:
            db.execute("BEGIN")
            return measured(db.execute, asked)

        return answered(asked, await asyncio.to_thread(self._read, read))

    async def forget(self, before: datetime) -> int:
        """Remove entries of history older than `before`; units are committed between one batch and the next."""
        return await forgotten(lambda: self._writer.run(lambda: self._backend.forget(to_micros(before), BATCH)))

    async def event(self, tenant: str, event_id: str) -> Stored | None:
        """The event of this id."""
        found = self._read(lambda db: db.execute(statements.EVENT_BY_ID, (event_id, tenant)).fetchone())
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
        text = columns.events(request_id=request_id, after=after, newest_first=newest_first)
        given = {"tenant": tenant, "request_id": request_id, "after": after, "limit": max(limit, 0)}

        def read(db: sqlite3.Connection) -> tuple[Stored, ...]:
            return tuple(columns.stored(found) for found in db.execute(text, given))

        return await self._read_many(read, SHORT if request_id else limit)

    async def payload(self, tenant: str, event_id: str, name: str) -> Payload | None:
        """A sealed payload; `None` when there never was one or it was erased."""
        found = self._read(lambda db: db.execute(statements.PAYLOAD, (event_id, name, tenant)).fetchone())
        if found is None:
            return None
        key_id, nonce, ciphertext = found
        return Payload(event_id=event_id, name=name, key_id=key_id, nonce=nonce, ciphertext=ciphertext)

    async def data_key(self, tenant: str, subject: str, proposed: tuple[str, bytes] | None) -> tuple[str, bytes] | None:
        """The newest (key id, wrapped key) of a subject, or `proposed` once it has durably become it."""
        found: tuple[str, bytes] | None = self._read(lambda db: db.execute(statements.NEWEST_KEY, (tenant, subject)).fetchone())
        if found is not None or proposed is None:
            return found
        check_text("tenant", tenant)
        check_text("subject", subject, empty=True)
        check_text("key id", proposed[0])
        return await self._writer.run(lambda: self._backend.propose_key(tenant, subject, proposed))

    async def data_key_by_id(self, tenant: str, key_id: str) -> bytes | None:
        """The wrapped key of this id; `None` when it was destroyed."""
        found = self._read(lambda db: db.execute(statements.KEY_BY_ID, (tenant, key_id)).fetchone())
        return found[0] if found else None

    async def data_keys(self, tenant: str, *, after: str = "", limit: int = 1000) -> tuple[tuple[str, bytes], ...]:
        """The (key id, wrapped key) of the data keys that were not destroyed, in order of id, after the id `after`."""
        return tuple(self._read(lambda db: db.execute(statements.KEYS, (tenant, after, max(limit, 0))).fetchall()))

    async def rewrap(self, tenant: str, key_id: str, former: bytes, wrapped: bytes) -> bool:
        """Durably put `wrapped` in the place of exactly `former`; false when something else stands there, or nothing any more."""
        return await self._writer.run(lambda: self._backend.rewrap(tenant, key_id, former, wrapped))

    async def sealed(self, tenant: str, key_id: str) -> int:
        """How many payloads lie under a data key."""

        def count(db: sqlite3.Connection) -> int:
            return int(db.execute(statements.SEALED, (tenant, key_id)).fetchone()[0])

        return await asyncio.to_thread(self._read, count)

    async def shed(self, tenant: str) -> int:
        """Remove what was dropped; units are committed between one batch and the next."""
        return await forgotten(lambda: self._writer.run(lambda: self._backend.shed(tenant, BATCH)))

    async def payloads(self, tenant: str, first: int, end: int) -> tuple[Payload, ...]:
        """What is sealed beside the events of these places, in their order."""

        def read(db: sqlite3.Connection) -> tuple[Payload, ...]:
            return tuple(map(columns.payload, db.execute(statements.PAYLOADS_OF, (tenant, first, end))))

        return await asyncio.to_thread(self._read, read)

    async def scrub(self) -> str:
        """Empty the write-ahead log, which holds pages as they were; in the pages themselves SQLite wipes what is deleted."""
        return await asyncio.to_thread(scrub, self._path)

    async def tenants(self) -> tuple[str, ...]:
        """Every tenant that has at least one event, sorted."""
        return self._read(lambda db: tuple(tenant for (tenant,) in db.execute(statements.TENANTS)))

    async def heads(self) -> dict[str, TreeHead]:
        """Where each tenant's log ends."""
        return columns.tree_heads(self._read(lambda db: db.execute(statements.ALL_HEADS).fetchall()))

    async def tiles(self, tenant: str, places: Sequence[Place]) -> dict[Place, bytes]:
        """Those of these tiles that are kept."""
        keys = orjson.dumps(list(places)).decode()
        found = self._read(lambda db: db.execute(statements.TILES, (tenant, keys)).fetchall())
        return {(level, number): hashes for level, number, hashes in found}

    async def put_tiles(self, tenant: str, tiles: Mapping[Place, bytes]) -> None:
        """Durably keep complete tiles; one that is there already stays as it is."""
        if tiles:
            await self._writer.run(lambda: self._backend.put_tiles(tenant, tiles))

    async def at(self, tenant: str, places: Sequence[int]) -> tuple[Stored, ...]:
        """Those of the events at these places that are kept, in no order."""
        read = partial(postings.at, tenant=tenant, places=places)
        return await self._read_many(read, len(places))

    async def postings(self, tenant: str, terms: Sequence[Term], blocks: range) -> dict[int, dict[Term, bytes]]:
        """What the index of searches holds of these terms in these blocks, by block and term."""
        keys = _json(terms)
        read = partial(postings.held, tenant=tenant, keys=keys, blocks=blocks)
        return await self._read_many(read, len(terms) * len(blocks))

    async def put_postings(self, tenant: str, made: Sequence[Posting]) -> None:
        """Durably write these, in this order, a few in each transaction."""
        for some in batches(made, postings.AT_ONCE):
            await self._writer.run(partial(self._backend.put_postings, tenant, some))

    async def drop_postings(self, tenant: str, below: int, after: PostingKey) -> PostingKey | None:
        """Remove postings of blocks below this one among the next few after a key; the last key that was looked at."""
        return await self._writer.run(lambda: self._backend.drop_postings(tenant, below, after))

    async def latest(self) -> datetime | None:
        """The greatest time of any event in any tenant."""
        (latest,) = self._read(lambda db: db.execute(statements.LATEST).fetchone())
        return None if latest is None else from_micros(latest)

    async def count_noise(self, reason: str, source: str, at: datetime) -> None:
        """Count a refusal of a caller who is not authenticated; it is written within about a second."""
        self._noise.count(reason, source, at)

    async def noise(self) -> tuple[Noise, ...]:
        """The bounded system journal, newest first."""
        await self._writer.run(self._backend.flush_noise)
        return listed(self._read(read_noise))

    async def register(self, instance: str) -> None:
        """Hold `instance` as alive for as long as this process lives and reaches the store."""
        await asyncio.to_thread(self._instances.register, instance)

    async def alive(self, instance: str) -> bool:
        """Whether some process still holds `instance`."""
        return self._instances.alive(instance)

    async def fsck(self) -> tuple[Finding, ...]:
        """Check that the store does not contradict itself, in one snapshot and on a thread of its own."""
        return await asyncio.to_thread(self._read, lambda db: check(inspected(db)))

    async def stats(self) -> dict[str, Any]:
        """Numbers for metrics."""
        wal = self._path.with_name(self._path.name + "-wal")
        return {
            **self._writer.stats(),
            "bytes": sum(file.stat().st_size for file in (self._path, wal) if file.exists()),
        }

    async def close(self) -> None:
        """Finish what is waiting, then let go of everything."""
        await self._writer.close()
        self._instances.close()
        self._readers.close()

    def _read(self, work: Callable[[sqlite3.Connection], Result]) -> Result:
        with self._readers.one() as connection:
            return work(connection)

    async def _read_many(self, work: Callable[[sqlite3.Connection], Result], limit: int) -> Result:
        return self._read(work) if limit <= SHORT else await asyncio.to_thread(self._read, work)


def _json(keys: Sequence[tuple[str, ...]]) -> str:
    # SQLite would end a text of JSON at a NUL, and so find the row of another, shorter name.
    if any("\0" in name for key in keys for name in key):
        raise StoreError("a `tenant`, `kind` or `id` holds a NUL character")
    try:
        return orjson.dumps(keys).decode()
    except orjson.JSONEncodeError:
        raise StoreError("a `tenant`, `kind` or `id` holds a lone surrogate, which is not a character") from None
