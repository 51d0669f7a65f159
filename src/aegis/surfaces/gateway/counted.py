"""How much waits in the store of a tenant: for people, for agents, for somebody to look at it."""

from datetime import datetime

from msgspec import Struct

from aegis.journal.store import Store
from aegis.model.approval import ApprovalState
from aegis.runtime.approval_rows import KIND as APPROVAL
from aegis.runtime.letters import DEAD
from aegis.runtime.mailbox import LEASED, MESSAGE, READY
from aegis.runtime.runs.flow import FLOW
from aegis.workflow.run import FINAL, RunState

MOST = 2000
"""Beyond that, more is only more."""
_PAGE = 500


class Waiting(Struct, frozen=True, kw_only=True):
    """Numbers of rows, each at most `MOST`."""

    approvals: int
    ready: int
    leased: int
    dead: int


async def counted(store: Store, tenant: str, now: datetime) -> Waiting:
    """What waits now; an approval that nobody answered in time does not wait any more."""
    return Waiting(
        approvals=await _rows(store, tenant, APPROVAL, str(ApprovalState.PENDING), now),
        ready=await _rows(store, tenant, MESSAGE, READY),
        leased=await _rows(store, tenant, MESSAGE, LEASED),
        dead=await _rows(store, tenant, DEAD, None),
    )


async def open_runs(store: Store, tenant: str) -> dict[str, int]:
    """Runs that did not end, by how they stand."""
    return {str(state): await _rows(store, tenant, FLOW, str(state)) for state in RunState if state not in FINAL}


async def _rows(store: Store, tenant: str, kind: str, state: str | None, now: datetime | None = None) -> int:
    found, after = 0, ""
    while rows := await store.find(tenant, kind, state=state, after=after, limit=_PAGE):
        after = rows[-1].id
        found += sum(1 for row in rows if now is None or row.due is None or row.due > now)
        if len(rows) < _PAGE or found >= MOST:
            break
    return min(found, MOST)
