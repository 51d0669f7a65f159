"""The calls that this process is carrying out right now: what its row says is in flight and is not here was dropped."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class Running:
    """Request ids under way in the process `instance`; one id may be under way more than once."""

    def __init__(self, instance: str) -> None:
        self.instance = instance
        self._counts: Counter[str] = Counter()

    def __contains__(self, request_id: str) -> bool:
        return self._counts[request_id] > 0

    @contextmanager
    def during(self, request_id: str) -> Iterator[None]:
        """Hold `request_id` as under way."""
        self._counts[request_id] += 1
        try:
            yield
        finally:
            self._counts[request_id] -= 1
            if not self._counts[request_id]:
                del self._counts[request_id]
