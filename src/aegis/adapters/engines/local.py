"""Dispatch inside one process: tasks wait in memory, and are served as coroutines of the loop that started the engine.

Nothing here outlives the process, and nothing has to: what was outstanding is in the journal, and the sweep hands it in again under
the next number. Limits hold for this process; several processes on one store need the engine that counts in a database.

The rules: a task is known by its id from when it is handed in until it was tidied away after its end, and is not taken twice in
that time. Of what may start, the lowest priority number goes first, and among equals the first that came. Lanes take turns, and in
them tenants, so that a long queue does not starve a short one. A lane that nobody named waits until somebody does.
"""

import asyncio
import heapq
import logging
from collections.abc import Awaitable, Callable, Sequence

from aegis.adapters.engines.bay import Bay
from aegis.workflow.dispatch import Lane, Task

Serve = Callable[[Task], Awaitable[None]]
_log = logging.getLogger(__name__)


class LocalEngine:
    """An engine of one process. `in_flight` is how many tasks it serves at once over all lanes."""

    def __init__(self, in_flight: int = 64) -> None:
        self._in_flight = in_flight
        self._lanes: dict[str, Lane] = {}
        self._serve: Serve | None = None
        self._bays: dict[tuple[str, str], Bay] = {}
        self._turns: dict[tuple[str, str], None] = {}  # the bays in which some wait, in the order of their turns
        self._delayed: list[tuple[float, int]] = []
        self._later: dict[int, Task] = {}
        self._places: dict[str, int] = {}
        self._known: set[str] = set()
        self._ended: set[str] = set()
        self._running: set[asyncio.Task[None]] = set()
        self._alarm: asyncio.TimerHandle | None = None
        self._came = 0

    async def start(self, lanes: Sequence[Lane], serve: Serve) -> None:
        """Serve these queues from now on; called again, the lanes are those of the last call."""
        self._lanes = {lane.name: lane for lane in lanes}
        self._serve = serve
        self._turn()

    async def dispatch(self, tasks: Sequence[Task]) -> None:
        """Queue these, each once for its id."""
        now = asyncio.get_running_loop().time()
        for task in tasks:
            if task.id not in self._known:
                self._known.add(task.id)
                self._put(task, now)
        self._turn()

    async def cancel(self, tasks: Sequence[Task]) -> None:
        """Take those that did not start out of their queues."""
        for task in tasks:
            place = self._places.pop(task.id, None)
            bay = self._bays.get((task.tenant, task.queue))
            if place is not None:
                del self._later[place]
                self._ended.add(task.id)
            elif bay is not None and bay.drop(task.id):
                self._ended.add(task.id)

    async def depth(self) -> dict[tuple[str, str], int]:
        """How many wait, by (tenant, queue), those that wait for their time included."""
        counts = {key: len(bay) for key, bay in self._bays.items()}
        for task in self._later.values():
            counts[task.tenant, task.queue] = counts.get((task.tenant, task.queue), 0) + 1
        return {key: count for key, count in counts.items() if count}

    async def tidy(self) -> int:
        """Forget tasks that have ended, and bays that stand empty; how many tasks."""
        count = len(self._ended)
        self._known -= self._ended
        self._ended.clear()
        for key in [key for key, bay in self._bays.items() if bay.idle]:
            del self._bays[key]
            self._turns.pop(key, None)
        return count

    async def stop(self) -> None:
        """Take no new task, and let those under way end."""
        self._serve = None
        if self._alarm is not None:
            self._alarm.cancel()
        while self._running:
            await asyncio.wait(self._running)

    def _put(self, task: Task, now: float) -> None:
        if task.delay_seconds > 0:
            self._came += 1
            self._later[self._came] = task
            self._places[task.id] = self._came
            heapq.heappush(self._delayed, (now + task.delay_seconds, self._came))
        else:
            self._wait(task)

    def _wait(self, task: Task) -> None:
        key = (task.tenant, task.queue)
        self._bays.setdefault(key, Bay()).add(task)
        self._turns.setdefault(key)

    def _turn(self) -> None:
        """Start what may start, and set the alarm for what time alone holds back."""
        now = asyncio.get_running_loop().time()
        self._ripen(now)
        while self._serve is not None and len(self._running) < self._in_flight:
            task = self._next(now)
            if task is None:
                break
            self._begin(task, self._serve)
        self._set_alarm(now)

    def _ripen(self, now: float) -> None:
        while self._delayed and self._delayed[0][0] <= now:
            task = self._later.pop(heapq.heappop(self._delayed)[1], None)
            if task is not None:
                del self._places[task.id]
                self._wait(task)

    def _next(self, now: float) -> Task | None:
        """The next task, each tenant of each lane in its turn."""
        for key in list(self._turns):
            bay, lane = self._bays[key], self._lanes.get(key[1])
            task = bay.take(lane, now) if lane is not None else None
            if task is not None or not bay:
                del self._turns[key]
            if bay:
                self._turns.setdefault(key)
            if task is not None:
                return task
        return None

    def _begin(self, task: Task, serve: Serve) -> None:
        running = asyncio.get_running_loop().create_task(self._run(task, serve))
        self._running.add(running)
        running.add_done_callback(self._over)

    async def _run(self, task: Task, serve: Serve) -> None:
        try:
            await serve(task)
        except Exception:
            _log.exception("a task ended with an error that its server should have recorded", extra={"task": task.id})
        finally:
            self._bays[task.tenant, task.queue].running -= 1
            self._ended.add(task.id)

    def _over(self, running: asyncio.Task[None]) -> None:
        self._running.discard(running)
        if self._serve is not None:
            self._turn()

    def _set_alarm(self, now: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        times = [self._delayed[0][0]] if self._delayed else []
        times += [opens for key in self._turns if (opens := self._opens(key, now)) > now]
        if times and self._serve is not None:
            self._alarm = asyncio.get_running_loop().call_at(min(times), self._turn)

    def _opens(self, key: tuple[str, str], now: float) -> float:
        lane = self._lanes.get(key[1])
        return self._bays[key].opens(lane, now) if lane is not None else now
