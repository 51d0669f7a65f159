"""Letting go of old events: their bodies and what is sealed beside them go, the hashes of their leaves stay.

Every proof over the log holds afterwards, since proofs are made of hashes. What is let go of lies below a bound, and the bound is
held back from all sides: by time, by the newest checkpoint, by the end of a tile, and by whatever still acts or waits on an old
event (`Holder`): calls that are not finished, approvals that can still be used, messages that nobody has taken. So nothing loses
its ground.

Before anything goes, `examine` hashes every event below the bound and holds it against the tiles, and the tiles against the root of
the checkpoint: whoever changed an old event behind our back is found before the proof of it is gone, and not after.

One unit raises the bound and tells of it (an event `retention`); the rows are removed after it, in batches, and whoever is
interrupted does it again. A finished call whose result went answers a repetition with that (`result-gone`), and is never done
twice: the rows of calls and idempotency keys stay.
"""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from aegis.crypto.merkle import HASH_BYTES, Frontier, leaf_hash
from aegis.errors import ConfigError, CorruptStoreError, StoreError
from aegis.journal import bundle
from aegis.journal.checkpoint import Checkpoint
from aegis.journal.postings import BLOCK
from aegis.journal.store import Store
from aegis.journal.tiles import TILE_WIDTH, completed, split
from aegis.journal.unit import Committed, Put, Require, Row, Unit
from aegis.model.approval import Approval, ApprovalState
from aegis.model.approval import at as standing
from aegis.model.call import Call
from aegis.model.event import SYSTEM_TENANT, Event, instant
from aegis.runtime import ids, indexing
from aegis.runtime.clock import Clock
from aegis.runtime.erasing import UNFINISHED, Order
from aegis.runtime.known import APPROVAL, CALL
from aegis.runtime.letters import DEAD, Dead
from aegis.runtime.mailbox import MESSAGE, Waiting
from aegis.runtime.record import text

KIND = "retention"
SKEW = timedelta(minutes=15)
"""Clocks of several hosts differ, so that times are not quite in the order of events: so much is kept in addition."""
_PAGE = 500


class Holder(Struct, frozen=True, kw_only=True):
    """Something that still needs an event: `what` it is (a call, an approval, a message), and the place of its oldest event."""

    what: str
    id: str
    seq: int


class Plan(Struct, frozen=True, kw_only=True):
    """What would go: events from `first` to before `bound`. `holders` are those who hold it back, the oldest first."""

    tenant: str
    first: int
    bound: int
    before: datetime
    checkpoint: Checkpoint
    holders: tuple[Holder, ...] = ()

    @property
    def count(self) -> int:
        """How many events would go."""
        return self.bound - self.first


async def planned(store: Store, tenant: str, checkpoint: Checkpoint, before: datetime, now: datetime) -> Plan:
    """What can go of the events older than `before`, as things stand; nothing is changed.

    `checkpoint` is the newest of the tenant's log, whose signature was verified.

    Raises:
        ConfigError: The operator's own log, which is never let go of.
    """
    if tenant == SYSTEM_TENANT:
        raise ConfigError(f"`{SYSTEM_TENANT}` is the operator's own log, by which the others are proven: it is kept whole")
    head = (await store.heads())[tenant]
    by_time = await _first_since(store, tenant, head.first, head.frontier.size, before - SKEW)
    wanted = min(by_time, completed(checkpoint.size))
    holders = sorted([each async for each in _holders(store, tenant, now) if each.seq < wanted], key=lambda each: each.seq)
    lowest = min([wanted, *(each.seq for each in holders)])
    bound = max(head.first, lowest - lowest % TILE_WIDTH)
    return Plan(tenant=tenant, first=head.first, bound=bound, before=before, checkpoint=checkpoint, holders=tuple(holders))


async def examine(store: Store, plan: Plan) -> None:
    """Hold every event that would go against its leaf, and all leaves against the checkpoint.

    Raises:
        CorruptStoreError: They do not agree: nothing may be let go of. The message names the place.
    """
    tree, at = Frontier(), 0
    events = bundle.events(store, plan.tenant, plan.first, plan.bound - 1)
    async for chunk in bundle.leaves(store, plan.tenant, plan.checkpoint.size):
        hashes = split(chunk)
        for seq in range(max(at, plan.first), min(at + len(hashes), plan.bound)):
            event = await anext(events, None)
            if event is None or event.seq != seq or leaf_hash(event.body) != hashes[seq - at]:
                raise CorruptStoreError(f"event {seq} of tenant `{plan.tenant}` is not what was sealed: `aegis audit verify`")
        tree, at = tree.extend(hashes), at + len(chunk) // HASH_BYTES
    if (tree.size, tree.root) != (plan.checkpoint.size, plan.checkpoint.root):
        raise CorruptStoreError(f"the tiles of tenant `{plan.tenant}` do not give the root that was sealed: `aegis audit verify`")


async def drop(store: Store, clock: Clock, plan: Plan, order: Order, *, archive: str = "") -> int:
    """Let go of what was planned, durably, and remove it; the place of the event that tells of it.

    `archive` is where the events went before, as the event tells it; empty when they went nowhere.

    Raises:
        ConfigError: Somebody else let go of events meanwhile: plan anew.
    """
    row = (await store.rows(plan.tenant, [(KIND, KIND)])).get((KIND, KIND))
    if (await store.heads())[plan.tenant].first != plan.first:
        raise ConfigError("somebody else has let go of events meanwhile: run it again")
    receipt = await store.commit(_unit(plan, row, clock.now(), order, archive))
    if not isinstance(receipt, Committed):
        raise ConfigError("somebody else is letting go of events at this moment: run it again")
    await remove(store, plan.tenant)
    return receipt.events[0].seq


async def remove(store: Store, tenant: str) -> int:
    """Remove what was let go of and is still there: after a process was interrupted. How many events went."""
    gone = await store.shed(tenant)
    first = (await store.heads())[tenant].first
    await indexing.drop(store, tenant, first // BLOCK)
    return gone


def _unit(plan: Plan, row: Row | None, now: datetime, order: Order, archive: str) -> Unit:
    data = {
        "first": plan.bound,
        "formerly": plan.first,
        "before": instant(plan.before),
        "checkpoint": plan.checkpoint.text,
        "archive": text(archive),
        "by": order.by,
        "reason": text(order.reason),
        "statement": order.statement,
    }
    return Unit(
        tenant=plan.tenant,
        events=(Event(id=f"retention:{ids.uuid7(now)}", type="retention", tenant=plan.tenant, time=now, data=data),),
        requires=(Require(kind=KIND, id=KIND, version=row.version if row else 0),),
        writes=(Put(kind=KIND, id=KIND, body=msgspec.json.encode({"first": plan.bound})),),
        drops=plan.bound,
    )


async def _first_since(store: Store, tenant: str, low: int, high: int, since: datetime) -> int:
    """The first place whose event is not older, found by halving: clocks never go far back."""
    while low < high:
        middle = (low + high) // 2
        found = await store.events(tenant, after=middle - 1, limit=1)
        if not found:
            raise StoreError(f"event {middle} of tenant `{tenant}` is missing: run `aegis fsck`")
        low, high = (low, middle) if found[0].time >= since else (middle + 1, high)
    return low


async def _holders(store: Store, tenant: str, now: datetime) -> AsyncIterator[Holder]:
    for state in UNFINISHED:
        async for row in _rows(store, tenant, CALL, str(state)):
            call = msgspec.json.decode(row.body, type=Call)
            # A held call rests on its approval, which is looked at below: one that has expired holds nothing.
            if state != "held" and (seq := await _place(store, tenant, call.decision_event)) is not None:
                yield Holder(what=f"a call that is {state}", id=row.id, seq=seq)
    for usable in (ApprovalState.PENDING, ApprovalState.APPROVED):
        async for row in _rows(store, tenant, APPROVAL, str(usable)):
            approval = standing(msgspec.json.decode(row.body, type=Approval), now)
            asked = await store.events(tenant, request_id=approval.request_id, limit=1)
            if approval.live and asked:
                yield Holder(what=f"an approval that is {approval.state}", id=approval.approval_id, seq=asked[0].seq)
    async for row in _rows(store, tenant, MESSAGE):
        waiting = msgspec.json.decode(row.body, type=Waiting)
        if (seq := await _place(store, tenant, waiting.event)) is not None:
            yield Holder(what="a message that waits", id=row.id, seq=seq)
    async for row in _rows(store, tenant, DEAD):
        dead = msgspec.json.decode(row.body, type=Dead)
        if (seq := await _place(store, tenant, dead.event)) is not None:
            yield Holder(what="a dead letter", id=row.id, seq=seq)


async def _rows(store: Store, tenant: str, kind: str, state: str | None = None) -> AsyncIterator[Row]:
    after = ""
    while rows := await store.find(tenant, kind, state=state, after=after, limit=_PAGE):
        for row in rows:
            yield row
        after = rows[-1].id


async def _place(store: Store, tenant: str, event_id: str) -> int | None:
    event = await store.event(tenant, event_id) if event_id else None
    return None if event is None else event.seq
