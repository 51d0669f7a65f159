"""The last checkpoint that a witness cosigned of each log, and the notes that it refused although the log had signed them.

    state/ORIGIN/note.txt                       the note with the cosignature that was given last; ORIGIN is a digest of the origin
    conflicts/KIND-ORIGIN-SIZE-ROOT.txt         a note that was refused, and beside it
    conflicts/KIND-ORIGIN-SIZE-ROOT.known.txt   the note that the witness knew then

Read, judge and write happen under a lock of the log, whatever process or thread asks, and the state is on stable storage before
`cosign` returns. So no answer ever speaks of a size that a crash can take back. The state carries the witness's own cosignature and
is not believed without it.
"""

import hashlib
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

from aegis.adapters import wholefile
from aegis.adapters.witness.home import Home
from aegis.crypto import note as notes
from aegis.crypto.note import Note, Signature
from aegis.errors import CorruptStoreError, NoteError
from aegis.journal import checkpoint, witness
from aegis.journal.checkpoint import Checkpoint
from aegis.journal.witness import Refusal, Request

log = logging.getLogger("aegis.witness")

STATE, CONFLICTS, NOTE, KNOWN = "state", "conflicts", "note.txt", ".known.txt"
MAX_CONFLICTS = 100
"""Of one kind and log: one is enough to show, and whoever sends more shall not fill the disk."""
_SHORT = 16


class Known(Struct, frozen=True):
    """What a witness cosigned last of a log, and when (seconds since the epoch)."""

    note: Note
    checkpoint: Checkpoint
    time: int


def cosign(home: Home, request: Request, wanted: Checkpoint, clock: Callable[[], int]) -> Signature | Refusal:
    """The cosignature of a checkpoint that was admitted, once it is what the witness knows; or why there is none.

    Raises:
        CorruptStoreError: The state is not what this witness wrote.
        OSError: The state cannot be written; nothing was cosigned.
    """
    place = place_of(home, wanted.origin)
    wholefile.make_directory(place)
    with wholefile.locked(place):
        known = _read(home, place / NOTE)
        refusal = witness.judged(request, wanted, known.checkpoint if known else None)
        if refusal is not None:
            if refusal.evidence:
                _keep(home, refusal.evidence, request.note, wanted, known)
            return refusal
        line = notes.cosign(request.note.text, home.name, home.key, clock())
        for torn in place.glob(f".{NOTE}.*"):  # left by a crash before it was renamed
            torn.unlink()
        wholefile.write(place / NOTE, Note(request.note.text, (*_signed(request.note, wanted), line)).data, wholefile.PRIVATE)
        return line


def place_of(home: Home, origin: str) -> Path:
    """The folder that holds what the witness knows of a log."""
    return home.path / STATE / _name(origin)


def known(home: Home) -> Iterator[Known]:
    """What a witness knows of each log; raises as `cosign`."""
    for place in sorted((home.path / STATE).glob(f"*/{NOTE}")):
        found = _read(home, place)
        if found is not None:
            yield found


def conflicts(home: Home) -> list[Path]:
    """The notes that were refused, as files: first those that prove a fork."""
    return [path for path in sorted((home.path / CONFLICTS).glob("*.txt")) if not path.name.endswith(KNOWN)]


def _read(home: Home, path: Path) -> Known | None:
    if not path.exists():
        return None
    try:
        note = notes.parse(path.read_bytes())
        (signer,) = notes.verified(note, [home.verifier])
        found = checkpoint.parse(note.text)
    except NoteError as error:
        raise CorruptStoreError(
            f"{path}: not what this witness wrote ({error}); nothing is cosigned for this log. Put a copy back that is not"
            " older than the newest cosignature that the log or an auditor holds"
        ) from None
    if path.parent.name != _name(found.origin):
        raise CorruptStoreError(f"{path}: the state of another log (`{found.origin}`) lies here; nothing is cosigned")
    return Known(note, found, signer.time or 0)


def _keep(home: Home, kind: str, refused: Note, wanted: Checkpoint, known: Known | None) -> None:
    """Keep a note that the log signed and should not have; what is there already is left as it is."""
    directory = home.path / CONFLICTS
    wholefile.make_directory(directory)
    start = f"{kind}-{_name(wanted.origin)}-"
    path = directory / f"{start}{wanted.size}-{wanted.root.hex()[:_SHORT]}.txt"
    if path.exists() or sum(other.name.startswith(start) for other in conflicts(home)) >= MAX_CONFLICTS:
        return
    if known is not None:
        wholefile.write(path.with_name(path.stem + KNOWN), known.note.data, wholefile.PRIVATE)
    wholefile.write(path, Note(refused.text, _signed(refused, wanted)).data, wholefile.PRIVATE)
    log.error("refused size %d of %s although the log has signed it; kept as %s", wanted.size, wanted.origin, path.name)


def _signed(note: Note, wanted: Checkpoint) -> tuple[Signature, ...]:
    """The lines of the log itself: what others have added is not ours to keep."""
    return tuple(line for line in note.signatures if line.name == wanted.origin)


def _name(origin: str) -> str:
    """The name of a log in the file system, whatever its origin is made of."""
    return hashlib.sha256(origin.encode()).hexdigest()[:32]
