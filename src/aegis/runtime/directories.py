"""Brings the directories that are in the files to this process, and writes down what changed in them.

Each turn looks at the files of all tenants. One that changed is taken once it has stood still for a turn, because half a directory
may be a valid one, and only if it is sound as a whole. Then one reference is swapped: the next request is judged by the new
directory, so an agent that was disabled is out at once. A file that is broken or gone changes nothing. That is told to the
operators as an event and by `refused`, and the directory that was good goes on.

What is in force and what the journal last told of are held against each other at the start and at every turn. Where they differ,
one event names each change with what was before and what is now. Its commit requires that the row of the directory still stands as
it was read, so that of several processes exactly one tells of a change. A change is in force before it is recorded: an agent that
must be out is not kept in because the store does not answer, and nothing is decided while it does not.
"""

import asyncio
import logging
from collections.abc import Hashable, Iterable, Mapping
from typing import Protocol

from msgspec.structs import replace

from aegis.errors import AegisError
from aegis.identity.directory import Directory
from aegis.identity.permissions import changes
from aegis.journal.store import Store
from aegis.journal.unit import Committed
from aegis.runtime import permission_rows
from aegis.runtime.clock import Clock
from aegis.runtime.tenant import Snapshot

log = logging.getLogger("aegis.directory")
ATTEMPTS = 8


class Desk(Protocol):
    """What the host knows about directories."""

    def stamps(self, tenants: Iterable[str]) -> dict[str, Hashable]:
        """For each tenant something that changes when its file does."""

    def load(self, tenant: str) -> Directory:
        """The directory in the tenant's file; raises an `AegisError` when it is wrong."""

    def digest(self, tenant: str) -> str:
        """The digest of the file as it lies there, whatever it holds; empty when there is none."""


class _Seen:
    """What this process knows about the file of one tenant."""

    def __init__(self, stamp: Hashable, directory: Directory) -> None:
        self.stamp = stamp
        self.looked = stamp
        self.directory = directory
        self.told: Directory | None = None
        self.refused = ""
        self.unrecorded: tuple[str, str, str] | None = None

    def settled(self, stamp: Hashable) -> bool:
        """Whether the file is another than the one that was read, and stood like that a turn ago."""
        before, self.looked = self.looked, stamp
        return stamp != self.stamp and stamp == before


class Directories:
    """Follows the directories of a snapshot. `stamps` are those of the files that it was made from."""

    def __init__(
        self, *, store: Store, clock: Clock, snapshot: Snapshot, desk: Desk, instance: str, stamps: Mapping[str, Hashable]
    ) -> None:
        self._store = store
        self._clock = clock
        self._snapshot = snapshot
        self._desk = desk
        self._instance = instance
        self._seen = {tenant.name: _Seen(stamps.get(tenant.name), tenant.directory) for tenant in snapshot}
        self._turn = asyncio.Lock()

    async def refresh(self) -> None:
        """One turn: what is new in the files is in force or refused when this returns, and recorded."""
        async with self._turn:
            stamps = await asyncio.to_thread(self._desk.stamps, list(self._seen))
            for name, seen in self._seen.items():
                if seen.settled(stamps[name]):
                    await self._look(name, seen, stamps[name])
                self._serve(name, seen.directory)
            for name, seen in self._seen.items():
                await self._record(name, seen, stands=stamps[name] == seen.stamp)

    def refused(self, tenant: str) -> str:
        """Why the file of a tenant is not in force; empty when it is."""
        return self._seen[tenant].refused

    async def _look(self, name: str, seen: _Seen, stamp: Hashable) -> None:
        try:
            found = await asyncio.to_thread(self._desk.load, name)
        except Exception as error:
            await self._refuse(name, seen, stamp, error)
            return
        if (await asyncio.to_thread(self._desk.stamps, [name]))[name] != stamp:
            return  # changed while it was read: a later turn looks again
        if seen.refused or found != seen.directory:
            log.info("directory %s", "changed" if found != seen.directory else "is mended", extra={"tenant": name})
        seen.stamp, seen.directory, seen.refused, seen.unrecorded = stamp, found, "", None

    def _serve(self, name: str, directory: Directory) -> None:
        """Put the directory in force; should another who replaces the tenant put an older one back, the next turn mends it."""
        tenant = self._snapshot.get(name)
        assert tenant is not None, "tenants are never taken out of a snapshot"
        if tenant.directory is not directory:
            self._snapshot.put(replace(tenant, directory=directory), base=tenant)

    async def _refuse(self, name: str, seen: _Seen, stamp: Hashable, error: Exception) -> None:
        seen.stamp = stamp
        told = str(error) if isinstance(error, AegisError) else type(error).__name__
        code = str(getattr(error, "code", type(error).__name__))
        if told != seen.refused:
            log.error("directory refused: %s", told, extra={"tenant": name, "code": code})
        seen.refused = told
        seen.unrecorded = await asyncio.to_thread(self._desk.digest, name), code, told

    async def _record(self, name: str, seen: _Seen, *, stands: bool) -> None:
        """Write down what the journal does not tell yet; what the store does not take now is written at a later turn.

        A directory whose file has changed again (`stands`) is not told: another process may know the newer one, and say so before.
        """
        if stands and seen.directory != seen.told:
            await self._tell(name, seen.directory)
            seen.told = seen.directory
        if seen.unrecorded is not None:
            row = await permission_rows.last(self._store, name)
            unit = permission_rows.refused(name, row, *seen.unrecorded, now=self._clock.now(), instance=self._instance)
            await self._store.commit(unit)
            seen.unrecorded = None

    async def _tell(self, name: str, directory: Directory) -> None:
        """Record what changed since the journal last told of the directory, unless another process did."""
        for _ in range(ATTEMPTS):
            row = await permission_rows.last(self._store, name)
            if row is not None and not changes(row.directory, directory):
                return
            unit = permission_rows.changed(name, row, directory, now=self._clock.now(), instance=self._instance)
            if isinstance(await self._store.commit(unit), Committed):
                return
