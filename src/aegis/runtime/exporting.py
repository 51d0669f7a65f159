"""Pushes events to a receiver: at least once, in order for each tenant, and never in the way of a call.

    row `export`, by tenant     the cursor: what was acknowledged
    row `exporter`, `lease`     which process exports now

A batch is read from the cursor on, sent, and the cursor moves once the receiver has acknowledged it: what dies in between is sent
again, and the receiver tells duplicates by the id of the event. No more is read than was acknowledged, so a slow receiver costs no
memory. One process exports; another takes over when that one is gone or its lease has run out. Should two send for a moment, the
cursor moves for one of them only, and always from where it stood: there may be duplicates, and there is never a gap.

A receiver that fails is asked again after a pause that doubles, with chance in it, and not before the time that it names. Events
that it will not take stop the export of their tenant, loudly: they are tried again, slowly, and never skipped.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from random import Random
from time import monotonic
from typing import Protocol

import msgspec
from msgspec import Struct

from aegis.errors import ConfigError
from aegis.journal.export import cursor as cursors
from aegis.journal.export.cursor import Cursor
from aegis.journal.export.formats import batch, content_type, record
from aegis.journal.export.replies import Meaning, Reply, meaning
from aegis.journal.store import Store, TreeHead
from aegis.journal.unit import Committed, Put, Require, Row, Unit
from aegis.model.event import SYSTEM_TENANT, Stored
from aegis.runtime.clock import Clock
from aegis.runtime.export_cursors import KIND, missing, resumed
from aegis.runtime.record import text

log = logging.getLogger("aegis.export")

LEASE = "exporter"
EVERY_SECONDS = 1.0
AT_ONCE = 4
"""So many tenants are sent at the same time; with the size of a batch, this bounds the memory."""
MAX_BYTES = 1_048_576
TURN_SECONDS = 10.0
LEASED = timedelta(seconds=90)
"""Longer than a turn and a request that hangs until its time is over."""
FIRST_PAUSE, LONGEST_PAUSE, SLOWLY, LONGEST_ASKED = 1.0, 60.0, 300.0, 3600.0
BETWEEN = 16
"""After so many records the event loop gets its turn: calls do not wait for a batch."""
_CHANCE = Random()  # noqa: S311 - spreads retries, guards nothing


class Receiver(Protocol):
    """Where the events go."""

    async def post(self, body: bytes, media_type: str) -> Reply:
        """Send one batch. Whatever goes wrong is an answer; nothing is raised."""


class Holder(Struct, frozen=True, kw_only=True):
    """Which process exports, and until when the others stay out."""

    instance: str
    until: datetime


class Standing(Struct, kw_only=True):
    """How the export of one tenant stands. `halted` says why it waits for a person; empty when it does not."""

    tenant: str
    next: int = 0
    size: int = 0
    version: int = 0
    cursor: Cursor | None = None
    checked: bool = False
    most: int = 1
    failures: int = 0
    not_before: float = 0.0
    halted: str = ""

    @property
    def lag(self) -> int:
        """How many events are recorded and not yet acknowledged."""
        return max(0, self.size - self.next)


class Exporter:
    """Exports the tenants that `wanted` names (all, when it names none), as one of perhaps many processes."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        receiver: Receiver,
        *,
        instance: str,
        form: str,
        most: int,
        wanted: Iterable[str] = (),
        chance: Callable[[], float] = _CHANCE.random,
        slowly: float = SLOWLY,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        self._store = store
        self._clock = clock
        self._receiver = receiver
        self._instance = instance
        self._form = form
        self._most = most
        self._wanted = frozenset(wanted)
        self._chance = chance
        self._slowly = slowly
        self._first_pause = first_pause
        self._standing: dict[str, Standing] = {}
        self._lease = Holder(instance="", until=datetime.min.replace(tzinfo=clock.now().tzinfo))
        self.sent = 0

    def standing(self) -> tuple[Standing, ...]:
        """How each tenant stands, when this process exports; empty otherwise."""
        known = self._standing.copy()  # whole, whatever thread asks
        return tuple(known[name] for name in sorted(known))

    async def turn(self) -> int:
        """Send what there is to send now, for some seconds at most; how many events were acknowledged."""
        if not await self._leads():
            self._standing.clear()
            return 0
        before, until = self.sent, monotonic() + TURN_SECONDS
        await self._look()
        places = asyncio.Semaphore(AT_ONCE)

        async def send(each: Standing) -> None:
            async with places:
                await self._send(each, until)

        await asyncio.gather(*(send(each) for each in self.standing() if each.lag and each.not_before <= monotonic()))
        return self.sent - before

    async def _look(self) -> None:
        """Read where the logs end and where the cursors stand."""
        heads = await self._store.heads()
        rows = {row.id: row for row in await self._store.find(SYSTEM_TENANT, KIND, limit=1_000_000)}
        for name, head in heads.items():
            if head.frontier.size and (not self._wanted or name in self._wanted):
                self._place(name, head, rows.get(name))

    def _place(self, name: str, head: TreeHead, row: Row | None) -> None:
        found = self._standing.setdefault(name, Standing(tenant=name, most=self._most))
        found.version, found.size = row.version if row else 0, head.frontier.size
        try:
            cursor = msgspec.json.decode(row.body, type=Cursor) if row else cursors.start(name, head.first)
        except msgspec.DecodeError:
            self._halt(found, f"the row `{KIND}` of the tenant is damaged; `aegis fsck` shows more")
            return
        if cursor != found.cursor:  # another process, or a person, has moved it
            found.cursor, found.next = cursor, cursor.next
            found.checked, found.halted, found.not_before = False, "", 0.0

    async def _send(self, each: Standing, until: float) -> None:
        """Send batches of one tenant, one after the other, until nothing is left or something stands in the way."""
        while monotonic() < until and await self._trusted(each):
            events = await self._store.events(each.tenant, after=each.next - 1, limit=each.most)
            if not events or not self._whole(each, events):
                return
            records = await self._records(events)
            reply = await self._receiver.post(batch(self._form, records), content_type(self._form))
            if not await self._told(each, events[: len(records)], reply):
                return

    async def _trusted(self, each: Standing) -> bool:
        """Whether the cursor is of this log; asked once for each cursor that another process wrote."""
        if each.checked:
            return True
        assert each.cursor is not None, "placed before it is sent"
        try:
            await resumed(self._store, each.cursor, each.tenant)
        except ConfigError as error:
            self._halt(each, str(error))
            return False
        each.checked = True
        return True

    def _whole(self, each: Standing, events: tuple[Stored, ...]) -> bool:
        """Whether the events follow the cursor without a gap."""
        if missing(each.next, events) is None:
            return True
        self._halt(each, f"event {missing(each.next, events)} is not in the store; check it with `aegis audit verify`")
        return False

    async def _records(self, events: tuple[Stored, ...]) -> list[bytes]:
        """As many records as fit into one request; one fits always."""
        found: list[bytes] = []
        size = 0
        for event in events:
            made = record(self._form, event.body)
            size += len(made)
            if found and size > MAX_BYTES:
                break
            found.append(made)
            if not len(found) % BETWEEN:
                await asyncio.sleep(0)
        return found

    async def _told(self, each: Standing, events: tuple[Stored, ...], reply: Reply) -> bool:
        """Do what the answer asks for; false when this tenant has to wait."""
        match meaning(reply, len(events)):
            case Meaning.TAKEN:
                return await self._acknowledged(each, events)
            case Meaning.SMALLER:
                each.most = max(1, len(events) // 2)
                return True
            case Meaning.LATER:
                self._later(each, reply)
            case Meaning.NEVER:
                place = f"event {events[0].seq} (`{events[0].id}`)" if len(events) == 1 else f"events from {events[0].seq} on"
                self._halt(each, f"the receiver answers {reply.status} to {place}: {text(reply.detail) or 'no reason given'}")
        return False

    async def _acknowledged(self, each: Standing, events: tuple[Stored, ...]) -> bool:
        assert each.cursor is not None, "placed before it is sent"
        moved = each.cursor.after(events[-1])
        if not await self._commit(KIND, each.tenant, each.version, msgspec.json.encode(moved)):
            each.checked = False  # another process moved it: the next turn reads it again
            return False
        if each.failures or each.halted:
            log.info("export goes on", extra={"tenant": each.tenant, "seq": moved.next})
        each.cursor, each.next, each.version = moved, moved.next, each.version + 1
        each.failures, each.halted, each.most = 0, "", min(self._most, each.most * 2)
        each.size = max(each.size, each.next)
        self.sent += len(events)
        return True

    def _later(self, each: Standing, reply: Reply) -> None:
        pause = min(LONGEST_PAUSE, self._first_pause * 2 ** min(each.failures, 16)) * (0.5 + self._chance() / 2)
        pause = max(pause, min(reply.after_seconds, LONGEST_ASKED))
        if not each.failures:
            told = {"tenant": each.tenant, "status": reply.status, "detail": text(reply.detail), "lag": each.lag}
            log.warning("export waits for its receiver", extra=told)
        each.failures += 1
        each.not_before = monotonic() + pause

    def _halt(self, each: Standing, why: str) -> None:
        if each.halted != why:
            log.error("export halted: %s", why, extra={"tenant": each.tenant, "seq": each.next, "lag": each.lag})
        each.halted, each.checked = why, False
        each.not_before = monotonic() + self._slowly * (0.5 + self._chance() / 2)

    async def _leads(self) -> bool:
        """Whether this process is the one that exports; takes over from one that is gone."""
        now = self._clock.now()
        if self._lease.instance == self._instance and self._lease.until - now > LEASED / 2:
            return True
        row = (await self._store.rows(SYSTEM_TENANT, [(LEASE, "lease")])).get((LEASE, "lease"))
        held = msgspec.json.decode(row.body, type=Holder) if row else None
        if held and held.instance != self._instance and held.until > now and await self._store.alive(held.instance):
            return False
        wanted = Holder(instance=self._instance, until=now + LEASED)
        taken = await self._commit(LEASE, "lease", row.version if row else 0, msgspec.json.encode(wanted))
        self._lease = wanted if taken else Holder(instance="", until=now)
        return taken

    async def _commit(self, kind: str, name: str, version: int, body: bytes) -> bool:
        """Write a row that stands at `version`, and no event of it: to export must not make more to export."""
        unit = Unit(
            tenant=SYSTEM_TENANT,
            requires=(Require(kind=kind, id=name, version=version),),
            writes=(Put(kind=kind, id=name, body=body),),
        )
        return isinstance(await self._store.commit(unit), Committed)
