"""The thread that takes spans and metrics out of the process.

It looks every half second, takes all spans that wait, and sends them in batches. A collector that is away or busy is tried again
with growing pauses; meanwhile spans wait in their queue, which is bounded, so that the newest are dropped and counted. At the end
what waits is sent once more, for a moment only. A log line tells of trouble once, and once when it is over.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from prometheus_client import Metric

from aegis.adapters.otlp import encode, measures
from aegis.adapters.otlp.sender import Fate, Reply, Sender
from aegis.adapters.otlp.target import Target
from aegis.model.span import Span

log = logging.getLogger("aegis.telemetry")
LOOK_SECONDS = 0.5
BATCH = 512
TRIES = 8
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
FAREWELL_SECONDS = 3.0


class Source(Protocol):
    """Where finished spans wait."""

    wanted: bool

    def take(self, most: int) -> Sequence[Span]:
        """The oldest ones, at most so many."""


class Exporter:
    """Exports to one collector. `families` gives the metrics, from any thread; none are sent while it is not set."""

    def __init__(self, target: Target, spans: Source, *, metrics_seconds: float = 60.0) -> None:
        self.families: Callable[[], Iterable[Metric]] | None = None
        self.lost = 0
        """Spans that the collector refused, or that it was away for too long to take."""
        self._target = target
        self._spans = spans
        self._sender = Sender(target)
        self._every = metrics_seconds
        self._start_ns = time.time_ns()
        self._stopping = threading.Event()
        self._in_hand_us = 0
        self._trouble = ""
        self._thread = threading.Thread(target=self._run, name="aegis-telemetry", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._spans.wanted = True
        self._thread.start()

    def stop(self) -> None:
        """Send what waits, within a few seconds, and end."""
        if self._thread.is_alive():
            self._stopping.set()
            self._thread.join(FAREWELL_SECONDS)
        self._spans.wanted = False

    @property
    def lag_seconds(self) -> float:
        """How old the oldest span in hand is; 0 when none is."""
        return max(0.0, time.time() - self._in_hand_us / 1_000_000) if self._in_hand_us else 0.0

    def _run(self) -> None:
        due = time.monotonic() + self._every
        while not self._stopping.wait(LOOK_SECONDS):
            self._turn(metrics=time.monotonic() >= due)
            if time.monotonic() >= due:
                due = time.monotonic() + self._every
        self._turn(metrics=True)

    def _turn(self, *, metrics: bool) -> None:
        """One look; whatever goes wrong, the next one comes."""
        try:
            while batch := self._spans.take(BATCH):
                self._export(batch)
            if metrics and self.families is not None:
                now = time.time_ns()
                body = measures.metrics(self.families(), self._target.resource, start_ns=self._start_ns, now_ns=now)
                self._delivered("metrics", body)
        except Exception:
            log.exception("telemetry")

    def _export(self, batch: Sequence[Span]) -> None:
        self._in_hand_us = batch[0].end_us
        try:
            reply = self._delivered("traces", encode.traces(batch, self._target.resource))
            self.lost += reply.rejected if reply.fate is Fate.TAKEN else len(batch)
        except BaseException:
            self.lost += len(batch)
            raise
        finally:
            self._in_hand_us = 0

    def _delivered(self, what: str, body: bytes) -> Reply:
        """Send until it is taken or refused, or until it was tried often enough; at the end of the process, once."""
        pause = FIRST_PAUSE
        for attempt in range(TRIES):
            reply = self._sender.send(what, body)
            self._tell(what, reply)
            if reply.fate is not Fate.AGAIN or attempt == TRIES - 1:
                break
            wait = max(reply.wait_seconds, pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, hides nothing
            if self._stopping.wait(wait):
                break
            pause = min(pause * 2, LONGEST_PAUSE)
        return reply

    def _tell(self, what: str, reply: Reply) -> None:
        trouble = "" if reply.fate is Fate.TAKEN else reply.why
        if trouble and not self._trouble:
            log.warning("%s are not taken by %s: %s", what, self._target.url, trouble)
        elif self._trouble and not trouble:
            log.warning("%s is reached again", self._target.url)
        self._trouble = trouble
