"""The store that the settings name; apart from the rest, because most commands need nothing else."""

from aegis.journal.store import Store
from aegis.runtime.clock import Clock
from aegis.settings import Settings


async def open_store(settings: Settings, clock: Clock, *, check: bool = True) -> Store:
    """The store of the settings, migrated and checked; `check=False` opens even one that contradicts itself, for `fsck`."""
    path = settings.sqlite_path
    if path is not None:
        from aegis.adapters import sqlite  # noqa: PLC0415 - a process imports only the store that it uses

        return await sqlite.open_store(path, clock=clock.now, check=check)
    from aegis.adapters import postgres  # noqa: PLC0415 - its driver is an extra

    return await postgres.open_store(settings.store.url, clock=clock.now, check=check)
