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
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import Protocol

from msgspec.structs import replace

from aegis.errors import AegisError, StoreBusyError, StoreError
from aegis.journal.store import Store
from aegis.journal.unit import Committed, Delete, Existing, Require, Unit
from aegis.runtime.clock import Clock
from aegis.runtime.engine import Engine, Task
from aegis.runtime.runs.flow import TASK, drop_task, put_task, read_task, task_id, withdrawing
from aegis.runtime.runs.histories import Histories, Loaded
from aegis.runtime.runs.moving import Also, Moved, Mover
from aegis.runtime.runs.placing import Here, Places, out_of
from aegis.runtime.vault import Vault
from aegis.workflow.outstanding import of_node
from aegis.workflow.run import Act, Command, Finish, NodeState, RunEvent, Undo, Withdraw

log = logging.getLogger("aegis.runs")

ATTEMPTS = 16
BATCH = 32
RETRY_SECONDS = 1.0


class Doer(Protocol):
    """Carries commands out (`runtime.runs.acting`)."""

    async def carry_out(self, loaded: Loaded, command: Act | Undo) -> RunEvent | None:
        """What came of it; `None` when nothing is to be said now, because somebody else will."""

    async def withdraw(self, loaded: Loaded, node: str, dispatch: int) -> None:
        """What the node had out under this number is not wanted any more."""

    async def ended(self, loaded: Loaded) -> bool:
        """The run has ended; whether whoever waits for it was told."""


_FOLLOWS: ContextVar[bool] = ContextVar("follows", default=False)
"""Whether this is done because a run moved, so that nobody waits for himself."""

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
        self.places = Places(clock, instance, most)
        self.doer: Doer | None = None
        self.issuing: Callable[[Loaded, Sequence[Command]], None] = lambda loaded, commands: None  # noqa: ARG005 - nobody looks
        self.active: set[str] = set()
        self.busy: set[tuple[str, str, str, int]] = set()
        self._mover = Mover(vault, self.places, instance)
        self._inbox: dict[tuple[str, str], Inbox] = {}
        self._tasks: set[asyncio.Future[None]] = set()
        self._watchers: list[Callable[[Loaded, RunEvent], None]] = []
        self._stopping = False
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
            self.spawn(self._pump(tenant, run))
        box.append((event, also or Also(), future))
        found = await asyncio.shield(future)
        if not self.places.serving and not _FOLLOWS.get():  # a command that looks in ends soon: what follows is done before
            await self._settled()
        return found

    async def adopt(self, loaded: Loaded, commands: Sequence[Command], *, here: Here) -> None:
        """Take up a run that was begun in a unit of its own (`runtime.runs.starting`)."""
        self.active.add(loaded.tenant)
        self.histories.keep(loaded)
        await self._issue(loaded, commands, here)

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
        self.busy.add((tenant, run, node, dispatch))
        try:
            await self._persist(tenant, run, node, dispatch)
        finally:
            self.busy.discard((tenant, run, node, dispatch))

    async def _persist(self, tenant: str, run: str, node: str, dispatch: int) -> None:
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
        """Take a batch: each of its events is in the journal then, or is told to be stale."""
        loaded = await self._current(tenant, run)
        for turn in range(ATTEMPTS):
            if loaded is None or not batch:
                return _tell(batch, None)
            moved = await self._mover.moved(loaded, [(event, also) for event, also, _ in batch], self.clock.now())
            if not moved.taken:
                fresh = await self.histories.load(tenant, run)
                if fresh is not None and fresh.version == loaded.version:
                    return _tell(batch, None)
                loaded = fresh
                continue
            if (left := await self._written(moved, batch)) is None:
                return None
            batch = left
            self.histories.drop(tenant, run)
            await asyncio.sleep(random.uniform(0, 0.002 * 2 ** min(turn, 7)))  # noqa: S311 - lets the other one pass
            loaded = await self.histories.load(tenant, run)
        raise StoreBusyError("others keep moving this run: try again")

    async def _written(self, moved: Moved, batch: Inbox) -> Inbox | None:
        """Commit a unit; `None` when it is, else what of the batch is to be tried again."""
        tenant, run = moved.after.tenant, moved.after.flow.run
        try:
            receipt = await self.store.commit(moved.unit)
        except BaseException:
            self.places.give_back(moved.here)
            raise
        if isinstance(receipt, Committed):
            seq = max(event.seq for event in receipt.events)
            after = replace(moved.after, flow=replace(moved.after.flow, seq=seq))
            self.histories.keep(after)
            self.active.add(tenant)
            await self._issue(after, moved.commands, moved.here)
            for place in moved.taken:
                self._tell_watchers(after, batch[place][0])
            _tell([batch[place] for place in moved.taken], after)
            _tell([told for place, told in enumerate(batch) if place not in moved.taken], None)
            return None
        self.places.give_back(moved.here)
        self.vault.refused(tenant, receipt)
        if not isinstance(receipt, Existing):
            return batch
        known = {event.id for event in receipt.events}  # what the journal holds already is told: it was recorded
        again = [place for place, name in zip(moved.taken, moved.ids, strict=True) if name in known]
        _tell([batch[place] for place in again], await self.histories.load(tenant, run))
        return [told for place, told in enumerate(batch) if place not in again]

    async def _issue(self, loaded: Loaded, commands: Sequence[Command], here: Here) -> None:
        """See to it that committed commands are carried out. What fails here is found again by the sweep."""
        self.issuing(loaded, commands)
        tenant, run = loaded.tenant, loaded.flow.run
        away: list[Task] = []
        for command in commands:
            if isinstance(command, Act | Undo):
                if (command.node, command.dispatch) in here:
                    self.spawn(self.perform_here(tenant, run, command.node, command.dispatch))
                else:
                    away.append(self.places.task(tenant, out_of(loaded, command, "")))
            elif isinstance(command, Withdraw | Finish) and self.doer is not None:
                work = self._withdrawn(loaded, command) if isinstance(command, Withdraw) else self.doer.ended(loaded)
                self.spawn(self._quietly(work))
        if away and self.places.serving:
            self.spawn(self._quietly(self.engine.dispatch(away)))

    async def perform_here(self, tenant: str, run: str, node: str, dispatch: int) -> None:
        """Carry out a command for which room was taken."""
        try:
            await self.perform(tenant, run, node, dispatch)
        finally:
            self.places.give_back(frozenset({(node, dispatch)}))

    async def _withdrawn(self, loaded: Loaded, command: Withdraw) -> None:
        """Take back what a node has out; until that is done, the row `wake` says that it is to be."""
        assert self.doer is not None, "the composition root gives one"
        await self.doer.withdraw(loaded, command.node, command.dispatch)
        row = withdrawing(loaded.flow.run, command.node, command.dispatch)
        await self.store.commit(Unit(tenant=loaded.tenant, writes=(Delete(kind=row.kind, id=row.id),)))

    async def _settled(self) -> None:
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def _quietly(self, work: Awaitable[object]) -> None:
        _FOLLOWS.set(True)
        try:
            await work
        except Exception as error:  # the sweep finds what is left
            log.warning("left to the sweep: %s", error)

    def _tell_watchers(self, loaded: Loaded, event: RunEvent) -> None:
        for watcher in self._watchers:
            watcher(loaded, event)

    def spawn(self, work: Awaitable[None]) -> None:
        """Do this beside everything else, and wait for it at the end."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


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
