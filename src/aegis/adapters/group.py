"""Group commit: one thread takes every unit that waits and has them committed as one transaction.

The database work is a `Backend`'s. This module owns the queue, its bounds, and who is told what:

- Nobody is told `Committed` before `Backend.write` has returned, and then a whole group is freed with one call per event loop.
- An error of the group is the answer of every unit in it. `Stop` halts the writer as well: what waits, and whatever comes later,
  is refused until the store is opened anew.
- Data that the database refuses (`UnfitError`) is looked for by committing each unit of the group by itself.
"""

import asyncio
import copy
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from aegis.errors import AegisError, StoreBusyError, StoreError, StoreHaltedError, StoreUncertainError
from aegis.journal.unit import Receipt, Unit

MAX_WAITING = 8_192
MAX_WAITING_BYTES = 64 * 1024 * 1024
MAX_GROUP = 256
MAX_GROUP_BYTES = 4 * 1024 * 1024
TICK_SECONDS = 1.0

Result = TypeVar("Result")


class Stop(Exception):  # noqa: N818 - an order to the writer, not an error that anybody sees
    """What is on stable storage is in doubt: answer the group with `error`, then write nothing more."""

    def __init__(self, error: StoreError) -> None:
        super().__init__(str(error))
        self.error = error


class UnfitError(StoreError):
    """The database refused the data of some unit in the group; nothing of the group was recorded."""


class Backend(Protocol):
    """The database side of a writer. Every method is called by the writer's thread alone."""

    def write(self, units: Sequence[Unit]) -> Sequence[Receipt | AegisError]:
        """Commit a group; returns one answer per unit once the group is on stable storage."""

    def rest(self) -> None:
        """Keep house after a group has been answered, or once a second when nothing comes."""

    def close(self) -> None:
        """Let go of the connection."""


class _Job(NamedTuple):
    unit: Unit | None
    errand: Callable[[], Any] | None
    size: int
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


_CLOSE: Final = None


class GroupWriter:
    """The queue and the thread: units, and errands (small transactions of other kinds), which follow the units of their group."""

    def __init__(
        self, backend: Backend, *, name: str, max_waiting: int = MAX_WAITING, max_waiting_bytes: int = MAX_WAITING_BYTES
    ) -> None:
        self._backend = backend
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._max_waiting = max_waiting
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting = 0
        self._waiting_bytes = 0
        self._closed = False
        self._halted: StoreError | None = None
        self._units = 0
        self._groups = 0
        self._seconds = 0.0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def commit(self, unit: Unit, size: int) -> Receipt:
        """The answer to `unit`, whose approximate size in bytes is `size`."""
        receipt: Receipt = await self._submit(unit, None, size)
        return receipt

    async def run(self, errand: Callable[[], Result]) -> Result:
        """What `errand` returns when the writer's thread has run it between two groups."""
        result: Result = await self._submit(None, errand, 0)
        return result

    async def close(self) -> None:
        """Finish what waits, then end the thread and close the backend. A second call waits for the first."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(_CLOSE)
        await asyncio.to_thread(self._thread.join)

    def stats(self) -> dict[str, int | float]:
        """Numbers since the start: units recorded, groups, seconds of the last group; units that wait; whether it has halted."""
        return {
            "units_committed": self._units,
            "groups_committed": self._groups,
            "last_commit_seconds": self._seconds,
            "waiting_units": self._waiting,
            "waiting_bytes": self._waiting_bytes,
            "halted": self._halted is not None,
        }

    async def _submit(self, unit: Unit | None, errand: Callable[[], Any] | None, size: int) -> Any:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        with self._lock:
            if self._halted is not None:
                raise _refusal(self._halted)
            if self._closed:
                raise StoreError("the store is closed")
            if self._waiting >= self._max_waiting or (self._waiting and self._waiting_bytes + size > self._max_waiting_bytes):
                raise StoreBusyError(f"{self._waiting} units of {self._waiting_bytes} bytes wait already: retry later")
            self._waiting += 1
            self._waiting_bytes += size
            self._queue.put(_Job(unit, errand, size, future, loop))
        return await future

    def _run(self) -> None:
        closing = False
        while not closing:
            jobs, closing = self._take()
            # Whoever has stopped waiting before the group began is left out: nothing of theirs was recorded.
            self._serve([job for job in jobs if not job.future.cancelled()])
            self._guarded(self._backend.rest)
        self._guarded(self._backend.close, even_halted=True)

    def _take(self) -> tuple[list[_Job], bool]:
        """Everything that waits, within the bounds of a group, after at most a second; and whether it is the last."""
        jobs: list[_Job] = []
        size = 0
        closing = False
        try:
            job = self._queue.get(timeout=TICK_SECONDS)
            while True:
                if job is _CLOSE:
                    closing = True
                    break
                jobs.append(job)
                size += job.size
                if len(jobs) >= MAX_GROUP or size >= MAX_GROUP_BYTES:
                    break
                job = self._queue.get_nowait()
        except Empty:
            pass
        with self._lock:
            self._waiting -= len(jobs)
            self._waiting_bytes -= size
        return jobs, closing

    def _serve(self, jobs: list[_Job]) -> None:
        units = [job for job in jobs if job.unit is not None]
        if units:
            self._group(units)
        for job in jobs:
            if job.errand is not None:
                self._errand(job, job.errand)

    def _group(self, jobs: list[_Job]) -> None:
        """Commit the units of `jobs` as one transaction and free their callers."""
        began = monotonic()
        answers: Sequence[Receipt | AegisError]
        try:
            self._refuse_if_halted()
            answers = self._backend.write([job.unit for job in jobs if job.unit is not None])
        except UnfitError as error:
            if len(jobs) > 1:
                for job in jobs:
                    self._group([job])
                return
            answers = [error]
        except Stop as stop:
            self._halt(stop.error)
            answers = [stop.error] * len(jobs)
        except AegisError as error:
            answers = [error] * len(jobs)
        except Exception as error:  # a fault of ours: nobody knows what was written, so nothing more is
            answers = [self._unexpected(error)] * len(jobs)
        else:
            self._seconds = monotonic() - began
            self._groups += 1
            self._units += len(jobs)
        _free(jobs, answers)

    def _errand(self, job: _Job, errand: Callable[[], Any]) -> None:
        answer: Any
        try:
            self._refuse_if_halted()
            answer = errand()
        except Stop as stop:
            self._halt(stop.error)
            answer = stop.error
        except AegisError as error:
            answer = error
        except Exception as error:  # as in _group
            answer = self._unexpected(error)
        _free([job], [answer])

    def _guarded(self, work: Callable[[], None], *, even_halted: bool = False) -> None:
        """Run what no caller waits for. Only `Stop` says that the store is in doubt; a lost connection mends itself."""
        if self._halted is not None and not even_halted:
            return
        try:
            work()
        except Stop as stop:
            self._halt(stop.error)
        except StoreError:
            return
        except Exception as error:  # as in _group
            self._unexpected(error)

    def _unexpected(self, error: Exception) -> StoreError:
        doubt = StoreUncertainError(f"the writer failed unexpectedly ({type(error).__name__}): open the store anew")
        doubt.__cause__ = error
        self._halt(doubt)
        return doubt

    def _refuse_if_halted(self) -> None:
        if self._halted is not None:
            raise _refusal(self._halted)

    def _halt(self, error: StoreError) -> None:
        with self._lock:
            self._halted = self._halted or error


def _refusal(halted: StoreError) -> StoreHaltedError:
    return StoreHaltedError(f"the writer has stopped: {halted}; open the store anew, which checks it")


def _free(jobs: Sequence[_Job], answers: Sequence[Any]) -> None:
    """Hand every caller its answer: one call per event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Any], Any]]] = {}
    for job, answer in zip(jobs, answers, strict=True):
        by_loop.setdefault(job.loop, []).append((job.future, answer))
    for loop, pairs in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, pairs)
        except RuntimeError:  # the loop was closed: its callers are gone
            continue


def _settle(pairs: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, answer in pairs:
        if future.done():
            continue
        if isinstance(answer, BaseException):
            # Each caller gets its own: a shared exception would collect the tracebacks of all of them.
            own = copy.copy(answer)
            own.__cause__ = answer.__cause__
            future.set_exception(own)
        else:
            future.set_result(answer)
