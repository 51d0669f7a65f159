"""Which processes carry out commands: each keeps writing its own row, and is dead to another when that row changes no more.

No two clocks are compared. Who looks remembers, by its own monotonic clock, when it last saw a row change; so neither a jump of the
clock nor a machine whose clock is wrong can make a living process look dead, and one that was stopped and comes back finds that its
commands went to others under the next dispatch number.
"""

from time import monotonic

from aegis.journal.store import Store
from aegis.journal.unit import Delete, Put, Unit
from aegis.model.event import SYSTEM_TENANT

EXECUTOR = "executor"
BEAT_SECONDS = 1.0
LEASE_SECONDS = 4.0


class Executors:
    """The executors of one store, as one of them sees the others."""

    def __init__(self, store: Store, instance: str, *, lease_seconds: float = LEASE_SECONDS) -> None:
        self._store = store
        self._instance = instance
        self._lease = lease_seconds
        self._seen: dict[str, tuple[int, float]] = {}
        self._beats = 0

    async def beat(self) -> None:
        """Show that this process lives."""
        self._beats += 1
        row = Put(kind=EXECUTOR, id=self._instance, body=b"{}", state="up", lookup=str(self._beats))
        await self._store.commit(Unit(tenant=SYSTEM_TENANT, writes=(row,)))

    async def dead(self) -> tuple[str, ...]:
        """The executors that have not shown themselves for the length of a lease, or whose process is known to be gone."""
        rows = await self._store.find(SYSTEM_TENANT, EXECUTOR, limit=10_000)
        now = monotonic()
        for row in rows:
            known = self._seen.get(row.id)
            if known is None or known[0] != row.version:
                self._seen[row.id] = (row.version, now)
        for name in self._seen.keys() - {row.id for row in rows}:
            del self._seen[name]
        others = [(name, since) for name, (_, since) in sorted(self._seen.items()) if name != self._instance]
        return tuple([name for name, since in others if now - since > self._lease or not await self._store.alive(name)])

    async def known(self) -> frozenset[str]:
        """Every executor that has a row."""
        return frozenset(row.id for row in await self._store.find(SYSTEM_TENANT, EXECUTOR, limit=10_000))

    async def bury(self, instance: str) -> None:
        """Nothing of it is left to take over."""
        await self._store.commit(Unit(tenant=SYSTEM_TENANT, writes=(Delete(kind=EXECUTOR, id=instance),)))
        self._seen.pop(instance, None)

    async def leave(self) -> None:
        """This process ends in order: others need not wait to find out."""
        await self._store.commit(Unit(tenant=SYSTEM_TENANT, writes=(Delete(kind=EXECUTOR, id=self._instance),)))
