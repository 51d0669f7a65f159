"""Erasing what is sealed for one person: the end of their data key, and the event that tells of it, in one unit.

Arguments, results and messages stay where they are, and nobody can open them again. The journal is not touched: events hold digests
of what was sealed, so every proof made before holds afterwards. The event names the person by the name of their keys, which is a
keyed hash (`model.datasubject`); who asked, why, which key ended and how much lay under it. What is sealed for the person later
lies under a new key.

Every erasure raises the version of one row of the tenant, which other processes look at (`Vault.refresh`).
"""

from collections.abc import AsyncIterator

import msgspec
from msgspec import Struct

from aegis.errors import StoreError
from aegis.journal.store import Store
from aegis.journal.unit import Committed, Put, Require, Unit
from aegis.model.call import Call, CallState
from aegis.model.event import Event
from aegis.runtime import ids
from aegis.runtime.clock import Clock
from aegis.runtime.known import CALL
from aegis.runtime.record import text
from aegis.runtime.vault import ERASURES, Vault

ATTEMPTS = 16
UNFINISHED = (CallState.EXECUTING, CallState.HELD, CallState.DECIDED, CallState.UNKNOWN)
_PAGE = 500


class Sealed(Struct, frozen=True, kw_only=True):
    """What lies under the key of one person now. `unfinished` are calls whose arguments somebody may still want to read."""

    subject: str
    key_id: str = ""
    payloads: int = 0
    unfinished: tuple[str, ...] = ()


class Erased(Struct, frozen=True, kw_only=True):
    """An erasure that is durable; without a key there was nothing to erase. `left` says what is left to somebody else."""

    subject: str
    key_id: str = ""
    payloads: int = 0
    seq: int = -1
    left: str = ""


class Order(Struct, frozen=True, kw_only=True):
    """Who wants it, and why. `statement` proves that it is them."""

    by: str
    reason: str
    statement: str


async def sealed_for(store: Store, tenant: str, whose: str) -> Sealed:
    """What an erasure of the subject of this key name would end; nothing is changed."""
    found = await store.data_key(tenant, whose, None)
    if found is None:
        return Sealed(subject=whose)
    unfinished = [call.request_id async for call in _calls(store, tenant) if call.sealed_for == whose]
    return Sealed(subject=whose, key_id=found[0], payloads=await store.sealed(tenant, found[0]), unfinished=tuple(unfinished))


async def erase(store: Store, vault: Vault, clock: Clock, tenant: str, whose: str, order: Order) -> Erased:
    """Destroy the key of a subject, and remove from files what this and earlier erasures left in them.

    How much lay under the key is counted just before: calls that end in between are erased and not counted.

    Raises:
        StoreError: Nothing was erased, or (after the commit) the files could not be cleaned: do it again.
    """
    for _ in range(ATTEMPTS):
        found = await store.data_key(tenant, whose, None)
        if found is None:
            return Erased(subject=whose, left=await store.scrub())
        count = await store.sealed(tenant, found[0])
        receipt = await store.commit(await _unit(store, clock, tenant, whose, found[0], count, order))
        vault.forget(tenant)
        if isinstance(receipt, Committed):
            left = await store.scrub()
            return Erased(subject=whose, key_id=found[0], payloads=count, seq=receipt.events[0].seq, left=left)
    raise StoreError("other erasures of the tenant keep standing in the way: nothing was erased, try again")


async def _unit(store: Store, clock: Clock, tenant: str, whose: str, key_id: str, count: int, order: Order) -> Unit:
    row = (await store.rows(tenant, [ERASURES])).get(ERASURES)
    kind, row_id = ERASURES
    now = clock.now()
    data = {
        "subject": whose,
        "keys": [key_id],
        "payloads": count,
        "by": order.by,
        "reason": text(order.reason),
        "statement": order.statement,
    }
    return Unit(
        tenant=tenant,
        events=(Event(id=f"erasure:{ids.uuid7(now)}", type="erasure", tenant=tenant, time=now, data=data),),
        requires=(Require(kind=kind, id=row_id, version=row.version if row else 0),),
        writes=(Put(kind=kind, id=row_id, body=msgspec.json.encode({"newest": key_id})),),
        destroys=(key_id,),
    )


async def _calls(store: Store, tenant: str) -> AsyncIterator[Call]:
    """The calls that are not finished."""
    for state in UNFINISHED:
        after = ""
        while rows := await store.find(tenant, CALL, state=str(state), after=after, limit=_PAGE):
            for row in rows:
                yield msgspec.json.decode(row.body, type=Call)
            after = rows[-1].id
