"""Checkpoints: what a log says of itself at one size. The text that the log signs and that witnesses cosign.

Three lines: the origin (which log), the size in decimal, and the root hash in base64; lines that follow are extensions, which we
keep as they are and give no meaning. One checkpoint has one text, so that whoever cosigns signs the same bytes as everyone else.

Source: C2SP tlog-checkpoint v1.0.0.
"""

import re

from msgspec import Struct

from aegis.crypto import note
from aegis.crypto.merkle import HASH_BYTES, MAX_SIZE
from aegis.errors import NoteError

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,19}")
_LINES = 3


class Checkpoint(Struct, frozen=True):
    """Log `origin` has `size` leaves under `root` (32 bytes)."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """What is signed."""
        return "\n".join([self.origin, str(self.size), note.encode(self.root), *self.extensions, ""])


def parse(text: str) -> Checkpoint:
    """The checkpoint that `text` (of a note that was verified) says.

    Raises:
        NoteError: `malformed`.
    """
    lines = text.removesuffix("\n").split("\n")
    if not text.endswith("\n") or len(lines) < _LINES or not all(lines):
        raise NoteError("malformed", "a checkpoint is three lines or more, none of them empty: origin, size, root")
    origin, count, root, *extensions = lines
    return Checkpoint(origin, size(count), hash_of(root), tuple(extensions))


def size(text: str) -> int:
    """A tree size in decimal: digits only, no zero before them.

    Raises:
        NoteError: `malformed`.
    """
    if not _DECIMAL.fullmatch(text) or int(text) > MAX_SIZE:
        raise NoteError("malformed", f"a tree size is a decimal number up to {MAX_SIZE} without leading zeros")
    return int(text)


def hash_of(text: str) -> bytes:
    """A hash in base64.

    Raises:
        NoteError: `malformed`.
    """
    data = note.decode(text)
    if len(data) != HASH_BYTES:
        raise NoteError("malformed", f"a hash has {HASH_BYTES} bytes")
    return data
