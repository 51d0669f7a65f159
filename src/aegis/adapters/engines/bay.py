"""The tasks of one tenant in one lane of one process: those that wait, how many run, and when the last ones started.

Time is handed in, in seconds of a clock that never goes back.
"""

import heapq
from collections import deque

from aegis.workflow.dispatch import Lane, Task


class Bay:
    """Waiting tasks, the most urgent first, and among equals the one that came first."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, str]] = []
        self._waiting: dict[str, Task] = {}
        self._started: deque[float] = deque()
        self._came = 0
        self.running = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, task: Task) -> None:
        """It waits from now on."""
        self._came += 1
        self._waiting[task.id] = task
        heapq.heappush(self._heap, (task.priority, self._came, task.id))

    def drop(self, task_id: str) -> bool:
        """Whether it waited; it does no more, and its place in the order is skipped when its turn comes."""
        return self._waiting.pop(task_id, None) is not None

    def take(self, lane: Lane, now: float) -> Task | None:
        """The next one that may start, counted as started."""
        if not self._waiting or (lane.concurrency and self.running >= lane.concurrency) or self.opens(lane, now) > now:
            return None
        while True:
            task = self._waiting.pop(heapq.heappop(self._heap)[2], None)
            if task is not None:
                break
        self.running += 1
        if lane.rate:
            self._started.append(now)
        return task

    def opens(self, lane: Lane, now: float) -> float:
        """When the rate of the lane lets the next one start; not after `now` when it does already."""
        while self._started and self._started[0] + lane.period_seconds <= now:
            self._started.popleft()
        if not lane.rate or len(self._started) < lane.rate:
            return now
        return self._started[-lane.rate] + lane.period_seconds

    @property
    def idle(self) -> bool:
        """Whether nothing would be lost by forgetting it."""
        return not (self._waiting or self.running or self._started)
