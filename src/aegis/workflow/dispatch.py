"""What is dispatched, as values: a task names one command of one run, and a lane says how many of a queue run at once.

They lie here, below the engines that carry them and the runtime that hands them in; the port itself is `runtime.engine`.
"""

from msgspec import Struct


class Task(Struct, frozen=True, kw_only=True):
    """One command of one run. `queue` is its owner's; `priority` 0 is the most urgent; `delay_seconds` from now."""

    tenant: str
    run: str
    node: str
    dispatch: int
    queue: str = "default"
    priority: int = 0
    delay_seconds: float = 0.0

    @property
    def id(self) -> str:
        """Its name: handed in twice, it is queued once."""
        return f"{self.tenant}/{self.run}:{self.node}:{self.dispatch}"


class Lane(Struct, frozen=True, kw_only=True):
    """A queue as the engine must know it: how many of one tenant run at once over all processes, and how many start in a period.

    0 is no limit.
    """

    name: str
    concurrency: int = 0
    rate: int = 0
    period_seconds: float = 0.0
