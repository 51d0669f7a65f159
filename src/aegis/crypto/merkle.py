"""The Merkle tree of a log: hashes, a frontier to grow it by, proofs and their verification. Pure.

The tree over n leaves is that of RFC 6962, section 2.1: its left part holds the greatest power of two below n. Leaves and inner
nodes are hashed under different first bytes, so that neither can be passed off as the other. Proofs are built on a function that
gives the hash of a complete subtree, wherever that is kept.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
MAX_SIZE = 2**53 - 1

Subtree = Callable[[int, int], bytes]
"""(level, number) to the hash of the complete subtree over the leaves [number * 2^level, (number + 1) * 2^level)."""


def leaf_hash(data: bytes) -> bytes:
    """Hash of a leaf.

    Source: RFC 6962, section 2.1.
    """
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier(Struct, frozen=True):
    """The complete subtrees that a tree of `size` leaves is made of: their hashes one after the other, the greatest first.

    This is all that is needed to append leaves and to tell the root: one hash for each bit of `size`.
    """

    size: int = 0
    hashes: bytes = b""

    def extend(self, leaves: Iterable[bytes]) -> "Frontier":
        """The frontier once these leaf hashes were appended: about one node hash for each."""
        size, peaks = self.size, self.peaks
        for leaf in leaves:
            top, bits = leaf, size
            while bits & 1:
                top = node_hash(peaks.pop(), top)
                bits >>= 1
            peaks.append(top)
            size += 1
        return Frontier(size, b"".join(peaks))

    @property
    def peaks(self) -> list[bytes]:
        """The hashes, each by itself."""
        return [self.hashes[at : at + HASH_BYTES] for at in range(0, len(self.hashes), HASH_BYTES)]

    @property
    def sound(self) -> bool:
        """Whether there are as many hashes as the size wants."""
        return self.size >= 0 and len(self.hashes) == self.size.bit_count() * HASH_BYTES

    @property
    def root(self) -> bytes:
        """Root of the tree."""
        peaks = self.peaks
        if not peaks:
            return EMPTY_ROOT
        root = peaks.pop()
        while peaks:
            root = node_hash(peaks.pop(), root)
        return root


def frontier_at(size: int, subtree: Subtree) -> Frontier:
    """The frontier of the tree over the first `size` leaves."""
    return Frontier(size, b"".join(subtree(level, number) for level, number in _complete(0, size)))


def inclusion_proof(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """The audit path of leaf `index` in the tree over the first `size` leaves, the lowest sibling first.

    Raises:
        ValueError: There is no such leaf.

    Source: RFC 6962, section 2.1.1.
    """
    if not 0 <= index < size:
        raise ValueError(f"no leaf {index} in a tree of {size}")
    path, low, high = [], 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(_range_hash(middle, high, subtree))
            high = middle
        else:
            path.append(_range_hash(low, middle, subtree))
            low = middle
    return path[::-1]


def consistency_proof(old: int, new: int, subtree: Subtree) -> list[bytes]:
    """The proof that the tree over `new` leaves begins with that over `old`.

    Raises:
        ValueError: `old` is greater than `new`.

    Source: RFC 6962, section 2.1.2.
    """
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} leaves cannot begin with {old}")
    if old in (0, new):
        return []
    path, low, high, whole = [], 0, new, True
    while old != high:
        middle = low + _split(high - low)
        if old <= middle:
            path.append(_range_hash(middle, high, subtree))
            high = middle
        else:
            path.append(_range_hash(low, middle, subtree))
            low, whole = middle, False
    if not whole:
        path.append(_range_hash(low, high, subtree))
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` shows that the leaf with this hash stands at `index` in the tree of this size and root.

    Source: RFC 9162, section 2.1.3.2.
    """
    if not 0 <= index < size:
        return False
    position, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if position & 1 or position == last:
            found = node_hash(sibling, found)
            while position and not position & 1:
                position >>= 1
                last >>= 1
        else:
            found = node_hash(found, sibling)
        position >>= 1
        last >>= 1
    return last == 0 and found == root


def verify_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that the tree of `new` leaves and root begins with that of `old` leaves and root.

    Source: RFC 9162, section 2.1.4.2.
    """
    if not 0 <= old <= new:
        return False
    if old == 0:
        return not proof and old_root == EMPTY_ROOT and (new > 0 or new_root == EMPTY_ROOT)
    if old == new:
        return not proof and old_root == new_root
    if not proof:
        return False
    steps = list(proof)
    if old & (old - 1) == 0:
        steps.insert(0, old_root)
    position, last = old - 1, new - 1
    while position & 1:
        position >>= 1
        last >>= 1
    former = found = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if position & 1 or position == last:
            former, found = node_hash(step, former), node_hash(step, found)
            while position and not position & 1:
                position >>= 1
                last >>= 1
        else:
            found = node_hash(found, step)
        position >>= 1
        last >>= 1
    return last == 0 and former == old_root and found == new_root


def _split(count: int) -> int:
    """The greatest power of two below `count`, which is 2 or more."""
    return 1 << (count - 1).bit_length() - 1


def _complete(low: int, high: int) -> Iterable[tuple[int, int]]:
    """(level, number) of the complete subtrees that [low, high) is made of, the greatest first; `low` is aligned to all of them."""
    while low < high:
        level = (high - low).bit_length() - 1
        yield level, low >> level
        low += 1 << level


def _range_hash(low: int, high: int, subtree: Subtree) -> bytes:
    """The hash of the tree over [low, high), a range that stands in a proof."""
    return Frontier(high - low, b"".join(subtree(level, number) for level, number in _complete(low, high))).root
