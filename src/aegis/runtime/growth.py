"""Follows logs as they grow: hashes the events that are new, keeps the tiles they complete, and holds both against the store.

Two things must agree: what was sealed before with the tiles and events that stand now, and the frontier that the commits have
grown with the leaves of the events as they can be read now. Where they do not, somebody changed the journal behind our back.
"""

from aegis.crypto.merkle import Frontier, leaf_hash
from aegis.errors import CorruptStoreError
from aegis.journal.checkpoint import Checkpoint
from aegis.journal.store import Place, Store
from aegis.journal.tiles import Growing, completed, open_places, tile_root

BATCH = 1_000


class Growth:
    """The logs of one process that it has followed so far; at most three incomplete tiles of 8 KB for each."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._growing: dict[str, Growing] = {}

    async def grown(self, tenant: str, former: Checkpoint | None, frontier: Frontier) -> Frontier:
        """The frontier of the log with the events up to `frontier.size`, as they stand now; `former` was sealed before.

        Raises:
            CorruptStoreError: It is another one than the commits have grown, or what was sealed does not stand any more.
        """
        size = former.size if former else 0
        growing = self._growing.pop(tenant, None)  # until all has gone well
        if growing is None or growing.size != size:
            growing = await self._resumed(tenant, former) if former else Growing()
        await self._extend(tenant, growing, frontier.size)
        if growing.frontier != frontier:
            raise CorruptStoreError(
                f"log of `{tenant}`: the events from {size} to {frontier.size - 1} are not those that were committed; nothing is"
                " signed: `aegis audit verify` and `aegis fsck` name the place"
            )
        self._growing[tenant] = growing
        return growing.frontier

    async def _resumed(self, tenant: str, former: Checkpoint) -> Growing:
        """The tiles that are still open where the last checkpoint stands, held against its root."""
        below = completed(former.size)
        tail = await self._store.events(tenant, after=below - 1, limit=former.size - below) if former.size > below else ()
        levels = [b"".join(leaf_hash(event.body) for event in tail)]
        for places in open_places(former.size):
            tiles = await self._store.tiles(tenant, places)
            levels.append(b"".join(tile_root(tiles[place]) for place in places if place in tiles))
        growing = Growing(levels)
        if (growing.size, growing.frontier.root) != (former.size, former.root):
            raise CorruptStoreError(
                f"log of `{tenant}`: events or tiles below {former.size} are not those that were sealed; nothing more is signed:"
                " `aegis audit verify` names the place"
            )
        return growing

    async def _extend(self, tenant: str, growing: Growing, size: int) -> None:
        while growing.size < size:
            events = await self._store.events(tenant, after=growing.size - 1, limit=min(BATCH, size - growing.size))
            if not events:
                raise CorruptStoreError(f"log of `{tenant}`: event {growing.size} is missing, though {size} were committed")
            tiles: dict[Place, bytes] = {}
            for event in events:
                tiles.update(growing.append(leaf_hash(event.body)))
            await self._store.put_tiles(tenant, tiles)
