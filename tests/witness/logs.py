"""A log for tests: leaves in memory, a key, and what a gateway would send."""

from collections.abc import Iterable

from aegis.crypto import merkle, note
from aegis.crypto.jwk import PrivateKey, private_key
from aegis.crypto.merkle import Frontier
from aegis.crypto.note import Verifier
from aegis.journal.checkpoint import Checkpoint

ORIGIN = "aegis.acme/audit/1"
KEY = private_key(b"\x11" * 32)


class Log:
    """A tree over the leaves that it was given."""

    def __init__(self, leaves: Iterable[bytes] = (), *, origin: str = ORIGIN, key: PrivateKey = KEY) -> None:
        self.origin = origin
        self.key = key
        self.leaves = [merkle.leaf_hash(leaf) for leaf in leaves]

    @property
    def verifier(self) -> Verifier:
        return Verifier(self.origin, self.key.public)

    def grow(self, count: int, word: bytes = b"event") -> "Log":
        self.leaves += [merkle.leaf_hash(word + b" %d" % place) for place in range(len(self.leaves), len(self.leaves) + count)]
        return self

    def checkpoint(self, size: int | None = None) -> Checkpoint:
        size = len(self.leaves) if size is None else size
        return Checkpoint(self.origin, size, Frontier().extend(self.leaves[:size]).root)

    def note(self, size: int | None = None) -> bytes:
        text = self.checkpoint(size).text
        return note.Note(text, (note.sign(text, self.origin, self.key),)).data

    def proof(self, old: int, size: int | None = None) -> list[bytes]:
        return merkle.consistency_proof(old, len(self.leaves) if size is None else size, self._subtree)

    def _subtree(self, level: int, number: int) -> bytes:
        return Frontier().extend(self.leaves[number << level : (number + 1) << level]).root


def log(size: int, **more) -> Log:
    return Log(**more).grow(size)
