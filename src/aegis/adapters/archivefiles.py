"""Archives on disk, read: a directory or a zip file, as `bundlefiles` writes them."""

import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO

from aegis.errors import ConfigError
from aegis.journal.archive import PAYLOADS, read_payload
from aegis.journal.unit import Payload

EVENTS = "events.jsonl"


async def holds(path: Path, expected: AsyncIterator[Payload]) -> bool:
    """Whether an archive holds exactly these payloads, in this order."""
    found = chain(payloads(path), (None,))
    async for payload in expected:
        if next(found) != payload:
            return False
    return next(found) is None


def payloads(path: Path) -> Iterator[Payload]:
    """What was sealed beside the events.

    Raises:
        ConfigError: There is no archive, or it is damaged.
    """
    for number, line in enumerate(_lines(path, PAYLOADS), 1):
        try:
            yield read_payload(line)
        except ValueError:
            raise ConfigError(f"`{path}`: line {number} of {PAYLOADS} is no payload") from None


def events(path: Path) -> Iterator[bytes]:
    """The bodies of the events; that they are genuine is for the verifier to say."""
    return _lines(path, EVENTS)


def _lines(path: Path, name: str) -> Iterator[bytes]:
    try:
        with _opened(path, name) as file:
            yield from (line.rstrip(b"\n") for line in file)
    except (OSError, KeyError, zipfile.BadZipFile):
        raise ConfigError(f"`{path}` is no archive: expected a directory or a zip file that holds {name}") from None


@contextmanager
def _opened(path: Path, name: str) -> Iterator[IO[bytes]]:
    if path.is_dir():
        with (path / name).open("rb") as file:
            yield file
    else:
        with zipfile.ZipFile(path) as whole, whole.open(name) as inner:
            yield inner
