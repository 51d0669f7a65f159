"""Where exported records are written, and the file that remembers how far.

Records are flushed to stable storage before the cursor says that they are there, and the cursor is replaced whole: whatever dies,
the next run begins at or before the first record that is missing. A line that was cut off by a crash is removed before the next one
is written, so it never becomes one with it.
"""

import fcntl
import os
import sys
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

import msgspec

from aegis.adapters.wholefile import PRIVATE, read_regular
from aegis.adapters.wholefile import write as write_whole
from aegis.errors import ConfigError
from aegis.journal.export.cursor import Cursor, start

MAX_CURSOR = 65_536
_BLOCK = 65_536


class Sink:
    """Standard output, or a file of one's own that only the owner may read. `resume` appends to it."""

    def __init__(self, path: Path | None, *, resume: bool) -> None:
        self._path = path
        self._resume = resume
        self._file: BinaryIO = sys.stdout.buffer

    def __enter__(self) -> Self:
        """Open it.

        Raises:
            ConfigError: It cannot be written, another export writes it, or it is there and would be lost.
        """
        if self._path is not None:
            try:
                self._file = _opened(self._path, resume=self._resume)
            except FileExistsError:
                raise ConfigError(
                    f"{self._path}: is there already; pass --cursor to go on where it ended, or another name"
                ) from None
            except BlockingIOError:
                raise ConfigError(f"{self._path}: another export writes it at this moment") from None
            except OSError as error:
                raise ConfigError(f"{self._path}: cannot be written: {error.strerror}") from None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Let go of it."""
        if self._path is not None:
            self._file.close()

    def write(self, record: bytes) -> None:
        """Add one record."""
        self._file.write(record + b"\n")

    def flush(self) -> None:
        """Bring what was written to stable storage, or to whoever reads the pipe."""
        self._file.flush()
        if self._path is not None:
            os.fsync(self._file.fileno())


class CursorFile:
    """The file of `--cursor`; without a path nothing is remembered."""

    def __init__(self, path: Path | None, tenant: str) -> None:
        self._path = path
        self._tenant = tenant

    @property
    def exists(self) -> bool:
        """Whether an earlier run left a cursor."""
        return self._path is not None and self._path.exists()

    def begin(self, first: int) -> Cursor:
        """A cursor before the event `first`."""
        return start(self._tenant, first)

    def read(self) -> Cursor | None:
        """What an earlier run left.

        Raises:
            ConfigError: It is not a cursor.
        """
        if self._path is None or not self.exists:
            return None
        try:
            return msgspec.json.decode(read_regular(self._path, MAX_CURSOR), type=Cursor)
        except OSError as error:
            raise ConfigError(f"{self._path}: cannot be read: {error.strerror}") from None
        except msgspec.DecodeError:
            raise ConfigError(f"{self._path}: not a cursor of `aegis audit export`; name another file") from None

    def write(self, cursor: Cursor) -> None:
        """Replace the file whole."""
        if self._path is None:
            return
        try:
            write_whole(self._path, msgspec.json.encode(cursor) + b"\n", PRIVATE)
        except OSError as error:
            raise ConfigError(f"{self._path}: cannot be written: {error.strerror}") from None


def _opened(path: Path, *, resume: bool) -> BinaryIO:
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | (0 if resume else os.O_EXCL)
    file = os.fdopen(os.open(path, flags, PRIVATE), "r+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.truncate(_whole_lines(file))
        file.seek(0, os.SEEK_END)
    except BaseException:
        file.close()
        raise
    return file


def _whole_lines(file: BinaryIO) -> int:
    """How many bytes the whole lines of a file take."""
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        begin = max(0, end - _BLOCK)
        file.seek(begin)
        found = file.read(end - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0
