"""The wall clock, watched: it may stand still or leap forward, but a decision never trusts one that went back.

A clock that is set back would bring expired tokens and approvals to life again. So the clock remembers the latest time that it
gave or that the journal holds; further behind that than `tolerance`, it is called stale and every decision is deny.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

TOLERANCE = timedelta(seconds=30)


class Clock:
    """Aware UTC time and whether it can be trusted."""

    def __init__(self, read: Callable[[], datetime] | None = None, tolerance: timedelta = TOLERANCE) -> None:
        self._read = read or (lambda: datetime.now(UTC))
        self._tolerance = tolerance
        self._latest = datetime.min.replace(tzinfo=UTC)

    def witness(self, time: datetime | None) -> None:
        """Take note of a time that the journal holds."""
        if time is not None and time > self._latest:
            self._latest = time

    def now(self) -> datetime:
        """What the wall clock says."""
        reading = self._read()
        self._latest = max(self._latest, reading)
        return reading

    @property
    def behind(self) -> timedelta:
        """How far the clock stands behind the latest time that was seen; zero when it does not."""
        return max(self._latest - self._read(), timedelta(0))

    @property
    def trusted(self) -> bool:
        """Whether decisions may be made by this clock."""
        return self.behind <= self._tolerance
