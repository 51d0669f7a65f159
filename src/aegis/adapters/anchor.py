"""The newest checkpoint of each log, kept outside the database: a store that was put back or rewritten no longer agrees with it.

One file in a directory of its own, better on another disk and under another owner than the database:

    ANCHOR/notes.log    a first line with the format, then one line for each round: its digest, a space, and JSON {origin: note}

A round is the notes of many tenants in one line, brought to stable storage at once. One line is whole or is not there: a last line
that a crash left torn was never acknowledged and is cut off. A broken line with others after it is damage, and nobody goes on from
there. All processes of a host share the file under a lock. When most of it is old, it is written anew and put in its place.

A log only grows. `keep` refuses a note that goes back, and one that names another root for the same size; that the greater tree
begins with the smaller one is for the caller to have checked, and so are the signatures.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from aegis.adapters import wholefile
from aegis.crypto import note as notes
from aegis.errors import CorruptStoreError, LogBehindError, NoteError, StoreError
from aegis.journal import checkpoint
from aegis.journal.checkpoint import Checkpoint

FILE = "notes.log"
HEADER = b"aegis.anchor/v1\n"
GROWN_BYTES = 4 * 1024 * 1024
GROWN_TIMES = 4
_DIGEST = 64
_T = TypeVar("_T")


class _Kept(Struct, frozen=True):
    """What the file says up to byte `end`; `inode` tells when another process has put a new file in its place."""

    inode: int
    end: int
    notes: dict[str, bytes]


class Anchor:
    """The anchor in a directory. It may be used from several threads and processes; every call reads or writes files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / FILE
        self._kept: _Kept | None = None
        self._doubtful = False

    def note(self, origin: str) -> bytes | None:
        """The newest note of a log, or `None` when none was ever kept.

        Raises:
            CorruptStoreError: The file is damaged.
            StoreError: It cannot be read.
        """
        return self.all().get(origin)

    def all(self) -> Mapping[str, bytes]:
        """The newest note of each log, by origin; raises as `note`."""
        if not self._path.exists():
            return {}
        return self._within(self._read).notes

    def keep(self, newest: Mapping[str, bytes]) -> None:
        """Keep these notes, by origin, on stable storage; those that are kept already cost nothing.

        Notes that may follow are kept even when another one is refused.

        Raises:
            LogBehindError: A note goes back: another process has kept a greater one, or the log was put back.
            CorruptStoreError: A note contradicts the one that is kept, is not of its origin, or the file is damaged.
            StoreError: The file cannot be written: none of these notes is sure to be kept.
        """
        self._within(lambda: self._keep(newest))

    def _within(self, work: Callable[[], _T]) -> _T:
        """The result of `work` under the lock of the directory, in terms of the store's errors."""
        try:
            if not self._directory.is_dir():
                wholefile.make_directory(self._directory)
            with wholefile.locked(self._directory):
                return work()
        except OSError as error:
            self._kept, self._doubtful = None, True
            raise StoreError(f"{self._path}: the anchor cannot be read or written: {error.strerror}") from error

    def _keep(self, newest: Mapping[str, bytes]) -> None:
        kept = self._read() if self._path.exists() else self._begun({})
        fresh, refused = {}, []
        for origin, data in newest.items():
            try:
                if self._follows(origin, kept.notes.get(origin), data):
                    fresh[origin] = data
            except CorruptStoreError as error:
                refused.append(error)
        if self._doubtful:  # a write that failed may stand in the cache and not on the disk: a new file does not build on it
            self._begun(kept.notes | fresh)
        elif fresh:
            self._append(kept, fresh)
        if refused:
            raise refused[0]

    def _follows(self, origin: str, old: bytes | None, new: bytes) -> bool:
        """Whether `new` is to be written: not when it is what is there."""
        if old == new:
            return False
        found = self._said(origin, new)
        known = self._said(origin, old) if old is not None else None
        if known is not None and found.size < known.size:
            raise LogBehindError(
                f"log `{origin}`: a checkpoint of size {found.size} follows one of size {known.size}: it was put back", known.size
            )
        if known is not None and found.size == known.size and found.root != known.root:
            raise CorruptStoreError(f"log `{origin}`: two checkpoints of size {found.size} name different roots: it was rewritten")
        return True

    def _said(self, origin: str, data: bytes) -> Checkpoint:
        try:
            found = checkpoint.parse(notes.parse(data).text)
        except NoteError as error:
            raise CorruptStoreError(f"log `{origin}`: not a checkpoint: {error}") from None
        if found.origin != origin:
            raise CorruptStoreError(f"log `{origin}`: the checkpoint is of log `{found.origin}`")
        return found

    def _read(self) -> _Kept:
        """What the file says now; only what was added since the last time is read."""
        with self._path.open("rb") as file:
            found = os.fstat(file.fileno())
            kept = self._kept
            if kept is None or kept.inode != found.st_ino or kept.end > found.st_size:
                kept = _Kept(found.st_ino, len(HEADER), {})
                if file.read(len(HEADER)) != HEADER:
                    raise self._damaged(0)
            file.seek(kept.end)
            self._kept = self._taken_in(kept, file.read())
        return self._kept

    def _taken_in(self, kept: _Kept, data: bytes) -> _Kept:
        end, latest = kept.end, dict(kept.notes)
        lines = data.split(b"\n")
        for place, line in enumerate(lines[:-1]):
            said = _round(line)
            if said is None:
                if any(map(_round, lines[place + 1 :])):
                    raise self._damaged(end)
                break  # a last line that was never acknowledged
            latest |= said
            end += len(line) + 1
        return _Kept(kept.inode, end, latest)

    def _append(self, kept: _Kept, fresh: dict[str, bytes]) -> None:
        self._kept = None  # until the round is on stable storage, nobody knows what the file holds
        latest, line = kept.notes | fresh, _line(fresh)
        if kept.end + len(line) > GROWN_BYTES and kept.end > GROWN_TIMES * len(_line(latest)):
            self._begun(latest)
            return
        with self._path.open("r+b") as file:
            file.truncate(kept.end)
            file.seek(kept.end)
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self._kept = _Kept(kept.inode, kept.end + len(line), latest)

    def _begun(self, latest: dict[str, bytes]) -> _Kept:
        """A new file with nothing but these notes."""
        content = HEADER + (_line(latest) if latest else b"")
        wholefile.write(self._path, content, wholefile.PRIVATE)
        self._kept, self._doubtful = _Kept(self._path.stat().st_ino, len(content), latest), False
        return self._kept

    def _damaged(self, place: int) -> CorruptStoreError:
        return CorruptStoreError(
            f"{self._path}: damaged at byte {place}: a round there is not what its digest says, and others follow. Find out what "
            "changed the file. Put a copy of it back, or compare the store with a witness or a bundle and then move the file away"
        )


def _line(said: Mapping[str, bytes]) -> bytes:
    body = msgspec.json.encode({origin: data.decode() for origin, data in said.items()})
    return hashlib.sha256(body).hexdigest().encode() + b" " + body + b"\n"


def _round(line: bytes) -> dict[str, bytes] | None:
    """The notes of a line; `None` when it is not a whole one."""
    digest, body = line[:_DIGEST], line[_DIGEST + 1 :]
    if hashlib.sha256(body).hexdigest().encode() != digest:
        return None
    try:
        return {origin: text.encode() for origin, text in msgspec.json.decode(body, type=dict[str, str]).items()}
    except msgspec.DecodeError:
        return None
