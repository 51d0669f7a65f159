"""Files that are written whole or not at all, and private ones that nobody else can read.

A write is a temporary file, fsync, rename, fsync of the directory: after a crash a reader finds the old file or the new one.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from aegis.errors import ConfigError

PRIVATE, PUBLIC = 0o600, 0o644
_MAX_SIZE = 16_777_216


def write(path: Path, content: bytes, mode: int) -> None:
    """Replace `path` by `content`, durably. The directory must exist."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def make_directory(path: Path) -> None:
    """Make `path` and what is missing above it, for the owner only, durably."""
    missing = [part for part in (path, *path.parents) if not part.exists()]
    for part in reversed(missing):
        part.mkdir(mode=0o700, exist_ok=True)
        sync_directory(part.parent)


def sync_directory(path: Path) -> None:
    """Bring the entries of a directory to stable storage."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read_regular(path: Path, most: int) -> bytes:
    """The content of a file, of at most `most` bytes and one more.

    Whoever may write to one folder could otherwise make a process wait for ever, by a pipe, or fill its memory, by a device.

    Raises:
        OSError: It cannot be read, or is no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        return file.read(most + 1)


def read_private(path: Path) -> bytes:
    """The content of a file that nobody but its owner may read or change.

    Raises:
        ConfigError: Others may; the message holds the command that mends it. Or it cannot be read.
    """
    return _read(path, stat.S_IRWXG | stat.S_IRWXO, "others can read or change this private key", "600")


def read_public(path: Path) -> bytes:
    """The content of a file that everybody may read and nobody but its owner may change.

    Raises:
        ConfigError: Others may change it; the message holds the command that mends it. Or it cannot be read.
    """
    return _read(path, stat.S_IWGRP | stat.S_IWOTH, "others can change this file, and so who is trusted", "644")


def _read(path: Path, forbidden: int, why: str, mend: str) -> bytes:
    try:
        with path.open("rb") as file:
            # The mode of the file that was opened, not of whatever bears its name a moment later.
            if os.fstat(file.fileno()).st_mode & forbidden:
                raise ConfigError(f"{path}: {why}; run: chmod {mend} {shlex.quote(str(path))}")
            return file.read(_MAX_SIZE)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the lock of `directory`, which must exist: one writer at a time, whatever process or thread it is in."""
    descriptor = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT, PRIVATE)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)  # which lets go of the lock
