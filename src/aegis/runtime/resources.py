"""Writes to one resource, one after the other: across agents, doors, runs, processes and hosts.

A contract says what its call changes (`resource: "account/{account_id}"`). With `conflicts: serialise` or `refuse` it also says
that two such writes must not be under way at once, of this tool or of any other that names the same resource:

    row `resource`, by digest     `held`      a call that is executing, decided or of unknown outcome has it
                                  `settling`  that call broke off, and can be at work in the tool until `until`
                                  `free`      nobody has it

Commit unit 1 takes the row, and the unit that ends the call gives it back: as only one unit moves a call, each resource is given
back once. A call of unknown outcome keeps it until a person has looked. A write that broke off keeps others out for as long as the
tool can still be at work on it; only the same request, under the same key, may go on with it before.

The id of a row is keyed with the tenant's secret: what the arguments said can neither be read from it nor guessed.
"""

import asyncio
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from time import perf_counter_ns
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from aegis.crypto.canonical import canon_numbers
from aegis.journal.store import Store
from aegis.journal.unit import Delete, Put, Require, Row, Unit
from aegis.model.contract import Contract
from aegis.model.event import Event
from aegis.model.proposal import Proposal
from aegis.runtime import ids, record
from aegis.runtime.clock import Clock
from aegis.runtime.known import RESOURCE, Known, Ref, claim_ref
from aegis.runtime.trace import Trace

HELD, SETTLING, FREE = "held", "settling", "free"
BUSY, CONFLICT = "resource_busy", "resource_conflict"
RULE = "first_durable_claim"
WAIT_NS = 2_000_000_000
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.08
TIDIED = 1000
FORGOTTEN = timedelta(hours=1)


class Holder(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whose write has a resource, since `at`.

    Should it break off, it can be at work in the tool until `settles_at`; an earlier attempt of the same request until `until`.
    """

    request_id: str
    agent_id: str
    tool: str
    at: datetime
    settles_at: datetime
    claim: str = ""
    until: datetime | None = None


def wanted(tenant: str, key: bytes, contract: Contract | None, arguments: Mapping[str, Any]) -> Ref | None:
    """The row of the resource that a call with these arguments, as they leave, must have; `None` when it needs none."""
    if contract is None or not contract.conflicts:
        return None
    named = contract.resource_of({name: _segment(value) for name, value in arguments.items()})
    return (RESOURCE, hmac.digest(key, f"aegis-resource-v1\0{tenant}\0{named}".encode(), "sha256").hex())


def _segment(value: Any) -> str:
    """An argument as it stands in a resource: no value can pass for two, nor 1 for another resource than "1"."""
    return quote(value if isinstance(value, str) else canon_numbers(value).decode(), safe="")


def in_the_way(known: Known, ref: Ref, proposal: Proposal, now: datetime) -> Holder | None:
    """Who has the resource, as it was read; `None` when this request may take it."""
    row = known.rows.get(ref)
    return _holder(row, proposal, now) if row is not None else None


def _holder(row: Row, proposal: Proposal, now: datetime) -> Holder | None:
    if row.state == FREE:
        return None
    found = msgspec.json.decode(row.body, type=Holder)
    if row.state == HELD:
        return found
    same = bool(found.claim) and found.claim in {name for _, name in claim_ref(proposal)}
    return None if same or found.until is None or found.until <= now else found


def taken(known: Known, ref: Ref, proposal: Proposal, contract: Contract, now: datetime) -> Holder:
    """The holder that this request becomes; an earlier attempt of it that may still be at work is not forgotten."""
    row = known.rows.get(ref)
    former = msgspec.json.decode(row.body, type=Holder) if row is not None and row.state == SETTLING else None
    return Holder(
        request_id=proposal.request_id,
        agent_id=proposal.principal.agent_id,
        tool=proposal.tool,
        at=now,
        settles_at=now + contract.settles_after,
        claim=next((name for _, name in claim_ref(proposal)), ""),
        until=former.until if former else None,
    )


def held(name: str, holder: Holder) -> Put:
    """The row of a resource that is taken."""
    return _put(name, holder, HELD)


def given_back(name: str, holder: Holder, now: datetime, *, broken: bool) -> Put:
    """The row once its call has ended; `broken` says that the tool may still be at work."""
    until = max(filter(None, (holder.until, holder.settles_at if broken else None)), default=None)
    settling = until is not None and until > now
    return _put(name, replace(holder, until=until), SETTLING if settling else FREE)


def _put(name: str, holder: Holder, state: str) -> Put:
    return Put(kind=RESOURCE, id=name, body=msgspec.json.encode(holder), state=state, lookup=holder.request_id)


class Resources:
    """Waits for resources, and records who did not get one. One for each process; it holds no state of its own."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def freed(self, proposal: Proposal, ref: Ref, contract: Contract, since: int) -> bool:
        """Wait until the resource may be taken; false when this contract does not wait, or not any longer.

        `since`: when the request began to wait (`perf_counter_ns`), however often it was overtaken since.
        """
        pause = FIRST_PAUSE
        while contract.conflicts == "serialise" and perf_counter_ns() - since < WAIT_NS:
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            row = (await self._store.rows(proposal.principal.tenant, [ref])).get(ref)
            if row is None or _holder(row, proposal, self._clock.now()) is None:
                return True
        return False

    async def tidy(self, tenant: str) -> None:
        """Forget rows that nobody has had for a while: whoever read one decides long before that."""
        before = self._clock.now() - FORGOTTEN
        for state in (FREE, SETTLING):
            after = ""
            while rows := await self._store.find(tenant, RESOURCE, state=state, after=after, limit=TIDIED):
                after = rows[-1].id
                for row in rows:
                    holder = msgspec.json.decode(row.body, type=Holder)
                    if max(holder.settles_at, holder.until or holder.settles_at) < before:
                        gone = Unit(
                            tenant=tenant,
                            requires=(Require(kind=RESOURCE, id=row.id, version=row.version),),
                            writes=(Delete(kind=RESOURCE, id=row.id),),
                        )
                        await self._store.commit(gone)

    async def refused(self, proposal: Proposal, ref: Ref, contract: Contract, holder: Holder, waited_ns: int, trace: Trace) -> None:
        """Record for the tool's owner that two intents met, and why the other one won."""
        now = self._clock.now()
        data = {
            "actor": record.actor(proposal.principal),
            "agent_id": proposal.principal.agent_id,
            "agent": {"txn": record.text(proposal.principal.txn), "task": record.text(proposal.principal.task)},
            "tool": {"name": proposal.tool, "version": proposal.tool_version, "digest": proposal.tool_digest},
            "owner": record.text(contract.owner),
            "resource": f"hmac-sha256:{ref[1]}",
            "conflicts": contract.conflicts,
            "held_by": {"request_id": holder.request_id, "agent_id": holder.agent_id, "tool": holder.tool},
            "won_by": RULE,
            "reason": reason_of(contract),
            "waited_ms": waited_ns // 1_000_000,
            "request_hash": proposal.request_hash,
            **trace.told,
        }
        event = Event(
            id=f"resource_conflict:{ids.uuid7(now)}",
            type="resource_conflict",
            tenant=proposal.principal.tenant,
            time=now,
            request_id=proposal.request_id,
            data=data,
        )
        await self._store.commit(Unit(tenant=event.tenant, events=(event,)))


def reason_of(contract: Contract) -> str:
    """The stable word for a request that did not get its resource."""
    return BUSY if contract.conflicts == "serialise" else CONFLICT
