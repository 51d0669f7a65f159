"""Proofs about the log of a tenant, built on the tiles and the last events that a store keeps."""

from collections.abc import Callable
from typing import TypeVar

from aegis.crypto.merkle import HASH_BYTES, Subtree, consistency_proof, frontier_at, inclusion_proof, leaf_hash
from aegis.errors import CorruptStoreError
from aegis.journal.store import Place, Store
from aegis.journal.tiles import TILE_WIDTH, completed, reader, split, wanted

Built = TypeVar("Built")


async def root(store: Store, tenant: str, size: int) -> bytes:
    """The root of the log as it was with `size` events, as tiles and events tell it now."""
    return (await _built(store, tenant, size, lambda subtree: frontier_at(size, subtree))).root


async def inclusion(store: Store, tenant: str, index: int, size: int) -> list[bytes]:
    """The proof that the event at `index` stands in the log of `size` events.

    Raises:
        ValueError: There is no such event.
    """
    return await _built(store, tenant, size, lambda subtree: inclusion_proof(index, size, subtree))


async def consistency(store: Store, tenant: str, old: int, new: int) -> list[bytes]:
    """The proof that the log of `new` events begins with that of `old`.

    Raises:
        ValueError: `old` is greater than `new`.
    """
    return await _built(store, tenant, new, lambda subtree: consistency_proof(old, new, subtree))


async def _built(store: Store, tenant: str, size: int, build: Callable[[Subtree], Built]) -> Built:
    """What `build` makes of the tree over `size` events: once to learn which subtrees it wants, once with them."""
    asked: list[Place] = []

    def ask(level: int, number: int) -> bytes:
        asked.append((level, number))
        return bytes(HASH_BYTES)

    build(ask)
    places = wanted(asked, size)
    tiles = await store.tiles(tenant, places)
    if lacking := [place for place in places if place not in tiles]:
        level, number = lacking[0]
        raise CorruptStoreError(f"log of `{tenant}`: tile {level}/{number} is not kept, though {size} events are sealed")
    return build(reader(tiles, await _tail(store, tenant, size), size))


async def _tail(store: Store, tenant: str, size: int) -> list[bytes]:
    """The leaf hashes of the last events, which fill no tile; those that are kept no more left them in one that came later."""
    below, wants = completed(size), size % TILE_WIDTH
    if not wants:
        return []
    events = await store.events(tenant, after=below - 1, limit=wants)
    if len(events) == wants and events[-1].seq == size - 1:
        return [leaf_hash(event.body) for event in events]
    place = (0, below // TILE_WIDTH)
    tile = (await store.tiles(tenant, [place])).get(place)
    if tile is None:
        raise CorruptStoreError(f"log of `{tenant}`: of {size} events, {wants - len(events)} of the last are missing")
    return split(tile)[:wants]
