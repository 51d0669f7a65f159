"""Searches in a tenant's journal, newest first, a page at a time.

The index says which events of a block to read; what it points at is read from the journal and tested against the filter itself, so
a wrong index can only hide, never invent. A block that is not indexed, as the newest never is, is read event by event. A search
that shall not trust the index at all reads everything (`plain`).

A page ends at a place in the journal, and the next one begins below it. Events only ever arrive above, so pages that are read while
they arrive miss nothing and show nothing twice.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from aegis.errors import StoreError
from aegis.journal.postings import BLOCK, EVERYWHERE, asked, batches, candidates, newest_first
from aegis.journal.store import Store
from aegis.journal.terms import Filter
from aegis.model.event import Stored

MOST = 1000
"""A page holds so many events at most."""

_READ = 64
_BLOCKS = (4, 16, 64, 256, 512)


class Found(Struct, frozen=True, kw_only=True):
    """An event that fits, at its place."""

    seq: int
    body: Mapping[str, Any]


class Page(Struct, frozen=True, kw_only=True):
    """Events that fit, newest first. `cursor`: the next page begins below this place; `None` when there is nothing more."""

    events: tuple[Found, ...]
    cursor: int | None = None


async def search(
    store: Store, tenant: str, wanted: Filter, *, before: int | None = None, limit: int = 50, plain: bool = False
) -> Page:
    """The newest events that fit, below the place `before`."""
    limit = max(1, min(limit, MOST))
    found: list[Found] = []
    async for each in matches(store, tenant, wanted, before=before, plain=plain):
        if len(found) == limit:
            return Page(events=tuple(found), cursor=found[-1].seq)
        found.append(each)
    return Page(events=tuple(found))


async def matches(
    store: Store, tenant: str, wanted: Filter, *, before: int | None = None, plain: bool = False
) -> AsyncIterator[Found]:
    """Every event that fits, newest first, below the place `before`. Read no further than you need.

    Raises:
        StoreError: An event cannot be read; `aegis fsck` says more.
    """
    looked = _of_request(store, tenant, wanted.request, before) if wanted.request else _looked(store, tenant, wanted, before, plain)
    async for event in looked:
        body = body_of(event)
        if wanted.fits(body):
            yield Found(seq=event.seq, body=body)


def body_of(event: Stored) -> Mapping[str, Any]:
    """What an event says.

    Raises:
        StoreError: Its body is not what the journal writes.
    """
    try:
        body: Any = msgspec.json.decode(event.body)
        if isinstance(body["time"], str) and isinstance(body["type"], str):
            return dict(body)
    except (msgspec.DecodeError, TypeError, KeyError, UnicodeDecodeError):
        pass
    raise StoreError(f"event {event.seq} of tenant `{event.tenant}` cannot be read: `aegis fsck` says what is wrong")


async def _looked(store: Store, tenant: str, wanted: Filter, before: int | None, plain: bool) -> AsyncIterator[Stored]:
    """What the index points at, and what is not indexed."""
    head = (await store.heads()).get(tenant)
    if head is None:
        return
    end = head.frontier.size if before is None else min(before, head.frontier.size)
    for blocks in _spans(head.first, end):
        held = {} if plain else await store.postings(tenant, asked(wanted), blocks)
        pointed = (
            seq
            for block in reversed(blocks)
            for seq in newest_first(_places(wanted, held.get(block, {})), block)
            if head.first <= seq < end
        )
        for seqs in batches(pointed, _READ):
            for event in sorted(await store.at(tenant, seqs), key=lambda each: -each.seq):
                yield event


def _places(wanted: Filter, held: Mapping[tuple[str, str], bytes]) -> int:
    places = candidates(wanted, held)
    return EVERYWHERE if places is None else places


def _spans(first: int, end: int) -> Iterator[range]:
    """The blocks of the places from `first` to `end`, newest first: a few, then more and more."""
    low, high = first // BLOCK, -(-end // BLOCK)
    sizes = iter(_BLOCKS)
    size = 0
    while high > low:
        size = next(sizes, size)
        yield range(max(low, high - size), high)
        high -= size


async def _of_request(store: Store, tenant: str, request_id: str, before: int | None) -> AsyncIterator[Stored]:
    """The journal has an index of requests itself."""
    after = -1 if before is None else before
    while after != 0:
        found = await store.events(tenant, request_id=request_id, newest_first=True, after=after, limit=_READ)
        for event in found:
            yield event
        if len(found) < _READ:
            return
        after = found[-1].seq
