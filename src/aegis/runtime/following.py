"""What a process keeps looking at while it serves: halts, revocations, keys, directories, policies, unfinished calls.

Each follower does one thing again and again, with a pause between two turns. A turn that fails is told by `troubles` and logged,
once for as long as it fails in the same way, and the next one tries again: nothing may stop a process from learning that something
was revoked.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from msgspec import Struct

from aegis.errors import AegisError

log = logging.getLogger("aegis.following")


class Follower(Struct, frozen=True, kw_only=True):
    """One work and how often it is done. `at_once`: the first turn comes at the start and not after the first pause.

    `tells` says that the process is not ready while the last turn of it failed.
    """

    name: str
    every_seconds: float
    work: Callable[[], Awaitable[object]]
    at_once: bool = False
    tells: bool = True


class Followers:
    """The followers of one process."""

    def __init__(self) -> None:
        self._known: list[Follower] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._troubles: dict[str, str] = {}
        self._logged: dict[str, str] = {}

    def add(self, follower: Follower) -> None:
        """Follow this too, from `start` on."""
        self._known.append(follower)
        if follower.at_once and follower.tells:
            self._troubles[follower.name] = "not looked yet"

    def start(self) -> None:
        """Begin."""
        self._tasks = [asyncio.create_task(self._follow(follower)) for follower in self._known]

    async def stop(self) -> None:
        """End all of them; a turn under way is given up."""
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks = []

    def troubles(self) -> list[str]:
        """What could not be looked at the last time, in words; empty when all is well."""
        return [f"{name}: {why}" for name, why in sorted(self._troubles.items())]

    async def _follow(self, follower: Follower) -> None:
        if not follower.at_once:
            await asyncio.sleep(follower.every_seconds)
        while True:
            try:
                await follower.work()
                self._troubles.pop(follower.name, None)
                self._logged.pop(follower.name, None)
            except Exception as error:
                why = f"{error.code}: {error}" if isinstance(error, AegisError) else type(error).__name__
                if self._logged.get(follower.name) != why:  # turns come several times a second
                    if isinstance(error, AegisError):  # its words say what is wrong, and where
                        log.error("%s: %s", follower.name, error)  # noqa: TRY400 - no trace needed
                    else:
                        log.exception(follower.name)
                    self._logged[follower.name] = why
                if follower.tells:
                    self._troubles[follower.name] = why
            await asyncio.sleep(follower.every_seconds)
