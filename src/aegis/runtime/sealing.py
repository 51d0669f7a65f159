"""Seals the logs: each second, what was committed since is hashed anew, held against the frontier, and signed.

The frontier of a log was grown in the commits themselves. Here the leaves are computed from the events as they stand now: if they
no longer give the frontier, somebody changed the journal after the commit, and nothing is signed. Then come, in this order, the
tiles, the signature, the cosignatures of the witnesses, the anchor outside the database, and the record: one event `checkpoint` in
the operator's log `_system` with the notes of all logs that changed, and a row for each with the newest. The operator's own log is
sealed last and not recorded in itself. Several processes may seal at once: who comes second finds the row changed and looks again.

What has not been sealed yet is not protected from whoever can write to the database: `standing` tells how old it is.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from aegis.crypto import note as notes
from aegis.crypto.jwk import PrivateKey
from aegis.crypto.note import Note, Signature
from aegis.errors import AegisError, CorruptStoreError
from aegis.journal import checkpoint, proofs
from aegis.journal.checkpoint import Checkpoint
from aegis.journal.store import Store, TreeHead
from aegis.journal.unit import Committed, Unit
from aegis.model.event import SYSTEM_TENANT, Event, instant, origin
from aegis.runtime import checkpoints, ids
from aegis.runtime.checkpoints import Sealed, Standing, Work
from aegis.runtime.clock import Clock
from aegis.runtime.growth import Growth

log = logging.getLogger("aegis.sealing")

EVERY_SECONDS = 0.25
PACE = timedelta(seconds=1)
FRESH = timedelta(seconds=30)
"""A cosignature that is older is renewed, though the log stands still: it proves that the log has not been put back."""
NOTES_IN_AN_EVENT = 64


class Anchor(Protocol):
    """The newest notes outside the database (`adapters.anchor`)."""

    def all(self) -> Mapping[str, bytes]:
        """By origin."""

    def keep(self, newest: Mapping[str, bytes]) -> None:
        """On stable storage, or an error."""


class Witnesses(Protocol):
    """Those who cosign (`adapters.witnesses`); `needed` of them make a checkpoint good."""

    needed: int

    async def cosign(self, note: Note, size: int, prove: Callable[[int], "asyncio.Future[list[bytes]]"]) -> Sequence[Signature]:
        """The cosignatures that were given and verified; `prove` gives the consistency proof from a smaller size.

        Raises:
            CorruptStoreError: A witness has seen more of this log, or another one.
        """


class Sealer:
    """Signs checkpoints of every log in the store."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        key: Callable[[str, datetime], PrivateKey],
        anchor: Anchor,
        witnesses: Witnesses | None,
        instance: str,
        max_age: timedelta,
    ) -> None:
        self._store = store
        self._clock = clock
        self._key = key
        self._anchor = anchor
        self._witnesses = witnesses
        self._instance = instance
        self._max_age = max_age
        self._growth = Growth(store)
        self._known: dict[str, Sealed] = {}
        self._waiting: dict[str, datetime] = {}
        self._last: datetime | None = None
        self._soon = False
        self._failed: AegisError | None = None
        self._alarmed = False
        self._failing: dict[str, str] = {}

    def soon(self) -> None:
        """Seal at the next turn, without waiting for the second to pass: somebody answered for something."""
        self._soon = True

    async def turn(self) -> None:
        """Seal what is due; called several times a second."""
        now = self._clock.now()
        if not self._soon and self._last is not None and timedelta(0) <= now - self._last < PACE:
            if self._failed is not None:
                raise self._failed  # nothing was tried, so nothing got better
            return
        self._soon, self._last, self._failed = False, now, None
        try:
            await self.seal()
        except AegisError as error:
            self._failed = error
            raise
        finally:
            self._tell()

    async def seal(self) -> None:
        """Seal every log that has grown, the operator's own last.

        Raises:
            CorruptStoreError: The journal is not what was committed, or not what was sealed.
            ConfigError: A key is missing.
        """
        first: AegisError | None = None
        for operators in (False, True):
            heads = {name: head for name, head in (await self._store.heads()).items() if (name == SYSTEM_TENANT) is operators}
            try:
                await self._round(heads)
            except AegisError as error:
                first = first or error
        if first is not None:
            raise first

    async def check(self) -> None:
        """Hold the store against what is kept outside of it; called before a process serves.

        Raises:
            CorruptStoreError: The store is older than the anchor or a witness says, or another one.
        """
        heads, without = await self.compare()
        if self._witnesses is not None:
            await self._check_witnesses(heads)
        await self._begin(without)

    async def compare(self) -> tuple[dict[str, TreeHead], set[str]]:
        """Hold the store against the anchor, and change nothing: the heads, and the logs of which the anchor knows nothing.

        Raises:
            CorruptStoreError: As `check`.
        """
        anchored = await asyncio.to_thread(self._anchor.all)  # first: other processes go on sealing
        heads = {origin(name): (name, head) for name, head in (await self._store.heads()).items()}
        for of, data in anchored.items():
            said = checkpoints.said(data.decode())
            name, head = heads.get(of, ("", None))
            if head is None or head.frontier.size < said.size:
                raise CorruptStoreError(
                    f"log `{of}` holds {head.frontier.size if head else 0} events, but {said.size} were sealed: the database was"
                    " put back to an older state, or cut; `aegis audit verify` tells more"
                )
            if await proofs.root(self._store, name, said.size) != said.root:
                raise CorruptStoreError(
                    f"log `{of}`: the first {said.size} events are not those that were sealed; `aegis audit verify` names the place"
                )
        return dict(heads.values()), {name for of, (name, _) in heads.items() if of not in anchored}

    async def _begin(self, without: set[str]) -> None:
        """Record that logs which were sealed before have no note in this anchor: a new host, or an anchor that was taken away."""
        sealed = await checkpoints.newest(self._store, sorted(without))
        if not sealed:
            return
        now = self._clock.now()
        begun = [{"on_tenant": name, "size": found.size} for name, (found, _) in sealed.items()]
        log.warning("the anchor lacks %d logs that were sealed before: a new host, a new place, or it was moved away", len(begun))
        event = Event(
            id=f"anchor_begun:{ids.uuid7(now)}",
            type="anchor_begun",
            tenant=SYSTEM_TENANT,
            time=now,
            data={"logs": begun[:NOTES_IN_AN_EVENT], "count": len(begun), "gateway": self._instance},
        )
        await self._store.commit(Unit(tenant=SYSTEM_TENANT, events=(event,)))
        await self._anchored({origin(name): found.note.encode() for name, (found, _) in sealed.items()})

    async def _check_witnesses(self, heads: Mapping[str, TreeHead]) -> None:
        """Show the witnesses the newest checkpoint of each log: the anchor may have been put back with the database."""
        known, works = await checkpoints.newest(self._store, list(heads)), list[Work]()
        for name, head in heads.items():
            sealed, version = known.get(name, (None, 0))
            work = Work(tenant=name, version=version, sealed=sealed, head=head)
            if work.sealed is not None:
                work.note = notes.parse(work.sealed.note.encode())
            elif head.frontier.size:
                await self._prepare(work, None)
            works += [work] if work.note is not None else []
        _, failed = await self._witnessed(works)
        if failed is not None:
            raise failed

    def standing(self) -> list[Standing]:
        """How each log stands that this process has looked at."""
        now = self._clock.now()
        return [self._stands(name, now) for name in sorted(self._known.keys() | self._waiting.keys())]

    def alarms(self) -> list[str]:
        """Logs whose newest events nobody has signed, or no witness cosigned, for longer than the settings want; in words."""
        found = []
        for each in self.standing():
            if each.unsealed > self._max_age:
                found.append(
                    f"log of `{each.tenant}`: events wait for their checkpoint since {each.unsealed.total_seconds():.0f} s"
                )
            if each.uncosigned is not None and each.uncosigned > FRESH + self._max_age:
                seconds = each.uncosigned.total_seconds()
                found.append(f"log of `{each.tenant}`: not cosigned since {seconds:.0f} s: is the witness there?")
        return found

    def wrong(self) -> list[tuple[str, str, str]]:
        """What is wrong with logs now: whose, `violated` (not what was committed or sealed) or `stale`, and words."""
        corrupt = [name for name, kind in self._failing.items() if kind == CorruptStoreError.__name__]
        stale = [(name, words) for words in self.alarms() for name in (*self._known, *self._waiting) if f"`{name}`" in words]
        return [
            *(
                (name, "violated", f"log of `{name}`: it is not what was sealed; `aegis audit verify` names the place")
                for name in corrupt
            ),
            *((name, "stale", words) for name, words in dict(stale).items()),
        ]

    async def sealed(self, tenant: str) -> Sealed | None:
        """The newest checkpoint of a tenant's log."""
        found = await checkpoints.newest(self._store, [tenant])
        return found[tenant][0] if found else None

    def _stands(self, name: str, now: datetime) -> Standing:
        sealed, since = self._known.get(name), self._waiting.get(name, now)
        cosigned = since if sealed is None else _cosigned(sealed, now)
        return Standing(
            tenant=name,
            size=sealed.size if sealed else 0,
            unsealed=now - since,
            uncosigned=None if self._witnesses is None else now - cosigned,
        )

    def _tell(self) -> None:
        """Log an alarm once for as long as it lasts, and its end."""
        alarms = self.alarms()
        if bool(alarms) is not self._alarmed:
            self._alarmed = bool(alarms)
            if alarms:
                log.error("evidence is stale: %s%s", alarms[0], f" (and {len(alarms) - 1} more)" if alarms[1:] else "")
            else:
                log.info("evidence is fresh again")

    async def _round(self, heads: Mapping[str, TreeHead]) -> None:
        works = await self._due(heads)
        ready, failed = list[Work](), None
        anchored = await asyncio.to_thread(self._anchor.all) if works else {}
        for work in works:
            try:
                await self._prepare(work, anchored.get(origin(work.tenant)))
                ready.append(work)
            except AegisError as error:
                failed = failed or self._refused(work, error)
        if ready:
            asked, refused = await self._witnessed(ready)
            failed = failed or refused
            ready = [work for work in asked if work.grown or work.cosigned]
            await self._anchored({origin(work.tenant): work.signed.data for work in ready})
            for at in range(0, len(ready), NOTES_IN_AN_EVENT):
                await self._record(ready[at : at + NOTES_IN_AN_EVENT])
        if failed is not None:
            raise failed

    async def _due(self, heads: Mapping[str, TreeHead]) -> list[Work]:
        """The logs that have grown since they were sealed, by whomever, or whose cosignature wants to be renewed."""
        now, found = self._clock.now(), list[Work]()
        maybe = [name for name, head in heads.items() if head.frontier.size and self._is_due(name, head, now)]
        known = await checkpoints.newest(self._store, maybe)
        self._known |= {name: sealed for name, (sealed, _) in known.items()}
        if any(sealed.size > heads[name].frontier.size for name, (sealed, _) in known.items()):
            heads = await self._store.heads()  # another process has sealed what came since
        for name in maybe:
            if self._is_due(name, heads[name], now):
                sealed, version = known.get(name, (None, 0))
                found.append(Work(tenant=name, version=version, sealed=sealed, head=heads[name]))
                if found[-1].grown:
                    self._waiting.setdefault(name, now)
        return found

    def _is_due(self, name: str, head: TreeHead, now: datetime) -> bool:
        known = self._known.get(name)
        if known is None or known.size < head.frontier.size:
            return True
        stale = self._witnesses is not None and now - _cosigned(known, now) > FRESH
        return stale or known.size > head.frontier.size

    async def _prepare(self, work: Work, anchored: bytes | None) -> None:
        """Hash what is new, keep its tiles, hold it against the anchor, and sign."""
        size, former = work.size, work.sealed
        if former is not None and former.size > size:
            raise CorruptStoreError(f"log of `{work.tenant}` holds {size} events, but {former.size} were sealed: it was cut")
        if former is not None and former.size == size:
            work.note = notes.parse(former.note.encode())
            return
        base = checkpoints.said(former.note) if former else None
        outside = checkpoints.said(anchored.decode()) if anchored else None
        if outside is None or outside.size > size:  # a log of another host; or another process was faster, which `keep` will tell
            outside = base
        grown = await self._growth.grown(work.tenant, base or outside, work.head.frontier)
        await self._must_begin_with(work.tenant, base, outside)
        text = Checkpoint(origin(work.tenant), size, grown.root).text
        key = self._key(work.tenant, self._clock.now())
        work.note = Note(text, (notes.sign(text, origin(work.tenant), key),))

    async def _must_begin_with(self, tenant: str, base: Checkpoint | None, outside: Checkpoint | None) -> None:
        """Refuse a log that does not begin with what is kept outside: whoever has the database can change its checkpoint, too."""
        if base is None or outside is None or base == outside:
            return
        if await proofs.root(self._store, tenant, outside.size) != outside.root:
            raise CorruptStoreError(
                f"log of `{tenant}`: the first {outside.size} events are not those that were sealed; nothing is signed:"
                " `aegis audit verify` names the place"
            )

    async def _witnessed(self, works: Sequence[Work]) -> tuple[list[Work], AegisError | None]:
        """Add the cosignatures that can be had now; one that is missing is told by `standing`, and asked for again.

        Those works that may be kept, and what a witness said against the first of the others.
        """
        if self._witnesses is None:
            return list(works), None
        witnesses, kept, failed = self._witnesses, list[Work](), None

        async def one(work: Work) -> None:
            size = checkpoint.parse(work.signed.text).size
            given = await witnesses.cosign(
                work.signed, size, lambda old: asyncio.ensure_future(proofs.consistency(self._store, work.tenant, old, size))
            )
            work.note = work.signed.having(given)
            work.cosigned = len(given) >= witnesses.needed

        for work, said in zip(works, await asyncio.gather(*map(one, works), return_exceptions=True), strict=True):
            if isinstance(said, CorruptStoreError):
                failed = failed or self._refused(work, said)
                continue
            kept.append(work)
            if isinstance(said, BaseException):
                log.error("a witness could not be asked: %s", said)
        return kept, failed

    def _refused(self, work: Work, error: AegisError) -> AegisError:
        """Log that a log cannot be sealed, once for as long as it fails in the same way: rounds come each second."""
        kind = type(error).__name__
        if self._failing.get(work.tenant) != kind:
            self._failing[work.tenant] = kind
            log.error("sealing: %s", error, extra={"tenant": work.tenant})
        return error

    async def _anchored(self, newest: Mapping[str, bytes]) -> None:
        try:
            await asyncio.to_thread(self._anchor.keep, newest)
        except CorruptStoreError:
            await self.check()  # another process of this host may have been faster; then the store agrees with its notes

    async def _record(self, works: Sequence[Work]) -> None:
        """Commit the notes of these logs; another process that was faster has done the same work."""
        now = self._clock.now()
        gaps = [
            {"on_tenant": work.tenant, "since": instant(since), "until": instant(now)}
            for work in works
            if work.grown and now - (since := self._waiting.get(work.tenant, now)) > self._max_age
        ]
        unit, known = checkpoints.recorded(works, gaps, now, self._instance)
        done = isinstance(await self._store.commit(unit), Committed)
        for work in works:
            self._known.pop(work.tenant, None)
            self._failing.pop(work.tenant, None)
            if done:
                self._waiting.pop(work.tenant, None)
                self._known[work.tenant] = known[work.tenant]


def _cosigned(sealed: Sealed, now: datetime) -> datetime:
    """When a witness answered; a time to come, which a clock was set to or somebody wrote into the row, is as good as never."""
    found = sealed.cosigned_at or sealed.at
    return found if found <= now + FRESH else datetime.min.replace(tzinfo=found.tzinfo)
