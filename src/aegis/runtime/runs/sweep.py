"""Finds again what a crash left: commands of dead processes, waits that are over, wakes that nobody delivered, halts that ended.

Every process sweeps the tenants whose runs it has moved, and all tenants now and then and whenever another process has died. Two
sweeps at once are harmless: what the second tells a run is stale by then.
"""

import logging
from collections.abc import Awaitable
from time import monotonic
from typing import TypeVar

import msgspec
from msgspec import Struct

from aegis.errors import IllegalTransitionError, SealError, StoreError
from aegis.journal.unit import Committed, Delete, Require, Row, Unit
from aegis.model.event import instant
from aegis.runtime.runs.acting import HALTED, Acting
from aegis.runtime.runs.executors import BEAT_SECONDS, Executors
from aegis.runtime.runs.flow import DUE, FLOW, NOBODY, TASK, WAKE, Due, Out, drop_task, put_task, read_task
from aegis.runtime.runs.orchestrator import Orchestrator
from aegis.runtime.runs.waking import Waking
from aegis.runtime.tenant import Snapshot
from aegis.workflow.run import FINAL, Redispatched, RunState

log = logging.getLogger("aegis.runs")
T = TypeVar("T")

EVERY_SECONDS = 0.1
WHOLE_SECONDS = 30.0
FORGOTTEN_SECONDS = 2.0
LOST_SECONDS = 5.0
LOST_LONGEST = 300.0
PAGE = 200
_OPEN = tuple(str(state) for state in RunState if state not in FINAL)


class Turn(Struct, kw_only=True):
    """What one turn did."""

    woken: int = 0
    redispatched: int = 0


class Sweep:
    """The sweep of one process."""

    def __init__(self, runs: Orchestrator, acting: Acting, executors: Executors, waking: Waking, snapshot: Snapshot) -> None:
        self._runs = runs
        self._acting = acting
        self._executors = executors
        self._waking = waking
        self._snapshot = snapshot
        self._beat_at = float("-inf")
        self._whole_at = float("-inf")
        self._living: frozenset[str] = frozenset()
        self._unclaimed: dict[tuple[str, str], tuple[float, float]] = {}
        self._lying: dict[str, set[str]] = {}
        self._looked: dict[str, str] = {}
        self._forgot: dict[tuple[str, str, str, int], float] = {}
        self._unread: set[tuple[str, str]] = set()

    async def turn(self) -> Turn:
        """Look once."""
        now, done = monotonic(), Turn()
        if now - self._beat_at >= BEAT_SECONDS:
            await self._executors.beat()
            self._beat_at = now
            for instance in await self._executors.dead():
                await self._take_over(instance, done)
            for tenant in sorted(self._runs.active):
                await self._forgotten(tenant, now)
            living = await self._executors.known()
            if self._living - living:  # somebody has left in order: what they could not finish lies there
                self._whole_at = float("-inf")
            self._living = living
        if now - self._whole_at >= WHOLE_SECONDS:
            await self._look_everywhere()
            self._whole_at = now
        for tenant in sorted(self._runs.active):
            done.woken += await self._due(tenant)
            done.woken += await self._wakes(tenant)
            await self._rested(tenant)
            await self._lost(tenant, now)
        return done

    async def _look_everywhere(self) -> None:
        """The tenants that have runs which did not end, and commands of processes that nobody knows."""
        living = await self._executors.known()
        for tenant in self._snapshot:
            if not await self._anything(tenant.name):
                self._runs.active.discard(tenant.name)
                continue
            self._runs.active.add(tenant.name)
            after = ""
            while rows := await self._runs.store.find(tenant.name, TASK, after=after, limit=PAGE):
                after = rows[-1].id
                for row in rows:
                    if row.lookup not in ("", HALTED, NOBODY) and row.lookup not in living:
                        await self._again(tenant.name, read_task(row), "its process is gone")

    async def _anything(self, tenant: str) -> bool:
        """Whether a run did not end, or a wake was not delivered: that a run has ended does not take its last one away."""
        for state in _OPEN:
            if await self._runs.store.find(tenant, FLOW, state=state, limit=1):
                return True
        return bool(await self._runs.store.find(tenant, WAKE, limit=1))

    async def _take_over(self, instance: str, done: Turn) -> None:
        """Everything that a dead process held goes out again."""
        for tenant in self._snapshot:
            after = ""
            while rows := await self._runs.store.find(tenant.name, TASK, lookup=instance, after=after, limit=PAGE):
                after = rows[-1].id
                self._runs.active.add(tenant.name)
                for row in rows:
                    done.redispatched += await self._again(tenant.name, read_task(row), "its process is gone")
        await self._executors.bury(instance)
        self._whole_at = float("-inf")
        self._unclaimed.clear()

    async def _again(self, tenant: str, out: Out, why: str) -> bool:
        return bool(await self._for(tenant, out.run, self._redispatched(tenant, out, why)))

    async def _redispatched(self, tenant: str, out: Out, why: str) -> bool:
        event = Redispatched(at=self._runs.clock.now(), node=out.node, dispatch=out.dispatch, why=why)
        moved = await self._runs.advance(tenant, out.run, event)
        if moved is None:
            await self._runs.store.commit(Unit(tenant=tenant, writes=(drop_task(out.run, out.node, out.dispatch),)))
        return moved is not None

    async def _for(self, tenant: str, run: str, work: Awaitable[T]) -> T | None:
        """Do something for one run. One that cannot be read must not keep the others from being found; it is told once."""
        try:
            done = await work
        except (IllegalTransitionError, StoreError, SealError) as error:
            if (tenant, run) not in self._unread:
                log.error("run %s cannot be moved on: %s", run, error, extra={"tenant": tenant})  # noqa: TRY400 - its words say it
            self._unread.add((tenant, run))
            return None
        self._unread.discard((tenant, run))
        return done

    async def _due(self, tenant: str) -> int:
        """Waits that are over, oldest first."""
        until, woken, after = instant(self._runs.clock.now()), 0, ""
        while rows := await self._runs.store.find(tenant, DUE, after=after, limit=PAGE):
            after = rows[-1].id
            due = [row for row in rows if row.id.partition("\x1f")[0] <= until]
            for row in due:
                found = msgspec.json.decode(row.body, type=Due)
                woken += bool(await self._for(tenant, found.run, self._woken(tenant, row, found)))
            if len(due) < PAGE:
                break
        return woken

    async def _woken(self, tenant: str, row: Row, due: Due) -> bool:
        await self._waking.due(tenant, due)
        await self._forget(tenant, row)
        return True

    async def _wakes(self, tenant: str) -> int:
        """Those that cannot be delivered yet stay, and keep none behind them from being looked at."""
        found, after = 0, ""
        while rows := await self._runs.store.find(tenant, WAKE, after=after, limit=PAGE):
            after = rows[-1].id
            for row in rows:
                if await self._for(tenant, row.id, self._waking.wake(tenant, row.id)):
                    await self._forget(tenant, row)
            found += len(rows)
            if len(rows) < PAGE:
                break
        return found

    async def _rested(self, tenant: str) -> None:
        """Commands that nobody has taken yet, and those that rest because something is halted: taken up when nothing is."""
        for row in await self._runs.store.find(tenant, TASK, lookup=NOBODY, limit=PAGE):
            await self._claim(tenant, row, read_task(row))
        after = ""
        while rows := await self._runs.store.find(tenant, TASK, lookup=HALTED, after=after, limit=PAGE):
            after = rows[-1].id
            for row in rows:
                out = read_task(row)
                if await self._for(tenant, out.run, self._waking.may_go_on(tenant, out)):
                    await self._claim(tenant, row, out)
            if len(rows) < PAGE:
                break

    async def _lost(self, tenant: str, now: float) -> None:
        """Commands that lie in the engine and that nobody has claimed for long: handed in again, which it knows by their ids.

        One page in each turn, so that a queue with a long line hides nothing behind it; what was handed in again is left alone for
        twice as long.
        """
        rows = await self._runs.store.find(tenant, TASK, lookup="", after=self._looked.get(tenant, ""), limit=PAGE)
        seen = self._lying.setdefault(tenant, set())
        seen.update(row.id for row in rows)
        self._looked[tenant] = rows[-1].id if len(rows) == PAGE else ""
        late = []
        for row in rows:
            since, pause = self._unclaimed.setdefault((tenant, row.id), (now, LOST_SECONDS))
            if now - since > pause:
                late.append(row)
                self._unclaimed[tenant, row.id] = (now, min(2 * pause, LOST_LONGEST))
        if late:
            await self._runs.engine.dispatch([self._runs.places.task(tenant, read_task(row)) for row in late])
        if not self._looked[tenant]:  # all were seen: what was not there has been claimed
            for place in [place for place in self._unclaimed if place[0] == tenant and place[1] not in seen]:
                del self._unclaimed[place]
            seen.clear()

    async def _forgotten(self, tenant: str, now: float) -> None:
        """Commands that are its own by their rows, and that it is not at: the line broke before it was told of its commit."""
        seen: set[tuple[str, str, str, int]] = set()
        for row in await self._runs.store.find(tenant, TASK, lookup=self._runs.instance, limit=PAGE):
            out = read_task(row)
            place = (tenant, out.run, out.node, out.dispatch)
            if place in self._runs.busy:
                continue
            seen.add(place)
            if now - self._forgot.setdefault(place, now) > FORGOTTEN_SECONDS:
                await self._claim(tenant, row, out)
        for place in [place for place in self._forgot if place[0] == tenant and place not in seen]:
            del self._forgot[place]

    async def _claim(self, tenant: str, row: Row, out: Out) -> None:
        """Take a command that nobody has, if there is room for it; else the next turn, or another process, does."""
        if not self._runs.places.take():
            return
        mine = msgspec.structs.replace(out, holder=self._runs.instance)
        require = Require(kind=TASK, id=row.id, version=row.version)
        place = frozenset({(out.node, out.dispatch)})
        try:
            receipt = await self._runs.store.commit(Unit(tenant=tenant, requires=(require,), writes=(put_task(mine),)))
        except BaseException:
            self._runs.places.give_back(place)
            raise
        if isinstance(receipt, Committed):
            self._runs.spawn(self._runs.perform_here(tenant, out.run, out.node, out.dispatch))
        else:
            self._runs.places.give_back(place)

    async def _forget(self, tenant: str, row: Row) -> None:
        await self._runs.store.commit(Unit(tenant=tenant, writes=(Delete(kind=row.kind, id=row.id),)))
