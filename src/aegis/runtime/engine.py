"""The port of dispatch: tasks are queued, spread over processes, limited, and handed to whoever serves their queue.

A task names what is to be looked at and holds nothing else: which run of which tenant, which node, under which dispatch number.
What is to be done, and whether it still is, says the journal. So an engine may lose a task (the sweep hands it in again), may
deliver it twice (the second finds the command answered, or the effect's key taken), and may deliver it late (the number is
outstanding no more).
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from aegis.workflow.dispatch import Lane, Task

__all__ = ["Engine", "Lane", "Serve", "Task"]

Serve = Callable[[Task], Awaitable[None]]
"""Does what the task says. It never raises: what went wrong is in the journal or is found by the sweep."""


class Engine(Protocol):
    """Dispatch of one process."""

    async def start(self, lanes: Sequence[Lane], serve: Serve) -> None:
        """Serve these queues from now on: `serve` is called in the event loop that called this."""

    async def dispatch(self, tasks: Sequence[Task]) -> None:
        """Queue these, each once for its id; durable where the engine is."""

    async def cancel(self, tasks: Sequence[Task]) -> None:
        """Take those that did not start out of their queues."""

    async def depth(self) -> dict[tuple[str, str], int]:
        """How many wait, by (tenant, queue)."""

    async def tidy(self) -> int:
        """Forget tasks that have ended; how many."""

    async def stop(self) -> None:
        """Take no new task, and let those under way end."""
