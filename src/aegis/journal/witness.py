"""What a log asks a witness, and when a witness may cosign. Pure.

A witness knows one checkpoint of each log: the last that it cosigned. It cosigns another one only if a log that it knows signed it,
if the asker named the size that it knows, and if a proof shows that the new tree begins with the known one. So it never goes back
and never cosigns two trees of one log. What it refuses although the log has signed it is kept, because it may be evidence:

fork       the same size with another root. This alone proves that the log signed two trees.
unproven   the proof does not hold. It is the log's turn to show one; anybody may have sent a true note with a wrong proof.

The checks come in the order of the protocol, which fixes the status of each refusal.

Source: C2SP tlog-witness v1.0.0, add-checkpoint.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from aegis.crypto import note as notes
from aegis.crypto.merkle import EMPTY_ROOT, verify_consistency
from aegis.crypto.note import Note, Verifier
from aegis.errors import NoteError
from aegis.journal import checkpoint
from aegis.journal.checkpoint import Checkpoint

MAX_PROOF = 63
FORK, UNPROVEN = "fork", "unproven"


class Request(Struct, frozen=True):
    """A checkpoint to cosign, the size that the witness is thought to know, and the proof from there."""

    old: int
    proof: tuple[bytes, ...]
    note: Note

    @property
    def data(self) -> bytes:
        """The body of the request."""
        lines = [f"old {self.old}", *map(notes.encode, self.proof), "", ""]
        return "\n".join(lines).encode() + self.note.data


class Refusal(Struct, frozen=True):
    """Why there is no cosignature: the status of the answer, and what of it is evidence (`FORK`, `UNPROVEN`, or nothing)."""

    status: int
    text: str
    evidence: str = ""


def parse(data: bytes) -> Request:
    """The request in a body.

    Raises:
        NoteError: `malformed`.
    """
    head, gap, rest = data.partition(b"\n\n")
    try:
        first, *proof = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise NoteError("malformed", "the lines before the checkpoint are not ASCII") from None
    if not gap or not first.startswith("old ") or len(proof) > MAX_PROOF:
        raise NoteError("malformed", f"expected `old SIZE`, at most {MAX_PROOF} lines of proof, an empty line and a checkpoint")
    old = checkpoint.size(first.removeprefix("old "))
    return Request(old, tuple(map(checkpoint.hash_of, proof)), notes.parse(rest))


def admitted(request: Request, logs: Mapping[str, Sequence[Verifier]]) -> Checkpoint | Refusal:
    """The checkpoint of a request, if one of the keys that are known for its log has signed it. `logs` is by origin.

    Raises:
        NoteError: `malformed`: the note holds no checkpoint.
    """
    found = checkpoint.parse(request.note.text)
    if found.origin not in logs:
        return Refusal(404, "this witness does not know the log")
    try:
        notes.verified(request.note, logs[found.origin])
    except NoteError as error:
        return Refusal(403, str(error))
    if request.old > found.size:
        return Refusal(400, f"`old` is {request.old}, but the checkpoint has size {found.size}")
    return found


def judged(request: Request, wanted: Checkpoint, known: Checkpoint | None) -> Refusal | None:
    """Why `wanted`, which was admitted, must not be cosigned after `known`; `None`: it may."""
    size, root = (known.size, known.root) if known is not None else (0, EMPTY_ROOT)
    if wanted.size == size and wanted.root != root:
        return Refusal(409, f"{size}\n", FORK)
    if request.old != size:
        return Refusal(409, f"{size}\n")
    if not verify_consistency(size, root, wanted.size, wanted.root, request.proof):
        return Refusal(422, f"the proof does not show that the tree of {wanted.size} begins with that of {size}", UNPROVEN)
    return None
