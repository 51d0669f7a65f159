"""Workers of remote agents: they lease a task, say that they are at it, and say how it ended.

    ready  -> leased      one worker takes it, for `lease_seconds`; limits of the queue hold over all processes
    leased -> leased      heartbeat: the lease lasts longer, and the credential is renewed in time
    leased -> ended       complete or fail: the run hears of it, the call that handed the task out is reported ended
    leased -> lapsed      the lease ran out: the run issues the task under its next dispatch number (`runs.settling`)

Each step is one unit that requires the rows it was built on, so of many workers exactly one has a task, and a queue never has more
at work than it may. An answer counts under the dispatch number that is outstanding: a worker that was late is told so.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from aegis.errors import IdentityError, SealError
from aegis.identity.chain import ChainGuard
from aegis.journal.unit import Committed, Put, Require, Row, Unit
from aegis.model.decision import Decision
from aegis.model.event import Event
from aegis.model.facts import Facts
from aegis.model.principal import Principal
from aegis.model.proposal import Proposal
from aegis.model.queue import QueueContract, Remote
from aegis.runtime import ids
from aegis.runtime.enforce import Gate
from aegis.runtime.facts import FactSource, lineage_of, requests_of
from aegis.runtime.known import Known
from aegis.runtime.receiving import barred
from aegis.runtime.record import actor, text
from aegis.runtime.runs.credentials import RENEWED, Credential, TaskCredentials, holder
from aegis.runtime.runs.queued import (
    INPUT,
    QUEUE,
    READY,
    SLOT,
    START,
    TASK,
    Queued,
    TaskState,
    moved,
    number_of,
    of_ready,
    place,
    read,
    slot_id,
    standing,
)
from aegis.runtime.runs.queued import Gate as Open
from aegis.runtime.runs.settling import Settling, told
from aegis.runtime.tenant import Tenant

PAGE = 16
PAUSE_SECONDS = 0.25
LONGEST_WAIT = timedelta(seconds=20)


class Shown(Struct, frozen=True, kw_only=True):
    """How a worker showed itself: the agent, the key its token is bound to, the instructions it works by, a name for people."""

    who: Principal
    jkt: str = ""
    prompt: str = ""
    worker: str = ""


class Leased(Struct, frozen=True, kw_only=True):
    """A task in the hands of a worker."""

    task: Queued
    input: Any
    credential: Credential
    seconds: int


class Beat(Struct, frozen=True, kw_only=True):
    """The answer to a heartbeat: until when the lease lasts, and a credential when it was time for a new one."""

    until: datetime
    credential: Credential | None = None


class _Room(Struct, frozen=True, kw_only=True):
    """A place among those at work, and a start that counts; -1 and nothing where the queue has no such limit."""

    slot: int = -1
    requires: tuple[Require, ...] = ()
    writes: tuple[Put, ...] = ()


class Leases:
    """Leases of one process. What it holds of its own are the tasks that it is leasing at this moment."""

    def __init__(self, gate: Gate, credentials: TaskCredentials, settling: Settling) -> None:
        self._gate = gate
        self._settling = settling
        self._store = gate.store
        self._credentials = credentials
        self._facts = FactSource(gate.store, gate.clock, gate.halts)
        self._taking: set[tuple[str, str]] = set()

    def served(self, tenant: Tenant, who: Principal, name: str) -> QueueContract | None:
        """The queue, if this agent's workers lease from it; everybody else does not know whether there is one."""
        found = tenant.contracts.get(f"queue.{name}")
        if not isinstance(found, QueueContract) or not isinstance(found.agents.get(who.agent_id), Remote):
            return None
        return found

    async def barred(self, tenant: Tenant, who: Principal, queue: QueueContract) -> Decision | None:
        """Why the agent may not take tasks now; `None` when it may. The queue's document opens it to the agent, not a scope."""
        kept = replace(tenant, guards=tuple(guard for guard in tenant.guards if guard.name != "scope"))
        return await barred(self._facts, kept, who, tool=queue.name, version=queue.version, digest=queue.digest)

    async def lease(self, tenant: Tenant, shown: Shown, queue: QueueContract, wait: timedelta) -> Leased | None:
        """The next task of the agent, waited for if there is none; `None` when none came.

        Raises:
            IdentityError: No credential can be made for the agent.
        """
        until = self._gate.clock.now() + min(wait, LONGEST_WAIT)
        while True:
            found = await self._next(tenant, shown, queue)
            if found is not None or self._gate.clock.now() >= until:
                return found
            await asyncio.sleep(PAUSE_SECONDS)

    async def heartbeat(self, tenant: Tenant, shown: Shown, task_id: str, lease: str) -> Beat | None:
        """The lease lasts longer; `None` when it is not this worker's any more."""
        while (row := await self.held(tenant.name, shown.who, task_id, lease)) is not None:
            task, now = read(row), self._gate.clock.now()
            if task.due is None or task.due <= now or await self._over(tenant, task):
                return None
            queue = tenant.contracts.get(f"queue.{task.queue}")
            seconds = queue.lease_seconds if isinstance(queue, QueueContract) else 0
            fresh = replace(task, due=max(task.due, _until(now, seconds, task.deadline)))
            made = None
            if task.good_until is None or task.good_until - now < RENEWED:
                made = self._issued(tenant, shown, task, now)
                fresh = replace(fresh, good_until=made.expires_at)
            events = (_event("task_extended", tenant.name, fresh, now, shown.who, ids.new("ext", now)),) if made else ()
            require = Require(kind=TASK, id=task.id, version=row.version)
            unit = Unit(tenant=tenant.name, events=events, requires=(require,), writes=moved(task, fresh))
            if isinstance(await self._store.commit(unit), Committed):
                assert fresh.due is not None
                return Beat(until=fresh.due, credential=made)
        return None

    async def held(self, tenant: str, who: Principal, task_id: str, lease: str) -> Row | None:
        """The row of a task that this agent has under this lease now."""
        row = (await self._store.rows(tenant, [(TASK, task_id)])).get((TASK, task_id))
        if row is None or row.state != TaskState.LEASED:
            return None
        task = read(row)
        return row if (task.agent_id, task.lease) == (who.agent_id, lease) else None

    async def knows(self, tenant: str, who: Principal, task_id: str) -> bool:
        """Whether there is such a task of this agent, whoever has it."""
        row = (await self._store.rows(tenant, [(TASK, task_id)])).get((TASK, task_id))
        return row is not None and read(row).agent_id == who.agent_id

    async def _next(self, tenant: Tenant, shown: Shown, queue: QueueContract) -> Leased | None:
        where, after = place(queue.queue, shown.who.agent_id), ""
        rows = await self._store.rows(tenant.name, [(QUEUE, queue.queue)])
        if standing(rows, queue.queue)[0].gate is Open.PAUSED:
            return None
        while found := await self._store.find(tenant.name, READY, lookup=where, after=after, limit=PAGE):
            after = found[-1].id
            for each in found:
                taken = await self._taken(tenant, shown, queue, of_ready(each.id))
                if taken is not None:
                    return taken
            if len(found) < PAGE:
                break
        return None

    async def _taken(self, tenant: Tenant, shown: Shown, queue: QueueContract, task_id: str) -> Leased | None:
        """This task, unless another worker has it by now."""
        if (tenant.name, task_id) in self._taking:
            return None
        self._taking.add((tenant.name, task_id))
        try:
            return await self._take(tenant, shown, queue, task_id)
        finally:
            self._taking.discard((tenant.name, task_id))

    async def _take(self, tenant: Tenant, shown: Shown, queue: QueueContract, task_id: str) -> Leased | None:
        rows = await self._store.rows(tenant.name, [(TASK, task_id), (QUEUE, queue.queue)])
        row, now = rows.get((TASK, task_id)), self._gate.clock.now()
        gate, version = standing(rows, queue.queue)
        if row is None or row.state != TaskState.READY or gate.gate is Open.PAUSED:
            return None
        task = read(row)
        room = await self._room(tenant.name, queue, task.id, now)
        if room is None or self._halted(tenant, task):
            return None
        if await self._over(tenant, task):
            await self._store.commit(Unit(tenant=tenant.name, requires=(_same(row),), writes=moved(task, None)))
            return None
        given = await self._input(tenant.name, task)
        if given is None:
            await self._settling.lost(tenant.name, row, "erased", "what the agent was to work on was erased")
            return None
        made = self._issued(tenant, shown, task, now)
        leased = replace(
            task, state=TaskState.LEASED, lease=ids.new("lse", now), worker=text(shown.worker, 64), slot=room.slot,
            due=_until(now, queue.lease_seconds, task.deadline), good_until=made.expires_at,
        )  # fmt: skip
        unit = Unit(
            tenant=tenant.name,
            events=(_event("task_leased", tenant.name, leased, now, shown.who, leased.lease),),
            requires=(_same(row), Require(kind=QUEUE, id=queue.queue, version=version), *room.requires),
            writes=(*moved(task, leased), *room.writes),
        )
        if not isinstance(await self._store.commit(unit), Committed):
            return None
        return Leased(task=leased, input=given["input"], credential=made, seconds=queue.lease_seconds)

    def _issued(self, tenant: Tenant, shown: Shown, task: Queued, now: datetime) -> Credential:
        assert task.stand is not None, "what lies in a queue stands on a call"
        return self._credentials.issue(tenant, task.stand, now, jkt=shown.jkt, prompt=shown.prompt)

    def _halted(self, tenant: Tenant, task: Queued) -> bool:
        names = (f"queue:{task.queue}", f"run:{task.run}", f"workflow:{task.workflow}", task.agent_id, task.by)
        return any(halt.mode == "halt" for halt in self._gate.halts.stands(tenant.name, names))

    async def _over(self, tenant: Tenant, task: Queued) -> bool:
        """Whether something that the task stands on is under way no more: then nobody needs it."""
        assert task.stand is not None
        try:
            who = holder(tenant, task.stand)
        except IdentityError:
            return False  # which is told to whoever asks for the credential
        known = Known()
        await known.read(self._store, tenant.name, requests_of(who))
        lineage = lineage_of(known, who)
        parent = lineage.get(who.parent.request_id) if who.parent else None
        proposal = Proposal(principal=who, tool="aegis.task", arguments={})
        return bool(ChainGuard()(proposal, Facts(parent=parent, lineage=lineage)))

    async def _input(self, tenant: str, task: Queued) -> dict[str, Any] | None:
        """What the agent is to work on, under `input`; nothing when it was erased."""
        try:
            plain = await self._gate.vault.read(tenant, task.event, INPUT)
        except SealError:
            return None
        return msgspec.json.decode(plain, type=dict[str, Any]) if plain is not None else None

    async def _room(self, tenant: str, queue: QueueContract, task_id: str, now: datetime) -> _Room | None:
        """Room for one more at work; `None` when the queue has none now."""
        requires: list[Require] = []
        writes: list[Put] = []
        slot = -1
        if queue.concurrency:
            taken = await self._store.find(tenant, SLOT, lookup=queue.queue, limit=queue.concurrency)
            slot = _free([number_of(row.id) for row in taken], queue.concurrency, task_id)
            if slot < 0:
                return None
            requires.append(Require(kind=SLOT, id=slot_id(queue.queue, slot), version=0))
        if queue.rate:
            begun = await self._store.find(tenant, START, lookup=queue.queue, limit=queue.rate)
            running = {number_of(row.id): row for row in begun}
            over = [number for number, row in running.items() if row.due is None or row.due <= now]
            number = over[0] if over else _free(list(running), queue.rate, task_id)
            if number < 0:
                return None
            name = slot_id(queue.queue, number)
            requires.append(Require(kind=START, id=name, version=running[number].version if number in running else 0))
            ends = now + timedelta(seconds=queue.period_seconds)
            writes.append(Put(kind=START, id=name, body=b"{}", lookup=queue.queue, due=ends))
        return _Room(slot=slot, requires=tuple(requires), writes=tuple(writes))


def _free(taken: Sequence[int], many: int, task_id: str) -> int:
    """A number that is not taken, -1 when all are; tasks begin to look at different ones, so that they seldom meet."""
    if len(taken) >= many:
        return -1
    first, known = int(task_id[-6:], 16) % many, set(taken)
    return next((number % many for number in range(first, first + many) if number % many not in known), -1)


def _until(now: datetime, seconds: int, deadline: datetime | None) -> datetime:
    until = now + timedelta(seconds=seconds)
    return min(until, deadline) if deadline else until


def _same(row: Row) -> Require:
    return Require(kind=row.kind, id=row.id, version=row.version)


def _event(kind: str, tenant: str, task: Queued, now: datetime, who: Principal, name: str) -> Event:
    assert task.stand is not None
    assert task.due is not None
    return Event(id=f"{kind}:{name}", type=kind, tenant=tenant, time=now, request_id=task.run, data=told(task, actor=actor(who)))
