"""The log of a tenant in a live store, as the verifier reads it."""

import asyncio
from collections.abc import Coroutine, Iterator, Mapping
from typing import Any, TypeVar

from aegis.errors import CorruptStoreError
from aegis.journal import bundle as bundles
from aegis.journal.store import Store, TreeHead
from aegis.journal.tiles import Growing, split
from aegis.model.event import Stored, instant, origin
from aegis_verify import Finding, Row

Result = TypeVar("Result")


class Live:
    """The log of a tenant in the store, up to where it stood when its head was read. It is asked in a thread of its own."""

    exact = False
    selected = False
    size: int | None = None

    def __init__(self, store: Store, tenant: str, head: TreeHead, note: bytes, earlier: Mapping[int, bytes]) -> None:
        self.origin, self.tenant = origin(tenant), tenant
        self.first, self._end = head.first, head.frontier.size
        self.end: int | None = self._end
        root = head.frontier.root if head.frontier.sound else b""
        self.recorded: tuple[int, bytes] | None = (self._end, root)
        self._store, self._note, self._earlier = store, note, earlier
        self._loop = asyncio.get_running_loop()
        self._leaves = b""

    def checkpoint(self) -> bytes:
        """The newest note."""
        return self._note

    def earlier(self) -> Iterator[tuple[str, bytes]]:
        """What the operator's log recorded."""
        return ((f"the recorded checkpoint of {size} events", note) for size, note in self._earlier.items())

    def leaves(self) -> bytes:
        """Those of the complete tiles, as far as these are there."""
        found = bytearray()
        try:
            chunks = bundles.tile_leaves(self._store, self.tenant, self._size())
            while chunk := self._wait(anext(chunks, b"")):
                found += chunk
        except CorruptStoreError:
            pass  # the events make up for the rest; `broken_tile` tells
        self._leaves = bytes(found)
        return self._leaves

    def bodies(self) -> Iterator[tuple[Row, bytes]]:
        """The events, with the columns by which they are found."""
        after = self.first - 1
        while after < self._end - 1 and (page := self._wait(self._store.events(self.tenant, after=after, limit=bundles.PAGE))):
            for event in page:
                if event.seq < self._end:
                    yield _row(event), event.body
            after = page[-1].seq

    def broken_tile(self) -> Finding | None:
        """The first tile that is not there, or above the leaves does not follow from the tiles below."""
        size = self._size()
        if len(self._leaves) < size // 256 * 256 * 32:
            return Finding("malformed", None, f"tile 0/{len(self._leaves) // 32 // 256} is not kept: proofs cannot be made from it")
        growing = Growing()
        above = {place: tile for leaf in split(self._leaves) for place, tile in growing.append(leaf) if place[0]}
        kept = self._wait(self._store.tiles(self.tenant, list(above)))
        wrong = next((place for place, tile in above.items() if kept.get(place) != tile), None)
        return (
            None if wrong is None else Finding("malformed", None, f"tile {wrong[0]}/{wrong[1]} is not that of the tiles below it")
        )

    def _size(self) -> int:
        """The size that the note says; when it is no checkpoint, its verification tells."""
        line = [*self._note.split(b"\n"), b""][1]
        return min(int(line), self._end) if line.isdigit() and len(line) < 17 else 0

    def _wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(_awaited(work), self._loop).result()


async def _awaited(work: Coroutine[Any, Any, Result]) -> Result:
    return await work


NOTHING = TreeHead(frontier=Growing().frontier)


def _row(event: Stored) -> Row:
    return {
        "seq": event.seq,
        "id": event.id,
        "type": event.type,
        "time": instant(event.time),
        "request_id": event.request_id,
    }
