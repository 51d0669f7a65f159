"""Dispatch through DBOS: queues in a database, shared by every process that opens it.

Rows carry ids and nothing else. DBOS keeps no state of a run here and recovers nothing: a task is one workflow of one step, whose
only result is that it ended. What a process that died had started waits again after its lease (`dbos_executors`).

What holds:
* A task's id is known from when it is handed in until `tidy`; in that time it is queued once.
* Limits of a lane hold over all processes, for each tenant (its partition). The lanes of the last `start`, of any process, are in
  force for all; a lane that is left out is served until the process ends.
* A delay is counted from this process's wall clock to that of the process that looks, once a second: a clock that jumps makes a
  task early or late by as much. A rate is counted by the database's clock.
* One engine a process: DBOS is a singleton.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

import sqlalchemy as sa
from dbos import DBOS

from aegis.adapters.engines.dbos_bells import OFTEN_SECONDS, Bells
from aegis.adapters.engines.dbos_database import client, opened, prepare, told
from aegis.adapters.engines.dbos_executors import Executors
from aegis.adapters.engines.dbos_process import end, launch
from aegis.adapters.engines.dbos_rows import Rows
from aegis.errors import StoreError
from aegis.workflow.dispatch import Lane, Task

Serve = Callable[[Task], Awaitable[None]]
_log = logging.getLogger("aegis.engine")


class DbosEngine:
    """An engine on `sqlite:PATH` or `postgresql://...`; `name` is unique among the processes that use it.

    `in_flight` is how many tasks this process serves at once over all lanes, `poll_seconds` how often it looks into a lane in which
    nothing happens here, and `lease_seconds` after how long without a sign of life another process counts as gone.
    """

    def __init__(self, url: str, name: str, *, in_flight: int = 64, poll_seconds: float = 0.25, lease_seconds: float = 4.0) -> None:
        self._url = url
        self._name = name
        self._in_flight = in_flight
        self._poll = poll_seconds
        self._lease = lease_seconds
        self._bells = Bells()
        self._room = asyncio.Semaphore(in_flight)
        self._under_way = 0
        self._lanes: dict[str, Lane] = {}
        self._serve: Serve | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._dbos: DBOS | None = None
        self._beating: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()
        self._engine: sa.Engine | None = None

    async def start(self, lanes: Sequence[Lane], serve: Serve) -> None:
        """Serve these queues from now on; called again, with other lanes or other limits.

        Raises:
            StoreError: The database cannot be used; the message says what to look at.
        """
        self._serve = serve
        self._loop = asyncio.get_running_loop()
        await self._open()
        changed = [lane for lane in lanes if self._lanes.get(lane.name) != lane]
        known = self._lanes | {lane.name: lane for lane in lanes}
        await asyncio.to_thread(self._listen, changed, list(known))
        self._lanes = known
        if self._beating is None:
            self._beating = self._loop.create_task(self._beat())

    async def dispatch(self, tasks: Sequence[Task]) -> None:
        """Queue these in one transaction, each once for its id.

        Raises:
            StoreError: None of them is queued, as far as anybody knows.
        """
        await self._open()
        with told("queue tasks"):
            await asyncio.to_thread(self._rows.enqueue, tasks)
        for queue in {task.queue for task in tasks}:
            self._bells.ring(queue)

    async def cancel(self, tasks: Sequence[Task]) -> None:
        """Take those that did not start out of their queues."""
        await self._open()
        with told("cancel tasks"):
            await asyncio.to_thread(self._rows.cancel, [task.id for task in tasks])

    async def depth(self) -> dict[tuple[str, str], int]:
        """How many wait, by (tenant, queue), those that wait for their time included."""
        await self._open()
        with told("count tasks"):
            return await asyncio.to_thread(self._rows.depth)

    async def tidy(self) -> int:
        """Delete the rows of tasks that have ended and that no rate counts any more; how many."""
        await self._open()
        longest = max((lane.period_seconds for lane in self._lanes.values() if lane.rate), default=0.0)
        with told("tidy"):
            return await asyncio.to_thread(self._rows.tidy, longest)

    async def stop(self) -> None:
        """Take no new task, let those under way end, and give back what could not."""
        try:
            await self._drain()
        except Exception:
            _log.warning("nobody can say whether this process's tasks have ended; it stops without waiting", exc_info=True)
        finally:
            if self._beating is not None:
                self._beating.cancel()  # not before: a process that drains still lives
                await asyncio.gather(self._beating, return_exceptions=True)
                self._beating = None
            await asyncio.to_thread(self._close)

    async def _open(self) -> None:
        async with self._opening:
            if self._engine is None:
                await asyncio.to_thread(self._prepare)

    def _prepare(self) -> None:
        prepare(self._url)
        engine = opened(self._url)
        self._rows = Rows(engine, client(engine))
        self._executors = Executors(engine, self._rows, self._name, self._lease)
        try:
            with told("start"):
                self._executors.create()
        except StoreError:
            engine.dispose()
            raise
        self._engine = engine

    def _listen(self, changed: Sequence[Lane], names: list[str]) -> None:
        assert self._engine is not None
        with told("serve queues"):
            self._executors.beat()  # before the first task is taken: what it has started is its own
            for lane in changed:
                self._bells.add(lane.name)
                self._rows.register(lane, self._in_flight, self._poll)
            if self._dbos is None:
                self._dbos = launch(self._engine, self._name, names, self._bells, self._hand)
            self._dbos._listening_queues = names  # noqa: SLF001 - `listen_queues` works once, before the launch

    async def _beat(self) -> None:
        """In the loop that serves: a process whose loop stands still counts as gone."""
        while True:
            await asyncio.sleep(self._lease / 4)
            try:
                released = await asyncio.to_thread(self._executors.beat)
            except Exception:
                _log.warning("the sign of life of this process could not be written; it is tried again", exc_info=True)
                continue
            if released:
                _log.warning("tasks of a process that is gone wait again", extra={"tasks": released})

    async def _drain(self) -> None:
        if self._dbos is None:
            return
        for event in self._dbos.background_thread_stop_events:
            self._bells.end(event)
        # The database says when they have ended. It may also name some that nobody has here: it went away when they began or ended.
        at_work = time.monotonic()
        while await asyncio.to_thread(self._rows.started, self._name) and time.monotonic() < at_work + self._lease:
            await asyncio.sleep(OFTEN_SECONDS)
            at_work = time.monotonic() if self._under_way else at_work

    def _close(self) -> None:
        if self._engine is None:
            return
        if self._dbos is not None:
            end()
            self._dbos = None
        try:
            self._rows.give_back(self._name)
            self._executors.leave()
        except Exception:
            _log.warning("what this process leaves in the queue could not be given back; the others do it", exc_info=True)
        self._engine.dispose()
        self._engine = None

    async def _take(self, task: Task) -> None:
        """Called in the loop that started the engine."""
        async with self._room:
            self._under_way += 1
            try:
                if self._serve is not None:
                    await self._serve(task)
            except Exception:
                _log.exception("a task ended with an error that its server should have recorded", extra={"task": task.id})
            finally:
                self._under_way -= 1
        self._bells.ring(task.queue)

    def _hand(self, task: Task) -> "asyncio.Future[None]":
        """Called in DBOS's loop: what to wait for while the task is served in ours."""
        assert self._loop is not None
        return asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._take(task), self._loop))
