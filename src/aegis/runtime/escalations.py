"""What happens to approvals by themselves: nobody answered in time.

    pending   -> pending, more people may answer     at `escalates_at`, once
    pending   -> expired                             at `expires_at`
    approved  -> expired                             at `expires_at`, when the held call has not come back to use it

Each is one unit with an event; it requires the approval to stand as it was read, so of several processes one does it, and a person
who answers at that moment was either in time or not. Rows `approval-due` lie in the order of time: a turn reads what is due, and
nothing else. Until a turn has come, an approval that is over counts as expired all the same (`model.approval.at`).
"""

import asyncio

from aegis.journal.store import Store
from aegis.journal.unit import Committed, Delete, Put, Require, Row, Unit
from aegis.model.approval import Approval, ApprovalState, escalate
from aegis.model.approval import at as standing
from aegis.model.event import instant
from aegis.runtime import approval_rows, record
from aegis.runtime.approval_rows import DUE, KIND
from aegis.runtime.approvals import Desk
from aegis.runtime.clock import Clock
from aegis.runtime.spanning import approval_span
from aegis.runtime.spans import Spans
from aegis.runtime.tenant import Snapshot
from aegis.runtime.trace import Trace

EVERY_SECONDS = 1.0
PAGE = 100


class Escalations:
    """Moves approvals on when their time has come. It holds no state of its own; several processes may do it at once."""

    def __init__(self, store: Store, clock: Clock, snapshot: Snapshot, desk: Desk, spans: Spans) -> None:
        self._store = store
        self._clock = clock
        self._snapshot = snapshot
        self._desk = desk
        self._spans = spans

    async def sweep(self) -> int:
        """Settle what is due in every tenant; how many approvals were moved."""
        return sum([await self._tenant(tenant.name) for tenant in self._snapshot])

    async def _tenant(self, tenant: str) -> int:
        moved, after = 0, ""
        while places := await self._store.find(tenant, DUE, after=after, limit=PAGE):
            now = instant(self._clock.now())
            due = [row for row in places if row.id.partition("\x1f")[0] <= now]
            moved += await self._page(tenant, due)
            if len(due) < PAGE:
                break
            after = due[-1].id
        return moved

    async def _page(self, tenant: str, due: list[Row]) -> int:
        found = await self._store.rows(tenant, [(KIND, row.lookup) for row in due])
        # At the same time, so that the store can write them as one group.
        return sum(await asyncio.gather(*(self._settle(tenant, row, found.get((KIND, row.lookup))) for row in due)))

    async def _settle(self, tenant: str, due: Row, row: Row | None) -> bool:
        approval = approval_rows.read(row) if row else None
        if row is None or approval is None or not approval.live or approval_rows.due_id(approval) != due.id:
            await self._store.commit(Unit(tenant=tenant, writes=(Delete(kind=DUE, id=due.id),)))  # of an approval that moved on
            return False
        now = self._clock.now()
        widened = escalate(approval, now)
        if widened is not None:
            return await self._move(approval, widened, row.version, "approval_escalated")
        over = standing(approval, now)
        return over.state is ApprovalState.EXPIRED and await self._move(approval, over, row.version, "approval_expired")

    async def _move(self, former: Approval, moved: Approval, version: int, kind: str) -> bool:
        """Write the approval as it stands from now on, and tell whoever waits for it."""
        now, waited = self._clock.now(), Trace.continued(former.traceparent)
        ended = former.state is ApprovalState.PENDING and moved.state is ApprovalState.EXPIRED
        event = record.approval_moved(moved, kind, now=now, traced=waited.told if ended else None)
        writes: tuple[Put | Delete, ...] = (*approval_rows.rows(moved, former), *approval_rows.woken(moved))
        unit = Unit(
            tenant=moved.tenant,
            events=(event,),
            requires=(Require(kind=KIND, id=moved.request_hash, version=version),),
            writes=writes,
        )
        if not isinstance(await self._store.commit(unit), Committed):
            return False
        if ended:
            self._spans.put(approval_span(waited, moved, now=now, event_id=event.id))
        await self._desk.tell(moved)
        return True


async def adopt(store: Store, tenant: str) -> int:
    """Give approvals that an older version wrote the rows by which they are listed and expire; how many had none.

    It looks at what waits and what is granted, once at the start of a process.
    """
    found = 0
    for state in (ApprovalState.PENDING, ApprovalState.APPROVED):
        after = ""
        while rows := await store.find(tenant, KIND, state=str(state), after=after, limit=PAGE):
            after = rows[-1].id
            known = await store.rows(tenant, [(approval_rows.LIST, approval_rows.place(approval_rows.read(row))) for row in rows])
            for row in rows:
                approval = approval_rows.read(row)
                if (approval_rows.LIST, approval_rows.place(approval)) not in known:
                    require = Require(kind=KIND, id=row.id, version=row.version)
                    await store.commit(Unit(tenant=tenant, requires=(require,), writes=approval_rows.rows(approval)))
                    found += 1
    return found
