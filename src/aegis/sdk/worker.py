"""Workers: take the tasks of a remote agent from its queue, one after the other, and do them.

    def score(task: Task) -> Any:
        found = task.call("crm.lookup", {"id": task.input["supplier"]})
        return {"score": 7}

    Worker("http://127.0.0.1:8420", agent, "finance", score).run()      # until SIGTERM, or `stop` from another thread

What the handler returns is the task's output; what it raises is why there is none (`TaskFailed` says it in your own words). While
it works, heartbeats keep the lease and renew the credential. Calls made through `task.call` stand on the task, and their keys begin
with run and node, so that a task that is taken up again meets what was done before.

When the lease is lost all the same, `task.lost` is set, and what the handler returns counts no more.
"""

import asyncio
import contextlib
import random
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from aegis.errors import AegisError, GatewayError
from aegis.sdk import tasks
from aegis.sdk.client import AsyncClient, Client, Token
from aegis.sdk.exchange import Message
from aegis.sdk.tasks import MOST_BEATS, Given, TaskFailed, Used

__all__ = ["AsyncTask", "AsyncWorker", "Task", "TaskFailed", "Worker"]

_ZERO = timedelta(0)
_WAIT = timedelta(seconds=15)
_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)


class _About(Used):
    """What both kinds of tasks know."""

    def __init__(self, given: Given) -> None:
        super().__init__()
        self.given = given
        self.input = given.input
        self.run = given.run
        self.workflow = given.workflow
        self.step = given.step
        self.node = given.node
        self.attempt = given.attempt
        self.token = given.token
        self._turn = 0

    def key(self, name: str) -> str:
        """The idempotency key of an effect of this task; unnamed ones are counted, and must come in the same order each time."""
        self._turn += 1
        return self.given.prefix + (name or str(self._turn))


class Task(_About):
    """A task in the hands of a handler."""

    def __init__(self, given: Given, client: Client) -> None:
        super().__init__(given)
        self.lost = threading.Event()
        self._client = client

    def call(self, tool: str, arguments: Mapping[str, Any], *, key: str = "", wait: timedelta = _ZERO) -> Any:
        """The result of a tool, called as the agent for this task; `wait` is how long to wait for a person who must approve."""
        return self._client.call(tool, arguments, key=self.key(key), parent=self.given.parent, wait=wait).result


class Worker:
    """Does one task at a time. `agent` is what a `Client` takes for a token; `name` is for people."""

    def __init__(
        self, url: str, agent: Token, queue: str, handler: Callable[[Task], Any], *, name: str = "", wait: timedelta = _WAIT
    ) -> None:
        self._url = url
        self._client = Client(url, agent)
        self._beats = Client(url, agent)
        self._queue = queue
        self._handler = handler
        self._name = name
        self._wait = int(wait.total_seconds())
        self._stopped = threading.Event()
        self.done = 0

    def run(self) -> None:
        """Work until `stop`, or until SIGTERM when this is the main thread; the task under way is finished."""
        with contextlib.suppress(ValueError):  # only the main thread may say what a signal does
            signal.signal(signal.SIGTERM, lambda *_: self.stop())
        failed = 0
        try:
            while not self._stopped.is_set():
                try:
                    if self.step() is None and not self._wait:
                        self._stopped.wait(_PAUSES[0])
                    failed = 0
                except AegisError:
                    self._stopped.wait(_pause(failed))
                    failed += 1
        finally:
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections; `run` does it by itself."""
        self._client.close()
        self._beats.close()

    def stop(self) -> None:
        """Take no further task."""
        self._stopped.set()

    def step(self) -> bool | None:
        """Take one task and do it: whether its end counted; `None` when none came."""
        value = self._client._send(tasks.lease(self._queue, self._name, self._wait), again=False)  # noqa: SLF001 - ours
        given = tasks.given(value)
        return None if given is None else self._do(given)

    def _do(self, given: Given) -> bool:
        ended = threading.Event()
        task: Task
        with Client(self._url, lambda: task.token) as client:
            task = Task(given, client)
            beating = threading.Thread(target=self._beat, args=(task, ended), daemon=True)
            beating.start()
            try:
                counted = self._tell(task, self._worked(task))
            finally:
                ended.set()
                beating.join()
        self.done += counted
        return counted

    def _worked(self, task: Task) -> Message:
        """How the task ended, by its handler; whatever that raises, its task came to nothing."""
        try:
            return tasks.say(task.given, "complete", {"output": self._handler(task), **task.body})
        except Exception as error:
            return tasks.say(task.given, "fail", {**tasks.failure(error), **task.body})

    def _tell(self, task: Task, message: Message) -> bool:
        """Say how the task ended, as often as it takes while the task is ours; heartbeats go on meanwhile."""
        failed, deadline = 0, time.monotonic() + 2 * task.given.seconds
        while not task.lost.is_set():
            try:
                self._client._send(message, again=True)  # noqa: SLF001 - ours
            except GatewayError as error:
                if not tasks.is_over(error) and (not tasks.may_pass(error) or time.monotonic() > deadline):
                    raise
                if tasks.is_over(error):
                    return False
                task.lost.wait(_pause(failed))
                failed += 1
            else:
                return True
        return False

    def _beat(self, task: Task, ended: threading.Event) -> None:
        while not ended.wait(task.given.seconds / MOST_BEATS):
            try:
                value = self._beats._send(tasks.say(task.given, "heartbeat"), again=True)  # noqa: SLF001 - ours
                task.token = tasks.fresh_token(value) or task.token
            except GatewayError as error:
                if tasks.is_over(error):
                    task.lost.set()
                    return


class AsyncTask(_About):
    """A task in the hands of an async handler."""

    def __init__(self, given: Given, client: AsyncClient) -> None:
        super().__init__(given)
        self.lost = asyncio.Event()
        self._client = client

    async def call(self, tool: str, arguments: Mapping[str, Any], *, key: str = "", wait: timedelta = _ZERO) -> Any:
        """As `Task.call`."""
        return (await self._client.call(tool, arguments, key=self.key(key), parent=self.given.parent, wait=wait)).result


class AsyncWorker:
    """The same for asyncio, doing up to `most` tasks at once."""

    def __init__(
        self,
        url: str,
        agent: Token,
        queue: str,
        handler: Callable[[AsyncTask], Awaitable[Any]],
        *,
        name: str = "",
        wait: timedelta = _WAIT,
        most: int = 1,
    ) -> None:
        self._url = url
        self._client = AsyncClient(url, agent)
        self._queue = queue
        self._handler = handler
        self._name = name
        self._wait = int(wait.total_seconds())
        self._most = most
        self._stopped = asyncio.Event()
        self.done = 0

    async def run(self) -> None:
        """Work until `stop`, or until SIGTERM; the tasks under way are finished."""
        with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):  # only in the main thread
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.stop)
        try:
            await asyncio.gather(*(self._serve() for _ in range(self._most)))
        finally:
            await self._client.close()

    def stop(self) -> None:
        """Take no further task."""
        self._stopped.set()

    async def step(self) -> bool | None:
        """As `Worker.step`."""
        value = await self._client._send(tasks.lease(self._queue, self._name, self._wait))  # noqa: SLF001 - ours
        given = tasks.given(value)
        return None if given is None else await self._do(given)

    async def _serve(self) -> None:
        failed = 0
        while not self._stopped.is_set():
            try:
                if await self.step() is None and not self._wait:
                    await self._rest(_PAUSES[0])
                failed = 0
            except AegisError:
                await self._rest(_pause(failed))
                failed += 1

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), seconds)

    async def _do(self, given: Given) -> bool:
        task: AsyncTask
        async with AsyncClient(self._url, lambda: task.token) as client:
            task = AsyncTask(given, client)
            beating = asyncio.create_task(self._beat(task))
            try:
                counted = await self._tell(task, await self._worked(task))
            finally:
                beating.cancel()
                await asyncio.gather(beating, return_exceptions=True)
        self.done += counted
        return counted

    async def _worked(self, task: AsyncTask) -> Message:
        """As `Worker._worked`."""
        try:
            return tasks.say(task.given, "complete", {"output": await self._handler(task), **task.body})
        except Exception as error:
            return tasks.say(task.given, "fail", {**tasks.failure(error), **task.body})

    async def _tell(self, task: AsyncTask, message: Message) -> bool:
        """As `Worker._tell`."""
        failed, deadline = 0, time.monotonic() + 2 * task.given.seconds
        while not task.lost.is_set():
            try:
                await self._client._send(message)  # noqa: SLF001 - ours
            except GatewayError as error:
                if not tasks.is_over(error) and (not tasks.may_pass(error) or time.monotonic() > deadline):
                    raise
                if tasks.is_over(error):
                    return False
                await asyncio.sleep(_pause(failed))
                failed += 1
            else:
                return True
        return False

    async def _beat(self, task: AsyncTask) -> None:
        while True:
            await asyncio.sleep(task.given.seconds / MOST_BEATS)
            try:
                value = await self._client._send(tasks.say(task.given, "heartbeat"))  # noqa: SLF001 - ours
                task.token = tasks.fresh_token(value) or task.token
            except GatewayError as error:
                if tasks.is_over(error):
                    task.lost.set()
                    return


def _pause(failed: int) -> float:
    """How long to wait after so many failures in a row; drawn, so that many workers do not come back at once."""
    return random.uniform(0.5, 1.0) * _PAUSES[min(failed, len(_PAUSES) - 1)]  # noqa: S311 - spreads load, hides nothing
