"""Spans of what the gate does, counted always and handed on to whoever wants them.

A span is put down at the end of its work, by one append to a bounded queue: nothing waits, nothing is sent, nothing can fail. When
nobody takes them out in time the newest are dropped and counted. When nobody wants them, they are counted all the same.

A span can be held against the journal: the event of the same decision, conversation or answer carries `trace_id`, `span_id` and
`parent_span_id`, and `runtime.spancheck` says where the two do not tell the same.
"""

from collections import Counter, deque
from collections.abc import Callable

from aegis.model.span import Span, Work

QUEUE = 8192


class Spans:
    """The spans of one process. `put` is called from the event loop, `take` by one exporter, in a thread of its own."""

    def __init__(self, limit: int = QUEUE) -> None:
        self.counts: Counter[Work] = Counter()
        self.dropped = 0
        self.wanted = False
        """Whether anybody takes spans out."""
        self._limit = limit
        self._queue: deque[Span] = deque()
        self._watchers: list[Callable[[Span], None]] = []

    def watch(self, watcher: Callable[[Span], None]) -> None:
        """Tell `watcher` of every span at the moment it is put down; it must neither wait nor raise."""
        self._watchers.append(watcher)

    def put(self, span: Span) -> None:
        """Put a finished span down."""
        self.counts[span.work] += 1
        for watcher in self._watchers:
            watcher(span)
        if not self.wanted:
            return
        if len(self._queue) >= self._limit:
            self.dropped += 1
        else:
            self._queue.append(span)

    def take(self, most: int) -> list[Span]:
        """The oldest spans that wait, at most so many; they are the taker's from now on."""
        found: list[Span] = []
        while self._queue and len(found) < most:
            found.append(self._queue.popleft())
        return found

    def __len__(self) -> int:
        return len(self._queue)
