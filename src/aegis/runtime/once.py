"""Things that may be used once: the assertion by which an agent asks for a token, the proof that comes with a request.

    row `once`, by time and digest    that this one was used

The row is required not to exist by the unit that uses the thing, so of many parallel uses, in whatever processes, exactly one wins.
Ids begin with the time at which the thing was made: what is refused by its age is forgotten, oldest first.
"""

import hashlib
from datetime import datetime, timedelta

from aegis.errors import IdentityError
from aegis.journal.store import Store
from aegis.journal.unit import Committed, Delete, Put, Require, Unit
from aegis.model.event import Event
from aegis.runtime import ids
from aegis.runtime.clock import Clock
from aegis.runtime.known import ALLOWANCE

ONCE = "once"
KEPT = timedelta(minutes=15)
BATCH = 500


def named(made_at: datetime, *parts: str) -> str:
    """The id of a thing that is used once; `parts` tell it from every other one."""
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return f"{made_at:%Y%m%dT%H%M%S}-{digest[:40]}"


def taking(name: str) -> tuple[Require, Put]:
    """What the unit that uses the thing requires and writes."""
    return Require(kind=ONCE, id=name, version=0), Put(kind=ONCE, id=name, body=b"{}")


class Once:
    """Uses things that have no unit of their own, and forgets what is too old to matter."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def use(self, tenant: str, name: str, *, agent_id: str, what: str) -> None:
        """Use it, durably.

        Raises:
            IdentityError: `pop_replayed`: it was used before.
        """
        require, put = taking(name)
        now = self._clock.now()
        event = Event(id=f"used:{name}", type=what, tenant=tenant, time=now, data={"agent_id": agent_id, "once": name})
        receipt = await self._store.commit(Unit(tenant=tenant, events=(event,), requires=(require,), writes=(put,)))
        if not isinstance(receipt, Committed):
            raise IdentityError("pop_replayed", "this proof was used before")

    async def forget(self, tenant: str) -> int:
        """Remove what is refused by its age, and allowances of tokens that have expired; how many went."""
        before = self._clock.now() - KEPT
        went = 0
        for kind, until in ((ONCE, f"{before:%Y%m%dT%H%M%S}"), (ALLOWANCE, ids.new("tok", before))):
            went += await self._forget(tenant, kind, until)
        return went

    async def _forget(self, tenant: str, kind: str, until: str) -> int:
        went = 0
        while rows := [row for row in await self._store.find(tenant, kind, limit=BATCH) if row.id < until]:
            now = self._clock.now()
            told = {"kind": kind, "count": len(rows)}
            event = Event(id=f"forgotten:{kind}:{ids.uuid7(now)}", type="forgotten", tenant=tenant, time=now, data=told)
            requires = tuple(Require(kind=kind, id=row.id, version=row.version) for row in rows)
            writes = tuple(Delete(kind=kind, id=row.id) for row in rows)
            receipt = await self._store.commit(Unit(tenant=tenant, events=(event,), requires=requires, writes=writes))
            if not isinstance(receipt, Committed):
                break  # another process is at it
            went += len(rows)
        return went
