"""Check that a store does not contradict itself. The adapter reads one snapshot; what must hold is said here.

A finding names tenant and place and never shows a value. `MAX_FINDINGS` of them are told, then only that there are more.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import groupby, islice
from typing import Any, Protocol

import orjson

from aegis.adapters.draft import Head
from aegis.adapters.instants import to_micros
from aegis.crypto.canonical import canon
from aegis.crypto.digest import sha256
from aegis.crypto.merkle import HASH_BYTES, Frontier, leaf_hash
from aegis.errors import CanonicalError, CorruptStoreError, StoreError
from aegis.journal.store import Finding, Place
from aegis.journal.tiles import TILE_WIDTH, split, tile_root
from aegis.journal.unit import Row
from aegis.model.event import VERSION, Stored, instant, origin
from aegis.model.history import MAX_TOTAL, Phase

MAX_FINDINGS = 1_000
_PHASES = frozenset(phase.value for phase in Phase)


class Inspection(Protocol):
    """One snapshot of a store, read in the order of the methods."""

    def damage(self) -> Iterable[str]:
        """What the database itself holds to be damaged."""

    def heads(self) -> dict[str, Head]:
        """Where each tenant's journal ends."""

    def events(self) -> Iterable[Stored]:
        """Every event, in order of tenant and `seq`."""

    def tiles(self, tenant: str) -> Iterable[tuple[int, int, bytes]]:
        """Level, number and hashes of a tenant's tiles, in this order."""

    def rows(self) -> Iterable[Row]:
        """Every row."""

    def history(self) -> Iterable[tuple[str, str, int, str, str]]:
        """Tenant, id, time, phase and text of the fields of every remembered call."""

    def orphans(self) -> Iterable[tuple[str, str, str]]:
        """Tenant, event id and name of every payload without its event."""

    def keyless(self) -> Iterable[tuple[str, str, str, str]]:
        """Tenant, event id, name and key id of every payload whose data key was never known; a destroyed one was."""

    def bad_keys(self) -> Iterable[tuple[str, str]]:
        """Tenant and key id of every data key that holds nothing although it was not destroyed, or has no sound ordinal."""


def check(inspection: Inspection) -> tuple[Finding, ...]:
    """Everything that is wrong; an empty tuple when the store is sound."""
    findings = list(islice(_findings(inspection), MAX_FINDINGS + 1))
    if len(findings) > MAX_FINDINGS:
        findings[-1] = Finding(tenant="", place="fsck", text=f"there are more than {MAX_FINDINGS} findings; the rest is not shown")
    return tuple(findings)


def check_tail(tenant: str, head: Head, last: Stored | None) -> None:
    """Check the end of one journal, which is all that opening a sound store has to look at.

    Raises:
        CorruptStoreError: Head and last event do not agree, or the event is not what was recorded.
    """
    end = last.seq + 1 if last else head.first
    if head.next != end:
        raise CorruptStoreError(f"tenant `{tenant}`: the head says {head.next} events, the journal holds {end}: run `aegis fsck`")
    if not Frontier(head.next, head.frontier).sound:
        raise CorruptStoreError(f"tenant `{tenant}`: the head's frontier is not one of {head.next} events: run `aegis fsck`")
    wrong = last and next(check_event(last), None)
    if wrong:
        raise CorruptStoreError(f"tenant `{tenant}`: {wrong.place}: {wrong.text}: run `aegis fsck`")


def check_event(event: Stored) -> Iterator[Finding]:
    """What is wrong with one event: canonical bytes, digest, and columns that repeat what is inside the bytes."""
    place = f"event {event.seq}"
    if type(event.body) is not bytes:  # SQLite keeps whatever somebody put into a column
        yield Finding(tenant=event.tenant, place=place, text="the body is not bytes")
        return
    if sha256(event.body) != event.digest:
        yield Finding(tenant=event.tenant, place=place, text="the digest is not that of the body")
    try:
        inside = orjson.loads(event.body)
        canonical = isinstance(inside, dict) and canon(inside) == event.body
    except (orjson.JSONDecodeError, CanonicalError):
        canonical = False
    if not canonical:
        yield Finding(tenant=event.tenant, place=place, text="the body is not canonical JSON of an object")
        return
    for name, expected in _columns(event).items():
        if inside.get(name) != expected or type(inside.get(name)) is not type(expected):
            yield Finding(tenant=event.tenant, place=place, text=f"`{name}` inside the body is not that of the row")


def _columns(event: Stored) -> dict[str, Any]:
    return {
        "v": VERSION,
        "origin": origin(event.tenant),
        "tenant": event.tenant,
        "seq": event.seq,
        "id": event.id,
        "type": event.type,
        "time": instant(event.time),
        "request_id": event.request_id,
    }


def _findings(inspection: Inspection) -> Iterator[Finding]:
    try:
        for text in inspection.damage():
            yield Finding(tenant="", place="database", text=text)
        yield from _journals(inspection)
        yield from _rows(inspection.rows())
        yield from _history(inspection.history())
        for tenant, event_id, name in inspection.orphans():
            yield Finding(tenant=tenant, place=f"payload {event_id}/{name}", text="there is no such event")
        for tenant, event_id, name, _ in inspection.keyless():
            yield Finding(tenant=tenant, place=f"payload {event_id}/{name}", text="its data key was never known")
        for tenant, key_id in inspection.bad_keys():
            yield Finding(tenant=tenant, place=f"data key {key_id}", text="the wrapped key is empty or its ordinal is below 1")
    except StoreError as error:
        yield Finding(tenant="", place="database", text=f"reading broke off: {error}")
    except (TypeError, ValueError, OverflowError) as error:
        yield Finding(tenant="", place="database", text=f"a column holds what it cannot hold ({type(error).__name__})")


def _journals(inspection: Inspection) -> Iterator[Finding]:
    """Each tenant's sequence, its events one by one, its tree, and its head."""
    heads, seen = inspection.heads(), set[str]()
    for tenant, events in groupby(inspection.events(), key=lambda event: event.tenant):
        seen.add(tenant)
        yield from _journal(tenant, heads.get(tenant, Head()), events, inspection.tiles(tenant))
    for tenant in sorted(heads.keys() - seen):
        yield from _journal(tenant, heads[tenant], (), inspection.tiles(tenant))


def _journal(tenant: str, head: Head, events: Iterable[Stored], kept: Iterable[tuple[int, int, bytes]]) -> Iterator[Finding]:
    tiles = {(level, number): hashes for level, number, hashes in kept}
    for level, number in sorted(place for place, hashes in tiles.items() if not _tile(hashes)):
        yield Finding(tenant=tenant, place=f"tile {level}/{number}", text="it is not 256 hashes")
        del tiles[level, number]
    frontier = Frontier().extend(_dropped(tiles, head.first))
    if frontier.size != head.first:
        yield Finding(
            tenant=tenant, place="head", text=f"it says that events below {head.first} were dropped, but there are no tiles of them"
        )
    expected, latest, leaves = head.first, None, list[bytes]()
    for event in events:
        if event.seq < head.first:  # let go of, and not removed yet
            continue
        if event.seq != expected:
            yield Finding(tenant=tenant, place=f"event {event.seq}", text=f"a gap: expected `seq` {expected}")
        expected, latest = event.seq + 1, event.time if latest is None else max(latest, event.time)
        yield from check_event(event)
        leaves.append(leaf_hash(event.body) if type(event.body) is bytes else b"")
        if len(leaves) == TILE_WIDTH:
            number = frontier.size // TILE_WIDTH
            if tiles.get((0, number), b"".join(leaves)) != b"".join(leaves):
                yield Finding(tenant=tenant, place=f"tile 0/{number}", text="its hashes are not those of the events")
            frontier, leaves = frontier.extend(leaves), []
    yield from _head(tenant, head, expected, latest, frontier.extend(leaves))
    yield from _parents(tenant, tiles)


def _head(tenant: str, head: Head, end: int, latest: datetime | None, frontier: Frontier) -> Iterator[Finding]:
    if head.next != end:
        yield Finding(tenant=tenant, place="head", text=f"it says {head.next} events, the journal ends at {end}")
    elif latest is not None and head.latest != to_micros(latest):
        yield Finding(tenant=tenant, place="head", text="its latest time is not the greatest time of the events")
    elif head.frontier != frontier.hashes:
        yield Finding(tenant=tenant, place="head", text="its frontier is not that of the tree over the events")


def _parents(tenant: str, tiles: dict[Place, bytes]) -> Iterator[Finding]:
    """Each hash of a tile above the leaves is the root of the tile below, where that is kept."""
    for (level, number), hashes in tiles.items():
        above = tiles.get((level + 1, number // TILE_WIDTH))
        at = number % TILE_WIDTH * HASH_BYTES
        if above is not None and above[at : at + HASH_BYTES] != tile_root(hashes):
            yield Finding(
                tenant=tenant,
                place=f"tile {level + 1}/{number // TILE_WIDTH}",
                text=f"it does not hold the root of tile {level}/{number}",
            )


def _dropped(tiles: dict[Place, bytes], first: int) -> Iterator[bytes]:
    """The leaf hashes of events that are not kept any more, as far as their tiles are."""
    for number in range(first // TILE_WIDTH):
        if (0, number) not in tiles:
            return
        yield from split(tiles[0, number])


def _tile(hashes: object) -> bool:
    return type(hashes) is bytes and len(hashes) == TILE_WIDTH * HASH_BYTES


def _rows(rows: Iterable[Row]) -> Iterator[Finding]:
    for row in rows:
        place = f"row {row.kind}/{row.id}"
        if row.version < 1:
            yield Finding(tenant=row.tenant, place=place, text=f"version {row.version}: expected 1 or more")
        try:
            orjson.loads(row.body)
        except orjson.JSONDecodeError:
            yield Finding(tenant=row.tenant, place=place, text="the body is not JSON")


def _history(entries: Iterable[tuple[str, str, int, str, str]]) -> Iterator[Finding]:
    for tenant, entry_id, at, phase, fields in entries:
        place = f"history {entry_id}"
        if at < 0:
            yield Finding(tenant=tenant, place=place, text="its time is before 1970")
        if phase not in _PHASES:
            yield Finding(tenant=tenant, place=place, text="its phase is none that there is")
        if not _sound(fields):
            yield Finding(tenant=tenant, place=place, text="the fields are not a JSON object of strings and integers")


def _sound(fields: str) -> bool:
    try:
        inside = orjson.loads(fields)
    except orjson.JSONDecodeError:
        return False
    return isinstance(inside, dict) and all(type(value) is str or _is_whole(value) for value in inside.values())


def _is_whole(value: Any) -> bool:
    return type(value) is int and abs(value) <= MAX_TOTAL
