"""When the threads of DBOS look into the lanes: seldom when nothing happens, at once when something does.

DBOS has a thread for each lane, which sleeps on the event that stops it and then asks the database; there is no way to wake it. One
look costs about 3 ms of CPU, so looking every 20 ms costs an eighth of a core for each lane that stands idle. So the event's `wait`
is replaced: it also ends when the lane's bell rings. It rings when this process hands in a task, and when one ends here; for a
moment after that the lane is looked into often, because DBOS frees the place of a task shortly after it has ended. What other
processes do is found at the next regular look.
"""

import threading
import time

OFTEN_SECONDS = 0.02
_MOMENT_SECONDS = 0.5
_THREAD = "queue-worker-"


class Bells:
    """A bell for each lane; `hang` puts them on the events by which DBOS stops its threads."""

    def __init__(self) -> None:
        self._bells: dict[str, threading.Event] = {}
        self._busy_until: dict[str, float] = {}

    def add(self, lane: str) -> None:
        """A lane that has none yet gets one; before its thread starts."""
        self._bells.setdefault(lane, threading.Event())

    def ring(self, lane: str) -> None:
        """Something has happened in this lane. From any thread."""
        if lane in self._bells:
            self._busy_until[lane] = time.monotonic() + _MOMENT_SECONDS
            self._bells[lane].set()

    def hang(self, stop: threading.Event) -> None:
        """From now on, who waits for `stop` in the thread of a lane also wakes when its bell rings."""
        original = stop.wait

        def wait(timeout: float | None = None) -> bool:
            lane = threading.current_thread().name.removeprefix(_THREAD)
            bell = self._bells.get(lane)
            if bell is None or timeout is None:
                return original(timeout)
            if not stop.is_set() and bell.wait(min(timeout, self._longest(lane))):
                bell.clear()
            return stop.is_set()

        stop.wait = wait  # type: ignore[method-assign] # there is no other way to wake them

    def _longest(self, lane: str) -> float:
        busy = time.monotonic() < self._busy_until.get(lane, 0.0)
        return OFTEN_SECONDS if busy else threading.TIMEOUT_MAX

    def end(self, stop: threading.Event) -> None:
        """Set `stop`, and wake whoever waits for it."""
        stop.set()
        for bell in self._bells.values():
            bell.set()
