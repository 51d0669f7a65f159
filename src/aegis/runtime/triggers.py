"""Halts that nobody has to call for: on many failures at once, and on a journal that is not what it was.

Every serving process follows the journals of the tenants that state triggers, from a window before its start on, and counts. What
has happened too often within its time is halted by `system:triggers`, with the numbers and the requests in the event; a person
lifts it, nothing else does.

An episode is halted once, whatever the number of processes: the halt is committed on the row as it was read, so one of them wins
and the others find it halted. After a halt was lifted, only what happened later counts. What is denied because of a halt counts
for nothing, so that one halt does not lead to the next.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from aegis.errors import AegisError, ConfigError
from aegis.journal.store import Store
from aegis.model.event import SYSTEM_TENANT, Stored
from aegis.model.trigger import TENANT, Trigger, Triggers
from aegis.runtime.clock import Clock
from aegis.runtime.halts import Halt, Halts
from aegis.runtime.record import text
from aegis.runtime.tenant import Snapshot

log = logging.getLogger("aegis.triggers")

EVERY_SECONDS = 0.25
BY = "system:triggers"
PAGE, PAGES = 1000, 50
TOLD = 20
"""So many requests are named as evidence."""
_FAILED = frozenset({"failed", "reopened", "interrupted"})
_COUNTED = frozenset({"decision", "outcome", "late_outcome", "workflow_failed"})

Source = Callable[[str], tuple[Triggers | None, ConfigError | None]]
Alarms = Callable[[], Sequence[tuple[str, str, str]]]
"""What is wrong with logs now: the tenant, `violated` or `stale`, and words."""


class Seen(Struct, frozen=True, kw_only=True):
    """One thing that counts."""

    at: datetime
    outcome: str
    request_id: str


class Watch:
    """What was counted for one tenant. `next` is the first event of its journal that was not read yet."""

    def __init__(self, stated: Triggers, after: int) -> None:
        self.stated = stated
        self.after = after
        self.counts: dict[tuple[str, str], deque[Seen]] = {}
        self.crossed: dict[tuple[str, str], tuple[Seen, ...]] = {}
        self.alarmed: set[str] = set()

    def count(self, event: Stored) -> None:
        """Count an event; what has happened too often with it is in `crossed`."""
        if event.type not in _COUNTED:
            return
        outcome, names = outcome_of(event.type, msgspec.json.decode(event.body))
        if not outcome:
            return
        for trigger in self.stated.triggers:
            if outcome in trigger.outcomes:
                for name in filter(trigger.counts, names):
                    self._count(trigger, name, Seen(at=event.time, outcome=outcome, request_id=event.request_id))

    def _count(self, trigger: Trigger, name: str, seen: Seen) -> None:
        key = (trigger.id, name)
        found = self.counts.setdefault(key, deque(maxlen=trigger.more_than + 1))
        found.append(seen)
        if len(found) == found.maxlen and seen.at - found[0].at < timedelta(seconds=trigger.within_seconds):
            self.crossed[key] = tuple(found)

    def forget(self, before: datetime) -> None:
        """Let go of names that nothing has happened to for longer than any window."""
        for key in [key for key, found in self.counts.items() if found[-1].at < before]:
            del self.counts[key]


class Trips:
    """Follows and halts. One for each process."""

    def __init__(self, store: Store, clock: Clock, halts: Halts, snapshot: Snapshot, source: Source, alarms: Alarms) -> None:
        self._store = store
        self._clock = clock
        self._halts = halts
        self._snapshot = snapshot
        self._source = source
        self._alarms = alarms
        self._watches: dict[str, Watch] = {}

    async def turn(self) -> None:
        """Read what is new, and halt what has to be.

        Raises:
            ConfigError: The document of a tenant is wrong; those that are right are followed all the same.
        """
        wrong: AegisError | None = None
        for tenant in [each.name for each in self._snapshot]:
            stated, error = self._source(tenant)
            wrong = wrong or error
            if stated is None or not stated.triggers:
                self._watches.pop(tenant, None)
                continue
            watch = await self._watch(tenant, stated)
            await self._read(tenant, watch)
            for trigger, name, seen in self._crossed(watch):
                await self._trip(tenant, trigger, name, seen, watch)
            await self._alarmed(tenant, watch)
        if wrong is not None:
            raise wrong

    async def _watch(self, tenant: str, stated: Triggers) -> Watch:
        """The counts of a tenant; begun anew, a window back, when its document is another one."""
        found = self._watches.get(tenant)
        if found is None or found.stated != stated:
            fresh = Watch(stated, await self._start(tenant, stated))
            fresh.alarmed = found.alarmed if found else set()
            found = self._watches[tenant] = fresh
        return found

    async def _start(self, tenant: str, stated: Triggers) -> int:
        since = self._clock.now() - timedelta(seconds=stated.longest_seconds)
        after = -1
        for _ in range(PAGES):
            page = await self._store.events(tenant, after=after, limit=PAGE, newest_first=True)
            for event in page:
                if event.time < since:
                    return event.seq
            if len(page) < PAGE:
                return -1
            after = page[-1].seq
        return after - 1

    async def _read(self, tenant: str, watch: Watch) -> None:
        if not watch.stated.longest_seconds:
            return
        for _ in range(PAGES):
            page = await self._store.events(tenant, after=watch.after, limit=PAGE)
            for event in page:
                watch.count(event)
            watch.after = page[-1].seq if page else watch.after
            if len(page) < PAGE:
                break
        watch.forget(self._clock.now() - timedelta(seconds=watch.stated.longest_seconds))

    @staticmethod
    def _crossed(watch: Watch) -> Iterator[tuple[Trigger, str, tuple[Seen, ...]]]:
        known = {each.id: each for each in watch.stated.triggers}
        for (trigger_id, name), seen in list(watch.crossed.items()):
            yield known[trigger_id], name, seen

    async def _trip(self, tenant: str, trigger: Trigger, name: str, seen: tuple[Seen, ...], watch: Watch) -> None:
        """Halt for what was counted, unless it is halted already or all of this happened before a halt was lifted."""
        what, evidence = trigger.target(name), _evidence(trigger, name, seen)
        told = f"{len(seen)} of {name} {', '.join(sorted(trigger.outcomes))} within {trigger.within_seconds} s"
        await self._halt(tenant, trigger, what, told, evidence, since=seen[0].at)
        watch.crossed.pop((trigger.id, name), None)

    async def _alarmed(self, tenant: str, watch: Watch) -> None:
        """Halt for what is wrong with a log, once for as long as it is wrong. The operator's own log is everybody's."""
        wrong = [(kind, words) for whose, kind, words in self._alarms() if whose in (tenant, SYSTEM_TENANT)]
        for trigger in watch.stated.triggers:
            words = next((words for kind, words in wrong if kind == trigger.integrity), "")
            if not words:
                watch.alarmed.discard(trigger.id)
            elif trigger.id not in watch.alarmed:
                evidence = {"trigger": trigger.id, "integrity": trigger.integrity, "finding": text(words)}
                await self._halt(tenant, trigger, trigger.what, words, evidence, since=None)
                watch.alarmed.add(trigger.id)

    async def _halt(
        self, tenant: str, trigger: Trigger, what: str, told: str, evidence: dict[str, Any], since: datetime | None
    ) -> None:
        reason = text(f"{trigger.reason} (trigger {trigger.id}: {told})")
        halt = Halt(tenant=tenant, what=what, mode=trigger.mode, reason=reason, by=BY, evidence=evidence)
        if await self._halts.spring(halt, since=since):
            log.error("%s: %s", what, reason, extra={"tenant": tenant})


def outcome_of(kind: str, body: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    """What befell a call or a step: `failed`, `denied`, `unknown` or nothing; and the names for which that counts."""
    tool = (body.get("tool") or {}).get("name", "")
    agent = str(body.get("agent_id", ""))
    if kind == "decision" and not body["tool"].get("digest"):
        tool = ""  # there is no such tool: whoever thinks names up fills no memory
    names = (*((f"tool:{tool}",) if tool else ()), agent, TENANT)
    if kind == "workflow_failed":
        word = "denied" if body.get("outcome") == "denied" else "unknown" if body.get("reason") == "unknown" else "failed"
        return word, (f"workflow:{(body.get('workflow') or {}).get('name', '')}",)
    if kind == "decision":
        halted = body.get("rules") == ["halted"]
        return "denied" if body.get("decision") == "deny" and not halted else "", names
    state = body.get("outcome", "")
    if state == "unknown":
        return "unknown", names
    looked = str(body.get("by", "")).startswith("person:")
    return "failed" if state in _FAILED and not looked else "", names


def _evidence(trigger: Trigger, name: str, seen: tuple[Seen, ...]) -> dict[str, Any]:
    counts = {outcome: sum(each.outcome == outcome for each in seen) for outcome in sorted({each.outcome for each in seen})}
    return {
        "trigger": trigger.id,
        "of": name,
        "counts": counts,
        "more_than": trigger.more_than,
        "within_seconds": trigger.within_seconds,
        "requests": list(dict.fromkeys(text(each.request_id) for each in reversed(seen) if each.request_id))[:TOLD],
    }
