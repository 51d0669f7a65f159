"""To hand an agent its task: decide `queue.NAME` action `enqueue`, then let the agent work.

    callable    a function of this program works here and now
    endpoint    a service works while it is waited for
    remote      the task lies in its queue until a worker leases it (`runtime.runs.leases`)

The decided call stays under way for as long as the agent has the task, and everything that the agent does stands on it. When the
task ends, the call is reported ended, and with it ends the agent's authority. What an earlier dispatch left is closed first.

A queue that is full, paused or draining takes nothing now: the task waits outside of it, holding nothing, and is issued again when
the queue has room.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from aegis.errors import IdentityError, StoreBusyError
from aegis.journal.store import Store
from aegis.journal.unit import Committed, Existing, Payload, Put, Require, Unit
from aegis.model.call import Call, CallState
from aegis.model.event import Event
from aegis.model.principal import Principal
from aegis.model.proposal import canon_arguments
from aegis.model.queue import ENQUEUE, PREFIX, Callable, Endpoint, QueueContract
from aegis.runtime import ids
from aegis.runtime.ask import Answer, Ask, Kind
from aegis.runtime.enforce import Gate
from aegis.runtime.known import CALL
from aegis.runtime.record import commitment
from aegis.runtime.runs.credentials import holder, stand
from aegis.runtime.runs.queued import (
    DEPTH,
    INPUT,
    QUEUE,
    READY,
    TASK,
    Queued,
    Stand,
    TaskState,
    moved,
    place,
    read,
    standing,
    task_id,
)
from aegis.runtime.runs.queued import Gate as Open
from aegis.runtime.runs.reported import bound, spent_under, with_calls
from aegis.runtime.tenant import Tenant
from aegis.workflow.graph import Step, Workflow
from aegis.workflow.run import Failed, Held, Offered, RunEvent, Usage

ATTEMPTS = 8
CLOSED = 16
FULL = "the queue is full"
_DONE = (Kind.DONE, Kind.GONE)
NOW = datetime.fromtimestamp(0, tz=UTC)
"""A place holder: the time of an event is that of its commit."""
WAIT = timedelta(seconds=1)


class AgentTask(Struct, frozen=True, kw_only=True):
    """A task for an agent. `principal` is the agent in whose name the run hands it out, with its chain."""

    tenant: Tenant
    run: str
    definition: Workflow
    step: Step
    node: str
    dispatch: int
    attempt: int
    arguments: Any
    principal: Principal
    agent_id: str
    deadline: datetime | None = None
    traceparent: str = ""


class Also(Struct, frozen=True, kw_only=True):
    """What else belongs into the unit of a task; rows that are required are written, too."""

    events: tuple[Event, ...] = ()
    payloads: tuple[Payload, ...] = ()
    requires: tuple[Require, ...] = ()


class Handed(Struct, frozen=True, kw_only=True):
    """A task that was handed out: the call stands, and this is what the agent's authority stands on.

    `before` is what was spent under leases of this attempt that lapsed.
    """

    task: AgentTask
    queue: QueueContract
    enqueue: str
    stand: Stand
    sealed_for: str = ""
    before: int = 0


class Worker(Protocol):
    """Lets an agent that works here, or at its own address, do a task."""

    async def work(self, handed: Handed) -> RunEvent:
        """What came of it. It never raises for what the agent did wrong."""


class Agents:
    """Hands tasks out. `workers` serve the kinds of agents that this process waits for."""

    def __init__(self, gate: Gate, workers: Mapping[type, Worker]) -> None:
        self._gate = gate
        self._store: Store = gate.store
        self._workers = dict(workers)

    def serve(self, kind: type, worker: Worker) -> None:
        """Let `worker` do the tasks of agents of this kind."""
        self._workers[kind] = worker

    async def perform(self, task: AgentTask) -> RunEvent:
        """What came of the task, or that it was offered."""
        queue = task.tenant.contracts.get(PREFIX + task.step.queue)
        if not isinstance(queue, QueueContract):
            return failed(task, "no_queue", f"there is no queue `{task.step.queue}`")
        server = queue.agents.get(task.agent_id)
        if server is None:
            return failed(task, "not_served", f"queue `{queue.queue}` does not name `{task.agent_id}` under `agents`")
        await self._close_earlier(task)
        local = isinstance(server, Callable | Endpoint)
        if why := await self.shut(task.tenant.name, queue, task.agent_id, local=local):
            return await self._wait(task, queue, why)
        answer = await self._decided(task, queue)
        if answer.kind is not Kind.DECIDED:
            return _not_handed(task, answer)
        return await self._handed(task, queue, answer.repeat_of or answer.request_id, local=local)

    async def _decided(self, task: AgentTask, queue: QueueContract) -> Answer:
        """The decision on handing the task out.

        The key is one for all dispatches of an attempt, so that an approval is too. Where an earlier call of this attempt was
        reported done and the run never heard of it, the work is done again, under a call of its own.
        """
        key = f"{task.run}:{task.node}:task:{task.attempt}"
        answer = await self._gate.decide(_asked(task, queue, key))
        return await self._gate.decide(_asked(task, queue, f"{key}:{task.dispatch}")) if answer.kind in _DONE else answer

    async def spent(self, tenant: str, run: str, node: str, attempt: int) -> int:
        """What has been spent in this attempt of a node under leases that lapsed, or under the one that is running."""
        row = (await self._store.rows(tenant, [(TASK, task_id(run, node))])).get((TASK, task_id(run, node)))
        known = read(row) if row else None
        if known is None or known.attempt != attempt or known.state is TaskState.ENDED:
            return 0
        return known.spent_micros + (await spent_under(self._store, tenant, known.stand.token_id) if known.stand else 0)

    async def withdraw(self, tenant: str, run: str, node: str, dispatch: int) -> None:
        """The task is not wanted any more: nobody gets it, and whoever has it has lost it. One that was issued since stays."""
        row = (await self._store.rows(tenant, [(TASK, task_id(run, node))])).get((TASK, task_id(run, node)))
        known = read(row) if row else None
        if row is None or known is None or known.dispatch > dispatch:
            return
        require = Require(kind=TASK, id=row.id, version=row.version)
        if isinstance(await self._store.commit(Unit(tenant=tenant, requires=(require,), writes=moved(known, None))), Committed):
            await self.close(tenant, known.by, known.enqueue, done=False)
        else:
            await self.withdraw(tenant, run, node, dispatch)

    async def close(self, tenant: str, agent_id: str, enqueue: str, *, done: bool) -> None:
        """Report the call that handed a task out as ended; whoever has a credential of the task has nothing from here on."""
        if enqueue:
            await self._gate.report(tenant, agent_id, enqueue, done=done)

    async def shut(self, tenant: str, queue: QueueContract, agent_id: str, *, local: bool) -> str:
        """Why the queue takes no task now; empty when it does."""
        found, _ = standing(await self._store.rows(tenant, [(QUEUE, queue.queue)]), queue.queue)
        if found.gate is Open.DRAINING:
            return "the queue is draining"
        if local:
            return "the queue is paused" if found.gate is Open.PAUSED else ""
        if queue.max_depth and await self._full(tenant, queue, agent_id):
            return FULL
        return ""

    async def _full(self, tenant: str, queue: QueueContract, agent_id: str) -> bool:
        """Whether so many tasks of this agent wait that no more may; each agent's part of the queue is counted by itself."""
        where = place(queue.queue, agent_id)
        return len(await self._store.find(tenant, READY, lookup=where, limit=queue.max_depth)) >= queue.max_depth

    async def _handed(self, task: AgentTask, queue: QueueContract, enqueue: str, *, local: bool) -> RunEvent:
        who = task.principal
        may_spend, before = bound(task.definition, task.step), await self.spent(task.tenant.name, task.run, task.node, task.attempt)
        may_spend = max(0, may_spend - before) if may_spend is not None else None
        made = stand(who, task.agent_id, enqueue, ids.new("tok", self._gate.clock.now()), may_spend)
        try:
            holder(task.tenant, made)
        except IdentityError as error:
            await self.close(task.tenant.name, who.agent_id, enqueue, done=False)
            return failed(task, "denied", f"the task cannot be handed to `{task.agent_id}`: {error.reason}", outcome="denied")
        ref = (CALL, enqueue)
        row = (await self._store.rows(task.tenant.name, [ref])).get(ref)
        sealed_for = msgspec.json.decode(row.body, type=Call).sealed_for if row else ""
        handed = Handed(task=task, queue=queue, enqueue=enqueue, stand=made, sealed_for=sealed_for, before=before)
        return await self._here(handed) if local else await self._offered(handed)

    async def _here(self, handed: Handed) -> RunEvent:
        """The agent works while it is waited for; whatever happens, the call is closed behind it."""
        task, done = handed.task, False
        try:
            event = await self._workers[type(handed.queue.agents[task.agent_id])].work(handed)
            event = await with_calls(self._store, task.tenant.name, handed.stand.token_id, event)
            done = not isinstance(event, Failed | Held)
            return event
        finally:
            await self.close(task.tenant.name, task.principal.agent_id, handed.enqueue, done=done)

    async def _offered(self, handed: Handed) -> RunEvent:
        """Put the task where workers look, with its input sealed beside the event that tells of it."""
        task, now = handed.task, self._gate.clock.now()
        made = Queued(
            **_about(task, handed.queue), state=TaskState.READY, offered_at=now, by=task.principal.agent_id,
            enqueue=handed.enqueue, event=f"task:{task.run}:{task.node}:{task.dispatch}", stand=handed.stand,
            due=_deadline(task, now), deadline=_deadline(task, now), spent_micros=handed.before,
        )  # fmt: skip
        plain = canon_arguments({"input": task.arguments})
        for _ in range(ATTEMPTS):
            fence = await self._fence(task, handed.queue)
            if fence is None:
                await self.close(task.tenant.name, made.by, made.enqueue, done=False)
                return await self._wait(task, handed.queue, FULL)
            sealed = await self._gate.vault.seal(task.tenant.name, made.event, INPUT, plain, handed.sealed_for)
            if await self._put(task, made, Also(events=(_told(task, made, sealed),), payloads=(sealed,), requires=fence)):
                return _offered(task, now)
        raise StoreBusyError("others keep filling this queue: try again")

    async def _fence(self, task: AgentTask, queue: QueueContract) -> tuple[Require, ...] | None:
        """What makes tasks that come in at once count each other; `None` when the queue is full."""
        if not queue.max_depth:
            return ()
        ref = (DEPTH, place(queue.queue, task.agent_id))
        row = (await self._store.rows(task.tenant.name, [ref])).get(ref)
        if await self._full(task.tenant.name, queue, task.agent_id):
            return None
        return (Require(kind=DEPTH, id=ref[1], version=row.version if row else 0),)

    async def _wait(self, task: AgentTask, queue: QueueContract, why: str) -> RunEvent:
        """The queue takes nothing now: the task waits outside, and the sweep of leases has it issued again."""
        now = self._gate.clock.now()
        before = await self.spent(task.tenant.name, task.run, task.node, task.attempt)
        made = Queued(
            **_about(task, queue), state=TaskState.WAITING, offered_at=now, due=now + WAIT, why=why, spent_micros=before
        )  # fmt: skip
        for _ in range(ATTEMPTS):
            if await self._put(task, made, Also()):
                return _offered(task, now)
        raise StoreBusyError("others keep changing this task: try again")

    async def _put(self, task: AgentTask, made: Queued, also: Also) -> bool:
        """Write the task over whatever an earlier dispatch left of it; false when something changed meanwhile: try again."""
        ref = (TASK, made.id)
        row = (await self._store.rows(task.tenant.name, [ref])).get(ref)
        known = read(row) if row else None
        if known is not None and known.dispatch >= made.dispatch and known.state is not TaskState.WAITING:
            return True
        lapses = known.lapses if known is not None and known.attempt == made.attempt else 0
        fences = tuple(Put(kind=each.kind, id=each.id, body=b"{}") for each in also.requires)
        unit = Unit(
            tenant=task.tenant.name,
            events=also.events,
            payloads=also.payloads,
            requires=(Require(kind=TASK, id=made.id, version=row.version if row else 0), *also.requires),
            writes=(*moved(known, replace(made, lapses=lapses)), *fences),
        )
        receipt = await self._store.commit(unit)
        self._gate.vault.refused(task.tenant.name, receipt)
        return isinstance(receipt, Committed | Existing)

    async def _close_earlier(self, task: AgentTask) -> None:
        """Close what earlier dispatches of the node left under way: their agents work for nobody any more.

        A caller may have given its own call such an id: that one is not ours.
        """
        earlier = range(max(1, task.dispatch - CLOSED), task.dispatch)
        refs = [(CALL, request_id(task.run, task.node, number)) for number in earlier]
        rows = await self._store.rows(task.tenant.name, refs) if refs else {}
        for row in rows.values():
            call = msgspec.json.decode(row.body, type=Call)
            if call.state is CallState.DECIDED and call.txn == task.run and call.tool.startswith(PREFIX):
                await self.close(task.tenant.name, row.lookup, row.id, done=False)


def request_id(run: str, node: str, dispatch: int) -> str:
    """The call that hands out a node's task under one dispatch number."""
    return f"{run}:{node}:{dispatch}"


def _asked(task: AgentTask, queue: QueueContract, key: str) -> Ask:
    return Ask(
        principal=task.principal,
        tool=queue.name,
        arguments={
            "action": ENQUEUE,
            "agent": task.agent_id,
            "workflow": task.definition.name,
            "run": task.run,
            "step": task.step.id,
        },
        idempotency_key=key,
        request_id=request_id(task.run, task.node, task.dispatch),
        traceparent=task.traceparent,
        door="workflow",
    )


def _not_handed(task: AgentTask, answer: Answer) -> RunEvent:
    """What an answer other than "decided" is to the run."""
    if answer.kind is Kind.HELD and answer.approval is not None:
        found = answer.approval
        return Held(
            at=NOW, node=task.node, dispatch=task.dispatch, approval_id=found.approval_id,
            expires_at=found.expires_at,
        )  # fmt: skip
    if answer.passing:
        raise StoreBusyError("the task cannot be handed out now")
    if answer.kind is Kind.DENIED and answer.decision is not None:
        rules = ", ".join(answer.decision.rules)
        return failed(task, "denied", f"handing the task out: {rules}", outcome="denied")
    return failed(task, "not_handed", f"the queue answered `{answer.kind}`", again=True)


def failed(
    task: AgentTask, kind: str, text: str, *, again: bool = False, outcome: str = "failed", usage: Usage | None = None
) -> Failed:
    """The task came to nothing. The time is that of the commit."""
    return Failed(
        at=NOW, node=task.node, dispatch=task.dispatch, kind=kind, text=text, again=again, outcome=outcome,
        usage=usage or Usage(),
    )  # fmt: skip


def _offered(task: AgentTask, now: datetime) -> Offered:
    return Offered(at=now, node=task.node, dispatch=task.dispatch)


def _about(task: AgentTask, queue: QueueContract) -> dict[str, Any]:
    return {
        "id": task_id(task.run, task.node),
        "queue": queue.queue,
        "run": task.run,
        "workflow": task.definition.name,
        "step": task.step.id,
        "node": task.node,
        "dispatch": task.dispatch,
        "attempt": task.attempt,
        "agent_id": task.agent_id,
        "priority": task.step.priority,
        "traceparent": task.traceparent,
    }


def _deadline(task: AgentTask, now: datetime) -> datetime | None:
    return task.deadline or (now + task.step.timeout if task.step.timeout else None)


def _told(task: AgentTask, made: Queued, sealed: Payload) -> Event:
    data = {
        "agent_id": made.agent_id,
        "txn": task.run,
        "step": task.node,
        "dispatch": task.dispatch,
        "attempt": task.attempt,
        "task_id": made.id,
        "queue": made.queue,
        "by": made.by,
        "enqueue": made.enqueue,
        "input": {"pii_commit": commitment(sealed)},
    }
    return Event(id=made.event, type="task_offered", tenant=task.tenant.name, time=made.offered_at, request_id=task.run, data=data)
