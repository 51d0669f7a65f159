"""Where the hashes of a log's tree are kept: tiles of 256, of which only complete ones are written, and never changed.

A tile on level 0 holds the hashes of leaves; one on level L holds the roots of the 256 tiles below it, so that each of its hashes
stands for 256^L leaves. The end of the log that fills no tile yet is hashed from the events themselves.

Source: C2SP tlog-tiles, section "Merkle tree".
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from aegis.crypto.merkle import HASH_BYTES, Frontier, Subtree, node_hash
from aegis.journal.store import Place

TILE_WIDTH = 256
_HEIGHT = 8


def split(hashes: bytes) -> list[bytes]:
    """The hashes of a tile, each by itself."""
    return [hashes[at : at + HASH_BYTES] for at in range(0, len(hashes), HASH_BYTES)]


def tile_root(hashes: bytes) -> bytes:
    """The root of a complete tile."""
    return Frontier().extend(split(hashes)).root


def completed(size: int) -> int:
    """How many leaves of a log of this size stand in complete tiles."""
    return size - size % TILE_WIDTH


def wanted(subtrees: Iterable[Place], size: int) -> list[Place]:
    """The tiles that tell these complete subtrees (level, number) of a log of `size` leaves; the rest its last leaves tell."""
    found: dict[Place, None] = {}
    for level, number in subtrees:
        _collect(level, number, size, found)
    return list(found)


def reader(tiles: Mapping[Place, bytes], tail: Sequence[bytes], size: int) -> Subtree:
    """The function that proofs are built on, of a log of `size` leaves; `tail` are the leaf hashes from `completed(size)` on."""

    def subtree(level: int, number: int) -> bytes:
        place, rest = _place(level, number)
        if not _is_complete(place, size):
            if level == 0:
                return tail[number - completed(size)]
            return node_hash(subtree(level - 1, 2 * number), subtree(level - 1, 2 * number + 1))
        at = (number << rest) % TILE_WIDTH
        hashes = split(tiles[place][at * HASH_BYTES : (at + (1 << rest)) * HASH_BYTES])
        return Frontier().extend(hashes).root

    return subtree


class Growing:
    """Makes the tiles of a log as leaves are appended to it, in memory that does not grow with the log.

    `open_tiles` holds the incomplete tile of each level, leaves first, of the log as it stands.
    """

    def __init__(self, open_tiles: Sequence[bytes] = ()) -> None:
        self._open = [bytearray(hashes) for hashes in open_tiles]
        self.size = sum(len(hashes) // HASH_BYTES * TILE_WIDTH**level for level, hashes in enumerate(self._open))

    def append(self, leaf: bytes) -> Iterator[tuple[Place, bytes]]:
        """The tiles that this leaf completes."""
        level, entry, number = 0, leaf, self.size // TILE_WIDTH
        self.size += 1
        while True:
            if level == len(self._open):
                self._open.append(bytearray())
            self._open[level] += entry
            if len(self._open[level]) < TILE_WIDTH * HASH_BYTES:
                return
            whole = bytes(self._open[level])
            yield (level, number), whole
            self._open[level].clear()
            level, entry, number = level + 1, tile_root(whole), number // TILE_WIDTH

    @property
    def frontier(self) -> Frontier:
        """The frontier of the log as it stands."""
        peaks = (Frontier().extend(split(bytes(hashes))).hashes for hashes in reversed(self._open))
        return Frontier(self.size, b"".join(peaks))


def open_places(size: int) -> list[list[Place]]:
    """For each level above the leaves, the complete tiles below whose roots stand in its incomplete tile, in order."""
    found, below = [], size // TILE_WIDTH
    level = 0
    while below:
        found.append([(level, number) for number in range(below - below % TILE_WIDTH, below)])
        level, below = level + 1, below // TILE_WIDTH
    return found


def _place(level: int, number: int) -> tuple[Place, int]:
    """The tile that holds a subtree, and how many levels of the tree lie between the two."""
    tile_level, rest = divmod(level, _HEIGHT)
    return (tile_level, (number << rest) // TILE_WIDTH), rest


def _is_complete(place: Place, size: int) -> bool:
    level, number = place
    return (number + 1) << _HEIGHT * (level + 1) <= size


def _collect(level: int, number: int, size: int, found: dict[Place, None]) -> None:
    place, _ = _place(level, number)
    if _is_complete(place, size):
        found[place] = None
    elif level > 0:
        _collect(level - 1, 2 * number, size, found)
        _collect(level - 1, 2 * number + 1, size, found)
