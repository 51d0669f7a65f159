"""The orchestrator: the only one who moves a run.

    advance     take an event, fold it in, commit it with what follows, and see to it that the commands are carried out

All events of a run that arrive while a unit is being committed go into the next one together, in the order in which they came. A
unit requires the row of the run as it was read, so two processes never move one run apart; the loser reads again, and what is stale
by then is dropped. What is committed is handed on at once: done here when there is room and its queue has no limits, else through
the engine. If this process dies in between, the rows tell the others what is out (`runtime.runs.sweep`).
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from aegis.errors import AegisError, IllegalTransitionError, StoreBusyError, StoreError
from aegis.journal.store import Store
from aegis.journal.unit import Committed, Delete, Payload, Put, Require, Unit
from aegis.model.call import Call, CallState
from aegis.model.event import Event
from aegis.runtime.clock import Clock
from aegis.runtime.engine import Engine, Task
from aegis.runtime.known import CALL
from aegis.runtime.runs import journaled
from aegis.runtime.runs.flow import (
    FLOW,
    NOBODY,
    TASK,
    WAKE,
    Due,
    Flow,
    Out,
    Snapshot,
    drop_task,
    put_due,
    put_flow,
    put_task,
    read_task,
    task_id,
    withdrawing,
)
from aegis.runtime.runs.histories import Histories, Loaded
from aegis.runtime.runs.lanes import OPEN
from aegis.runtime.runs.principals import road
from aegis.runtime.vault import Vault
from aegis.workflow.graph import step_of
from aegis.workflow.outstanding import of_node
from aegis.workflow.run import (
    FINAL,
    Act,
    Command,
    Failed,
    Finish,
    NodeState,
    Requeued,
    RunEvent,
    Signalled,
    Sleep,
    State,
    Undo,
    Withdraw,
)
from aegis.workflow.transition import transition

log = logging.getLogger("aegis.runs")

ATTEMPTS = 16
BATCH = 32
SNAPSHOT_EVERY = 64
RETRY_SECONDS = 1.0
TIMED = frozenset({"agent", "workflow"})


class Also(Struct, frozen=True, kw_only=True):
    """What else belongs into the unit of an event."""

    events: tuple[Event, ...] = ()
    payloads: tuple[Payload, ...] = ()
    requires: tuple[Require, ...] = ()
    writes: tuple[Put | Delete, ...] = ()


class Doer(Protocol):
    """Carries commands out (`runtime.runs.acting`)."""

    async def carry_out(self, loaded: Loaded, command: Act | Undo) -> RunEvent | None:
        """What came of it; `None` when nothing is to be said now, because somebody else will."""

    async def withdraw(self, loaded: Loaded, node: str, dispatch: int) -> None:
        """What the node had out under this number is not wanted any more."""

    async def ended(self, loaded: Loaded) -> bool:
        """The run has ended; whether whoever waits for it was told."""


Inbox = list[tuple[RunEvent, Also, "asyncio.Future[Loaded | None]"]]


class Orchestrator:
    """Moves runs. One for each process."""

    def __init__(
        self, *, store: Store, vault: Vault, clock: Clock, engine: Engine, histories: Histories, instance: str, most: int = 64
    ) -> None:
        self.store = store
        self.vault = vault
        self.clock = clock
        self.engine = engine
        self.histories = histories
        self.instance = instance
        self.lanes: Mapping[tuple[str, str], str] = {}
        self.doer: Doer | None = None
        self.issuing: Callable[[Loaded, Sequence[Command]], None] = lambda loaded, commands: None  # noqa: ARG005 - nobody looks
        self.active: set[str] = set()
        self._most = most
        self._here = 0
        self._inbox: dict[tuple[str, str], Inbox] = {}
        self._tasks: set[asyncio.Future[None]] = set()
        self._watchers: list[Callable[[Loaded, RunEvent], None]] = []
        self._stopping = False
        self.serving = False
        self.loop = asyncio.get_event_loop()

    def watch(self, watcher: Callable[[Loaded, RunEvent], None]) -> None:
        """Be told of every event that this process committed. It must not wait."""
        self._watchers.append(watcher)

    async def find(self, tenant: str, run: str) -> Loaded | None:
        """The run as it stands now."""
        return await self.histories.load(tenant, run)

    async def advance(self, tenant: str, run: str, event: RunEvent, *, also: Also | None = None) -> Loaded | None:
        """The run after this event, durably; `None` when there is no such run, or the event is stale or illegal by now.

        Raises:
            StoreError: It could not be recorded; it may be told again.
        """
        future: asyncio.Future[Loaded | None] = asyncio.get_running_loop().create_future()
        box = self._inbox.get((tenant, run))
        if box is None:
            self._inbox[tenant, run] = box = []
            self._spawn(self._pump(tenant, run))
        box.append((event, also or Also(), future))
        return await asyncio.shield(future)

    async def adopt(self, loaded: Loaded, commands: Sequence[Command], *, here: frozenset[tuple[str, int]]) -> None:
        """Take up a run that was begun in a unit of its own (`runtime.runs.starting`)."""
        self.active.add(loaded.tenant)
        self.histories.keep(loaded)
        await self._issue(loaded, commands, here)

    def placed(self, tenant: str, state_of: Loaded, commands: Sequence[Command]) -> tuple[list[Put], frozenset[tuple[str, int]]]:
        """The rows of commands that go out, and which of them are done here."""
        writes: list[Put] = []
        here: set[tuple[str, int]] = set()
        for command in commands:
            if isinstance(command, Act | Undo):
                out = self._place(tenant, state_of, command)
                if out.holder == self.instance:
                    here.add((command.node, command.dispatch))
                writes.append(put_task(out))
                writes += self._deadline(state_of, command)
            elif isinstance(command, Sleep):
                writes.append(put_due(command.until, Due(run=state_of.flow.run, node=command.node, dispatch=command.dispatch)))
        return writes, frozenset(here)

    def _deadline(self, loaded: Loaded, command: Act | Undo) -> list[Put]:
        """When somebody looks whether an agent or another run has taken too long. A tool's own contract bounds its calls."""
        step = loaded.workflow.step(step_of(command.node))
        if step.timeout is None or step.kind not in TIMED or isinstance(command, Undo):
            return []
        until = self.clock.now() + step.timeout
        return [put_due(until, Due(run=loaded.flow.run, node=command.node, dispatch=command.dispatch))]

    async def serve(self, task: Task) -> None:
        """What the engine hands in: claim it for this process and carry it out."""
        row_id = (TASK, task_id(task.run, task.node, task.dispatch))
        try:
            row = (await self.store.rows(task.tenant, [row_id])).get(row_id)
            if row is None or row.lookup not in ("", self.instance):
                return
            out = replace(read_task(row), holder=self.instance)
            require = Require(kind=row_id[0], id=row_id[1], version=row.version)
            receipt = await self.store.commit(Unit(tenant=task.tenant, requires=(require,), writes=(put_task(out),)))
            if isinstance(receipt, Committed):
                await self.perform(task.tenant, task.run, task.node, task.dispatch)
        except StoreError as error:
            log.warning("a task could not be taken: %s", error, extra={"tenant": task.tenant, "run": task.run})

    async def perform(self, tenant: str, run: str, node: str, dispatch: int) -> None:
        """Carry out one command of this process, and tell the run what came of it. It never raises."""
        while not self._stopping:
            try:
                return await self._attempt(tenant, run, node, dispatch)
            except AegisError as error:
                log.warning("%s of run %s is tried again: %s", node, run, error, extra={"tenant": tenant})
            except Exception:
                log.exception("%s of run %s is tried again", node, run, extra={"tenant": tenant})
            await asyncio.sleep(RETRY_SECONDS)
        return None

    async def _attempt(self, tenant: str, run: str, node: str, dispatch: int) -> None:
        loaded = await self._current(tenant, run)
        command = _outstanding(loaded, node, dispatch)
        if command is None:  # what is kept here may be behind what another process has issued
            loaded = await self.histories.load(tenant, run)
            command = _outstanding(loaded, node, dispatch)
        if loaded is None or command is None:
            await self.store.commit(Unit(tenant=tenant, writes=(drop_task(run, node, dispatch),)))
            return
        assert self.doer is not None, "the composition root gives one"
        event = await self.doer.carry_out(loaded, command)
        if event is not None:
            await self.advance(tenant, run, event)

    def spawn(self, work: Awaitable[None]) -> None:
        """Do this beside everything else, and wait for it at the end."""
        self._spawn(work)

    async def stop(self) -> None:
        """Issue nothing more, and let what is under way end for a moment; what does not is found by others."""
        self._stopping = True
        await self.engine.stop()
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=5)
            for task in late:
                task.cancel()

    async def _current(self, tenant: str, run: str) -> Loaded | None:
        """The run as this process knows it; that another process has moved it meanwhile is found out by the commit."""
        return self.histories.kept(tenant, run) or await self.histories.load(tenant, run)

    async def _pump(self, tenant: str, run: str) -> None:
        """Take what arrives for one run until nothing is left."""
        box = self._inbox[tenant, run]
        while box:
            batch, box[:] = box[:BATCH], box[BATCH:]
            try:
                await self._commit(tenant, run, batch)
            except Exception as error:
                self.histories.drop(tenant, run)
                for _, _, future in batch:
                    if not future.done():
                        future.set_exception(error)
        del self._inbox[tenant, run]

    async def _commit(self, tenant: str, run: str, batch: Inbox) -> None:
        loaded = await self._current(tenant, run)
        for turn in range(ATTEMPTS):
            if loaded is None:
                return _tell(batch, None)
            moved = await self._moved(loaded, batch)
            if not moved.taken:
                fresh = await self.histories.load(tenant, run)
                if fresh is not None and fresh.version == loaded.version:
                    return _tell(batch, None)
                loaded = fresh
                continue
            receipt = await self.store.commit(moved.unit)
            if isinstance(receipt, Committed):
                seq = receipt.events[len(moved.taken) - 1].seq
                after = replace(moved.after, flow=replace(moved.after.flow, seq=seq))
                self.histories.keep(after)
                self.active.add(tenant)
                for event, _, future in moved.taken:
                    self._tell_watchers(after, event)
                    if not future.done():
                        future.set_result(after)
                await self._issue(after, moved.commands, moved.here)
                dropped = [each for each in batch if each not in moved.taken]
                return _tell(dropped, None)
            self.give_back(moved.here)
            self.vault.refused(tenant, receipt)
            self.histories.drop(tenant, run)
            await asyncio.sleep(random.uniform(0, 0.002 * 2 ** min(turn, 7)))  # noqa: S311 - lets the other one pass
            loaded = await self.histories.load(tenant, run)
        raise StoreBusyError("others keep moving this run: try again")

    async def _moved(self, loaded: Loaded, batch: Inbox) -> "_Moved":
        """The unit that takes as many of these events as are legal now."""
        flow, state, now = loaded.flow, loaded.state, self.clock.now()
        commands: list[Command] = []
        events: list[Event] = []
        payloads: list[Payload] = []
        requires = [Require(kind=FLOW, id=flow.run, version=loaded.version)]
        writes: list[Put | Delete] = []
        taken: Inbox = []
        for told in batch:
            event = self._stamped(told[0], loaded, state, max(now, flow.moved_at or now))
            try:
                state, follow = transition(loaded.workflow, state, event)
            except IllegalTransitionError as error:
                log.info("dropped: %s", error, extra={"tenant": loaded.tenant, "run": flow.run})
                continue
            flow = self._next(flow, state, event)
            name = journaled.event_id(flow.run, event, flow.events)
            part = journaled.sealed_part(event)
            sealed = await self.vault.seal(loaded.tenant, name, journaled.VALUE, part, flow.sealed_for) if part else None
            events.append(
                replace(journaled.written(flow, event, flow.events, state, follow, sealed, self.instance), tenant=loaded.tenant)
            )
            payloads += [sealed] if sealed else []
            commands = [each for each in commands if not _ended_by(each, event)] + list(follow)
            if getattr(event, "node", ""):
                writes.append(drop_task(flow.run, event.node, event.dispatch if hasattr(event, "dispatch") else 0))  # type: ignore[union-attr]
            requires += told[1].requires
            taken.append(told)
        also = [told[1] for told in taken]
        if taken and flow.events - (flow.snapshot.events if flow.snapshot else 0) >= SNAPSHOT_EVERY and flow.status not in FINAL:
            flow = replace(flow, snapshot=Snapshot(event=events[-1].id, events=flow.events, after=flow.seq))
            plain = msgspec.json.encode(state)
            payloads.append(await self.vault.seal(loaded.tenant, events[-1].id, journaled.STATE, plain, flow.sealed_for))
        after = replace(loaded, flow=flow, state=state, version=loaded.version + 1)
        outs, here = self.placed(loaded.tenant, after, commands) if taken else ([], frozenset())
        writes += [put_flow(flow), *outs, *_endings(after, commands)]
        unit = Unit(
            tenant=loaded.tenant,
            events=(*events, *(each for one in also for each in one.events)),
            payloads=(*payloads, *(each for one in also for each in one.payloads)),
            requires=tuple(requires),
            writes=(*writes, *(each for one in also for each in one.writes)),
        )
        return _Moved(unit=unit, after=after, commands=tuple(commands), taken=taken, here=here)

    def _stamped(self, event: RunEvent, loaded: Loaded, state: State, now: object) -> RunEvent:
        """The event with the time of its commit, and the pause before another attempt drawn."""
        event = journaled.cleaned(replace(event, at=now))
        if isinstance(event, Failed) and event.again and event.pause_ms == 0:
            return replace(event, pause_ms=_drawn(loaded, state, event.node))
        return event

    @staticmethod
    def _next(flow: Flow, state: State, event: RunEvent) -> Flow:
        ended = event.at if state.status in FINAL else None
        return replace(
            flow, status=state.status, events=flow.events + 1, moved_at=event.at, ended_at=ended, failure=state.failure[:256],
            hands=_hands(flow, event),
        )  # fmt: skip

    def _place(self, tenant: str, loaded: Loaded, command: Act | Undo) -> Out:
        """Here, if there is room and the queue has no limits; else the engine says when and where."""
        out = _out(loaded, command, self.instance)
        if not self.serving:  # a command that looks in for a moment leaves the work to those who stay
            return replace(out, holder=NOBODY)
        if self._here >= self._most or self._stopping or (tenant, out.queue) in self.lanes:
            return replace(out, holder="")
        self._here += 1
        return out

    def task(self, tenant: str, out: Out) -> Task:
        """A command as the engine takes it: in the lane of its queue."""
        return Task(
            tenant=tenant, run=out.run, node=out.node, dispatch=out.dispatch, queue=self.lanes.get((tenant, out.queue), OPEN),
            priority=out.priority,
        )  # fmt: skip

    def give_back(self, here: frozenset[tuple[str, int]]) -> None:
        """The places of commands that were not committed are free again."""
        self._here -= len(here)

    async def _issue(self, loaded: Loaded, commands: Sequence[Command], here: frozenset[tuple[str, int]]) -> None:
        """See to it that committed commands are carried out. What fails here is found again by the sweep."""
        self.issuing(loaded, commands)
        tenant, run = loaded.tenant, loaded.flow.run
        away: list[Task] = []
        for command in commands:
            if isinstance(command, Act | Undo):
                if (command.node, command.dispatch) in here:
                    self._spawn(self._perform_here(tenant, run, command.node, command.dispatch))
                else:
                    away.append(self.task(tenant, _out(loaded, command, "")))
            elif isinstance(command, Withdraw | Finish) and self.doer is not None:
                work = self._withdrawn(loaded, command) if isinstance(command, Withdraw) else self.doer.ended(loaded)
                if self.serving:
                    self._spawn(self._quietly(work))
                else:
                    await self._quietly(work)
        if away and self.serving:
            self._spawn(self._quietly(self.engine.dispatch(away)))

    async def _perform_here(self, tenant: str, run: str, node: str, dispatch: int) -> None:
        try:
            await self.perform(tenant, run, node, dispatch)
        finally:
            self._here -= 1

    async def _withdrawn(self, loaded: Loaded, command: Withdraw) -> None:
        """Take back what a node has out; until that is done, the row `wake` says that it is to be."""
        assert self.doer is not None, "the composition root gives one"
        await self.doer.withdraw(loaded, command.node, command.dispatch)
        row = withdrawing(loaded.flow.run, command.node, command.dispatch)
        await self.store.commit(Unit(tenant=loaded.tenant, writes=(Delete(kind=row.kind, id=row.id),)))

    async def _quietly(self, work: Awaitable[object]) -> None:
        try:
            await work
        except Exception as error:  # the sweep finds what is left
            log.warning("left to the sweep: %s", error)

    def _tell_watchers(self, loaded: Loaded, event: RunEvent) -> None:
        for watcher in self._watchers:
            watcher(loaded, event)

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Moved(Struct, frozen=True, kw_only=True):
    unit: Unit
    after: Loaded
    commands: tuple[Command, ...]
    taken: Inbox
    here: frozenset[tuple[str, int]]


def _hands(flow: Flow, event: RunEvent) -> tuple[str, ...]:
    """Who has given the run a value by now: whoever signalled it, or put other arguments in place of a step's."""
    gave = event.by if isinstance(event, Signalled) or (isinstance(event, Requeued) and event.edited) else ""
    return (*flow.hands, gave) if gave.startswith("person:") and gave not in flow.hands else flow.hands


def _tell(batch: Inbox, said: Loaded | None) -> None:
    for _, _, future in batch:
        if not future.done():
            future.set_result(said)


def _outstanding(loaded: Loaded | None, node: str, dispatch: int) -> Act | Undo | None:
    """The command of this node under this number, if it is still out and nobody has been offered it."""
    known = loaded.state.nodes.get(node) if loaded else None
    if known is None or known.dispatch != dispatch or known.state not in (NodeState.ISSUED, NodeState.UNDOING):
        return None
    command = of_node(node, known)
    return command if isinstance(command, Act | Undo) else None


def _out(loaded: Loaded, command: Act | Undo, holder: str) -> Out:
    step = loaded.workflow.step(step_of(command.node))
    return Out(
        run=loaded.flow.run, node=command.node, dispatch=command.dispatch, queue=step.queue, priority=step.priority,
        holder=holder, undo=isinstance(command, Undo),
    )  # fmt: skip


def _ended_by(command: Command, event: RunEvent) -> bool:
    """Whether a command of this very unit was answered by a later event of it."""
    node, dispatch = getattr(event, "node", None), getattr(event, "dispatch", None)
    return isinstance(command, Act | Undo | Sleep) and (command.node, command.dispatch) == (node, dispatch)


def _endings(loaded: Loaded, commands: Sequence[Command]) -> list[Put | Delete]:
    """What is taken back is remembered until it is; when the run ends, its call ends with it, and whoever waits for it is woken."""
    flow = loaded.flow
    found: list[Put | Delete] = [withdrawing(flow.run, each.node, each.dispatch) for each in commands if isinstance(each, Withdraw)]
    if not any(isinstance(command, Finish) for command in commands):
        return found
    found.append(live_call(flow, CallState.DONE))
    if flow.above is not None:
        found.append(Put(kind=WAKE, id=f"run:{flow.run}", body=msgspec.json.encode(flow.run)))
    return found


def live_call(flow: Flow, state: CallState) -> Put:
    """The call that stands for a run: under way from its start to its end, and what its steps stand on."""
    call = Call(
        request_id=flow.run,
        agent_id=road(flow),
        tool=f"workflow.{flow.workflow}",
        state=state,
        request_hash="",
        at=flow.started_at,
        txn=flow.run,
        sealed_for=flow.sealed_for,
        traceparent=flow.traceparent,
        note="run",
    )
    return Put(kind=CALL, id=flow.run, body=msgspec.json.encode(call), state=str(state), lookup=call.agent_id)


def _drawn(loaded: Loaded, state: State, name: str) -> int:
    """The pause before the next attempt: full jitter over an exponential back-off.

    Source: "Exponential Backoff And Jitter", AWS Architecture Blog.
    """
    retry = loaded.workflow.step(step_of(name)).retry
    node = state.nodes.get(name)
    made = max(1, (node.undo_attempt or node.attempt) if node else 1)
    ceiling: timedelta = min(retry.longest, retry.backoff * retry.factor ** (made - 1))
    millis = int(ceiling.total_seconds() * 1000)
    return max(1, random.randint(0, millis) if retry.jitter == "full" else millis)  # noqa: S311 - spreads load, hides nothing
