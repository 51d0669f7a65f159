"""What an auditor is given: the files of a bundle, one after the other, as they come from a store. Pure; somebody else writes them.

    bundle.json           what the bundle says of itself; nothing of it is believed without the rest
    checkpoint.txt        the newest signed note with all cosignatures
    checkpoints/SIZE.txt  some earlier notes, which narrow the place where something was changed
    policy.txt            the keys as the gateway names them (C2SP tlog-policy); auditors bring their own
    leaves.bin            the leaf hashes of all events that the newest note covers
    events.jsonl          the exact bytes of the events, one a line, in order of `seq`

A bundle holds all events that are kept, also those that are not sealed yet; or a part: those of a range, or of one request. The
leaves are always whole, so that each event of a part is proven. They come from the tiles and, where no tile is complete yet, from
the events. A store that was changed gives a bundle all the same: saying so is for the verifier.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

import msgspec
from msgspec import Struct

from aegis.crypto.merkle import leaf_hash
from aegis.errors import CorruptStoreError
from aegis.journal.store import Store
from aegis.journal.tiles import completed
from aegis.model.event import SYSTEM_TENANT, Stored, instant, origin

FORMAT = "aegis.bundle/v1"
PAGE = 1000
TILES_AT_ONCE = 64
MOST_NOTES = 4096
"""How many places of the operator's log are looked at for earlier notes; more are sampled evenly."""
SOME_NOTES = 64

File = tuple[str, AsyncIterator[bytes]]


class Bundle(Struct, frozen=True, kw_only=True):
    """What goes into a bundle.

    `size` is that of the newest `note`; `earlier` are notes by size. Events `first` to `last` go in, or those of `request_id`.
    """

    tenant: str
    size: int
    note: bytes
    created: datetime
    first: int
    last: int
    earlier: Mapping[int, bytes] = {}
    policy: str = ""
    request_id: str = ""


async def files(store: Store, wanted: Bundle) -> AsyncIterator[File]:
    """Name and content of each file, the small ones first.

    Raises:
        CorruptStoreError: A tile is missing, so that the leaves cannot be told.
    """
    for name, content in _small(wanted):
        yield name, _once(content)
    yield "leaves.bin", leaves(store, wanted.tenant, wanted.size)
    yield "events.jsonl", _lines(store, wanted)


async def leaves(store: Store, tenant: str, size: int) -> AsyncIterator[bytes]:
    """The first `size` leaf hashes of a log, in chunks.

    Raises:
        CorruptStoreError: A tile is missing.
    """
    async for chunk in tile_leaves(store, tenant, size):
        yield chunk
    async for event in events(store, tenant, completed(size), size - 1):
        yield leaf_hash(event.body)


async def tile_leaves(store: Store, tenant: str, size: int) -> AsyncIterator[bytes]:
    """The leaf hashes of the tiles that a log of `size` events has completed.

    Raises:
        CorruptStoreError: A tile is missing.
    """
    count = completed(size) // 256
    for at in range(0, count, TILES_AT_ONCE):
        places = [(0, number) for number in range(at, min(count, at + TILES_AT_ONCE))]
        tiles = await store.tiles(tenant, places)
        for place in places:
            if place not in tiles:
                raise CorruptStoreError(f"log of `{tenant}`: tile 0/{place[1]} is not kept, though {size} events are sealed")
            yield tiles[place]


async def events(store: Store, tenant: str, first: int, last: int) -> AsyncIterator[Stored]:
    """The events from `first` to `last` that are kept, in order."""
    after = first - 1
    while after < last:
        page = await store.events(tenant, after=after, limit=min(PAGE, last - after))
        for event in page:
            if event.seq > last:
                return
            yield event
        if not page:
            return
        after = page[-1].seq


async def earlier_notes(store: Store, tenant: str, end: int, most: int = MOST_NOTES) -> dict[int, bytes]:
    """Notes of a log that the operator's log of `end` events recorded, by size: all of them, or some where there are many.

    The operator's own log is recorded nowhere but in the newest row, so it has none.
    """
    step = max(1, -(-end // most))
    places, found = range(0, end, step), dict[int, bytes]()
    for at in range(0, len(places), PAGE):
        for event in await store.at(SYSTEM_TENANT, places[at : at + PAGE]):
            found.update(_noted(event, tenant))
    return dict(sorted(found.items()))


def some(notes: Mapping[int, bytes], below: int, most: int = SOME_NOTES) -> dict[int, bytes]:
    """Some of the notes below a size, evenly spread."""
    sizes = sorted(size for size in notes if size < below)
    chosen = sizes if len(sizes) <= most else [sizes[at * len(sizes) // most] for at in range(most)]
    return {size: notes[size] for size in chosen}


def policy(logs: Sequence[str], witnesses: Sequence[str], needed: int) -> str:
    """The policy that a gateway names: keys of the log, keys of its witnesses, and how many of them must cosign."""
    names = [f"witness-{number}" for number in range(1, len(witnesses) + 1)]
    lines = [f"log {key}" for key in logs]
    lines += [f"witness {name} {key}" for name, key in zip(names, witnesses, strict=True)]
    if witnesses:
        lines.append(f"group witnesses {needed} {' '.join(names)}")
    return "\n".join([*lines, f"quorum {'witnesses' if witnesses else 'none'}", ""])


def _noted(event: Stored, tenant: str) -> Iterator[tuple[int, bytes]]:
    """Size and note of a log that an event of the operator's log tells."""
    if event.type != "checkpoint":
        return
    try:
        said: Any = msgspec.json.decode(event.body)["checkpoints"]
        for each in said:
            if each["on_tenant"] == tenant and isinstance(each["size"], int):
                yield each["size"], each["note"].encode()
    except (msgspec.DecodeError, LookupError, TypeError, AttributeError):
        return  # somebody changed the event; the verification of the operator's own log says so


def _small(wanted: Bundle) -> Iterator[tuple[str, bytes]]:
    about = {
        "apiVersion": FORMAT,
        "origin": origin(wanted.tenant),
        "tenant": wanted.tenant,
        "size": wanted.size,
        "first": wanted.first,
        "last": wanted.last,
        "created": instant(wanted.created),
    }
    if wanted.request_id:
        about["selection"] = f"request:{wanted.request_id}"
    yield "bundle.json", msgspec.json.format(msgspec.json.encode(about), indent=2) + b"\n"
    yield "checkpoint.txt", wanted.note
    yield "policy.txt", wanted.policy.encode()
    for size, note in wanted.earlier.items():
        yield f"checkpoints/{size}.txt", note


async def _lines(store: Store, wanted: Bundle) -> AsyncIterator[bytes]:
    if not wanted.request_id:
        async for event in events(store, wanted.tenant, wanted.first, wanted.last):
            yield event.body + b"\n"
        return
    for event in await selected(store, wanted.tenant, wanted.request_id, wanted.size):
        yield event.body + b"\n"


async def selected(store: Store, tenant: str, request_id: str, size: int) -> list[Stored]:
    """The sealed events of a request: those that are not sealed yet cannot be proven."""
    found, after = list[Stored](), -1
    while page := await store.events(tenant, request_id=request_id, after=after, limit=PAGE):
        found += [event for event in page if event.seq < size]
        after = page[-1].seq
    assert all(one.seq < other.seq for one, other in pairwise(found)), "a store answers in order"
    return found


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content
