"""Reading: a few threads, each use with a connection to itself, for any event loop."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import psycopg
from psycopg import Connection

from aegis.adapters.group import Stop
from aegis.adapters.postgres.connection import LostError, connect_reader, translated
from aegis.errors import StoreError

THREADS = 4

Result = TypeVar("Result")


class Readers:
    """At most `THREADS` connections, made when they are needed."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._idle: deque[Connection] = deque()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="aegis-postgres-reader")
        self._closed = False

    async def read(self, work: Callable[[Connection], Result]) -> Result:
        """What `work` returns; the server's errors come out as `StoreError`."""
        if self._closed:
            raise StoreError("the store is closed")
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._use, work)

    async def close(self) -> None:
        """Wait for who is reading, then close every connection."""
        self._closed = True
        await asyncio.to_thread(self._threads.shutdown)
        while self._idle:
            self._idle.pop().close()

    def _use(self, work: Callable[[Connection], Result]) -> Result:
        try:
            return self._once(work)
        except LostError:  # the server may have been restarted since: forget the others too, and try on a new one
            while self._idle:
                self._idle.pop().close()
            return self._once(work)

    def _once(self, work: Callable[[Connection], Result]) -> Result:
        connection = self._idle.pop() if self._idle else connect_reader(self._dsn)
        try:
            found = work(connection)
        except psycopg.Error as error:
            meaning = translated(error, connection)
            connection.close()
            raise (meaning.error if isinstance(meaning, Stop) else meaning) from error
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return found
