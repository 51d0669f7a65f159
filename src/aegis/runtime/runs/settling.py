"""How tasks of remote workers end: completed, failed, lapsed, too late, or not wanted any more.

The run is told in the unit that moves the task, so that neither knows more than the other. Then the call that handed the task out
is reported ended, and with it ends the authority of whoever had it. What a process could not do any more before it died, the sweep
does: an ended task is due until its call was reported.

A lease that runs out is no failure of the task: the run issues it under the next dispatch number. After `MAX_LAPSES` of them in one
attempt it is one, for it may be the task that kills its workers.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from aegis.errors import StoreError
from aegis.journal.unit import Committed, Delete, Require, Row, Unit
from aegis.model.event import Event, instant
from aegis.model.principal import Principal
from aegis.model.queue import QueueContract, Remote
from aegis.runtime.record import actor, text
from aegis.runtime.runs.agents import NOW, Agents
from aegis.runtime.runs.moving import Also
from aegis.runtime.runs.orchestrator import Orchestrator
from aegis.runtime.runs.queued import DUE, TASK, Queued, TaskState, moved, of_due, read
from aegis.runtime.runs.reported import usage, with_calls
from aegis.runtime.tenant import Snapshot
from aegis.workflow.graph import Step
from aegis.workflow.run import Failed, NodeState, Redispatched, RunEvent, Succeeded, Usage

log = logging.getLogger("aegis.tasks")

EVERY_SECONDS = 0.5
_OUT = (NodeState.ISSUED, NodeState.OFFERED, NodeState.UNDOING)
PAGE = 64
MAX_LAPSES = 3
KEPT = timedelta(minutes=10)
AGAIN = timedelta(seconds=1)

Fits = Callable[[str, Step, Any], str]
"""(tenant, step, output) -> what is wrong with the output of the step; empty when it fits."""


class Report(Struct, frozen=True, kw_only=True):
    """What a worker says when a task ends: an output, or why there is none."""

    output: Any = None
    kind: str = ""
    text: str = ""
    again: bool = False
    tokens: int = 0
    micros: int = 0
    model: Mapping[str, str] = {}


class Ended(Struct, frozen=True, kw_only=True):
    """How the task ended: `succeeded`, or the kind of failure and what is to be said of it."""

    outcome: str
    why: str = ""


class Settling:
    """Ends tasks. One for each process; it holds no state of its own."""

    def __init__(self, runs: Orchestrator, agents: Agents, snapshot: Snapshot, fits: Fits) -> None:
        self._runs = runs
        self._store = runs.store
        self._agents = agents
        self._snapshot = snapshot
        self._fits = fits

    async def end(self, tenant: str, who: Principal, task_id: str, lease: str, report: Report) -> Ended | None:
        """How the task ended by what its worker says; `None` when the worker has it no more. To say it twice is as good as once."""
        row = await self._row(tenant, task_id)
        task = read(row) if row else None
        if task is None or (task.agent_id, task.lease) != (who.agent_id, lease):
            return None
        if task.state is TaskState.ENDED:
            return Ended(outcome=task.outcome, why=task.why)
        if task.state is not TaskState.LEASED:
            return None
        event = await self._event(tenant, task, report)
        ended = Ended(outcome="succeeded") if isinstance(event, Succeeded) else Ended(outcome=event.kind, why=event.text)
        return ended if await self._ended(tenant, task, event, who) else None

    async def lost(self, tenant: str, row: Row, kind: str, why: str) -> None:
        """Nobody can do this task."""
        task = read(row)
        await self._ended(tenant, task, _failure(task, kind, why), None)

    async def turn(self) -> int:
        """Settle what is due in every tenant: waits, leases, deadlines, calls to report. Safe in several processes."""
        settled = 0
        for tenant in self._snapshot:
            after = ""
            while rows := await self._store.find(tenant.name, DUE, after=after, limit=PAGE):
                now = instant(self._runs.clock.now())
                for row in rows:
                    if of_due(row.id)[0] > now:
                        break
                    after = row.id
                    settled += await self._quietly(tenant.name, row)
                if after != rows[-1].id or len(rows) < PAGE:
                    break
        return settled

    async def _quietly(self, tenant: str, due: Row) -> bool:
        """Settle one; what is wrong with one never keeps the others waiting."""
        try:
            return await self._due(tenant, due)
        except StoreError:
            raise
        except Exception:
            log.exception("a task that is due", extra={"tenant": tenant, "task": of_due(due.id)[1]})
            return False

    async def _due(self, tenant: str, due: Row) -> bool:
        at, task_id = of_due(due.id)
        row = await self._row(tenant, task_id)
        task = read(row) if row else None
        if row is None or task is None or task.due is None or instant(task.due) != at:
            await self._store.commit(Unit(tenant=tenant, writes=(Delete(kind=DUE, id=due.id),)))
            return False
        now = self._runs.clock.now()
        if task.state is TaskState.ENDED or task.state is TaskState.LAPSED:
            return await self._forgotten(tenant, row, task, now)
        if task.state is TaskState.WAITING:
            return await self._waited(tenant, row, task, now)
        if task.deadline is not None and task.deadline <= now:
            return await self._ended(tenant, task, _failure(task, "timeout", "its time ran out", late=True), None)
        if task.lapses + 1 >= MAX_LAPSES:
            why = f"leases of {task.lapses + 1} workers ran out"
            return await self._ended(tenant, task, _failure(task, "lease_lapsed", why), None)
        return await self._lapsed(tenant, task, now)

    async def _lapsed(self, tenant: str, task: Queued, now: datetime) -> bool:
        """The lease ran out: the task goes back, under the next dispatch number."""
        lapsed = replace(task, state=TaskState.LAPSED, lapses=task.lapses + 1, due=now + KEPT, slot=-1)
        journal = Event(
            id=f"task_lapsed:{task.lease}", type="task_lapsed", tenant=tenant, time=now, request_id=task.run, data=told(task)
        )  # fmt: skip
        event = Redispatched(at=NOW, node=task.node, dispatch=task.dispatch, why="the lease of its worker ran out")
        return await self._moved(tenant, task, lapsed, event, journal)

    async def _waited(self, tenant: str, row: Row, task: Queued, now: datetime) -> bool:
        """Issue a task again that found its queue full, paused or draining, if it is not so any more."""
        served = self._snapshot.get(tenant)
        queue = served.contracts.get(f"queue.{task.queue}") if served else None
        if isinstance(queue, QueueContract):
            local = not isinstance(queue.agents.get(task.agent_id), Remote)
            if why := await self._agents.shut(tenant, queue, task.agent_id, local=local):
                return await self._put(tenant, row, task, replace(task, due=now + AGAIN, why=why))
        event = Redispatched(at=NOW, node=task.node, dispatch=task.dispatch, why="its queue takes tasks again")
        gone = replace(task, state=TaskState.LAPSED, due=now + KEPT)
        return await self._moved(tenant, task, gone, event)

    async def _ended(self, tenant: str, task: Queued, event: Succeeded | Failed, who: Principal | None) -> bool:
        """Tell the run how the task ended, and close its call; false when the run does not wait for that any more."""
        now = self._runs.clock.now()
        if task.stand is not None:  # however it ended: what was spent is spent
            event = await with_calls(self._store, tenant, task.stand.token_id, event, before=task.spent_micros)
        outcome = "succeeded" if isinstance(event, Succeeded) else event.kind
        why = event.text if isinstance(event, Failed) else ""
        ended = replace(task, state=TaskState.ENDED, outcome=outcome, why=text(why), due=now, slot=-1)
        by = {"actor": actor(who), "shown": text(who.token_id)} if who else {}
        journal = Event(
            id=f"task_ended:{task.run}:{task.node}:{task.dispatch}", type="task_ended", tenant=tenant, time=now,
            request_id=task.run, data=told(task, outcome=outcome, **by),
        )  # fmt: skip
        also = Also(events=(journal,), writes=moved(task, ended))
        if await self._runs.advance(tenant, task.run, event, also=also) is None:
            await self._stale(tenant, task)
            return False
        await self._closed(tenant, ended, now)
        return True

    async def _moved(self, tenant: str, task: Queued, after: Queued, event: RunEvent, journal: Event | None = None) -> bool:
        """Tell the run, and close the call of the dispatch that is over. A run that rests is told later; another is not told."""
        also = Also(events=(journal,) if journal else (), writes=moved(task, after))
        if await self._runs.advance(tenant, task.run, event, also=also) is not None:
            await self._agents.close(tenant, task.by, task.enqueue, done=False)
            return True
        return await self._stale(tenant, task)

    async def _stale(self, tenant: str, task: Queued) -> bool:
        """The run took no answer: the task is told again later if it still waits for one, and goes if it does not."""
        loaded, row = await self._runs.find(tenant, task.run), await self._row(tenant, task.id)
        if row is None or read(row) != task:
            return False
        node = loaded.state.nodes.get(task.node) if loaded else None
        if node is not None and node.dispatch == task.dispatch and node.state in _OUT:
            return await self._put(tenant, row, task, replace(task, due=self._runs.clock.now() + AGAIN))
        await self._agents.close(tenant, task.by, task.enqueue, done=False)
        return await self._put(tenant, row, task, None)

    async def _closed(self, tenant: str, task: Queued, now: datetime) -> None:
        """Report the call, then remember that it was."""
        await self._agents.close(tenant, task.by, task.enqueue, done=task.outcome == "succeeded")
        row = await self._row(tenant, task.id)
        if row is not None and read(row) == task:
            await self._put(tenant, row, task, replace(task, told=True, due=now + KEPT))

    async def _forgotten(self, tenant: str, row: Row, task: Queued, now: datetime) -> bool:
        if task.state is TaskState.ENDED and not task.told:
            await self._closed(tenant, task, now)
            return True
        return await self._put(tenant, row, task, None)

    async def _row(self, tenant: str, task_id: str) -> Row | None:
        return (await self._store.rows(tenant, [(TASK, task_id)])).get((TASK, task_id))

    async def _put(self, tenant: str, row: Row, task: Queued, after: Queued | None) -> bool:
        require = Require(kind=TASK, id=task.id, version=row.version)
        unit = Unit(tenant=tenant, requires=(require,), writes=moved(task, after))
        return isinstance(await self._store.commit(unit), Committed)

    async def _event(self, tenant: str, task: Queued, report: Report) -> Succeeded | Failed:
        loaded = await self._runs.find(tenant, task.run)
        step = loaded.workflow.step(task.step) if loaded else None
        used = usage(tokens=report.tokens, micros=report.micros, model={**(step.model if step else {}), **report.model})
        if report.kind:
            return replace(_failure(task, report.kind, report.text), again=report.again, usage=used)
        if loaded is not None and step is not None and (why := self._fits(tenant, step, report.output)):
            return replace(_failure(task, "contract", why), usage=used)
        return Succeeded(at=NOW, node=task.node, dispatch=task.dispatch, output=report.output, usage=used)


def _failure(task: Queued, kind: str, why: str, *, late: bool = False) -> Failed:
    """A failure after which another attempt makes sense, unless it is said otherwise."""
    return Failed(
        at=NOW, node=task.node, dispatch=task.dispatch, kind=kind, text=why, again=kind != "erased",
        outcome="timed_out" if late else "failed", usage=Usage(),
    )  # fmt: skip


def told(task: Queued, **more: Any) -> dict[str, Any]:
    """What every event about a leased task says."""
    return {
        "agent_id": task.agent_id,
        "txn": task.run,
        "step": task.node,
        "dispatch": task.dispatch,
        "attempt": task.attempt,
        "task_id": task.id,
        "queue": task.queue,
        "lease": task.lease,
        "worker": task.worker,
        "until": instant(task.due) if task.due else "",
        "enqueue": task.enqueue,
        "token_jti": task.stand.token_id if task.stand else "",
        **more,
    }
