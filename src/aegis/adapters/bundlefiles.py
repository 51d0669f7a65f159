"""Bundles on disk: a directory, or a zip file where the name ends in `.zip`. Whole or not at all, and durable.

A bundle is written beside its place and moved there at the end. Nothing that is there is ever replaced: a bundle is evidence.
"""

import os
import secrets
import shutil
import zipfile
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from aegis.adapters import wholefile
from aegis.errors import ConfigError
from aegis.journal.bundle import File

_BUFFER = 1 << 20


async def write(path: Path, files: AsyncIterator[File]) -> None:
    """Write a bundle to `path`.

    Raises:
        ConfigError: Something is there already, or it cannot be written.
    """
    if path.exists():  # noqa: ASYNC240 - a command writes bundles, and nobody waits for it
        raise ConfigError(f"`{path}` exists: a bundle replaces nothing; give another name")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        await (_zip if path.suffix == ".zip" else _directory)(temporary, files)
        temporary.rename(path)
        wholefile.sync_directory(path.parent)
    except OSError as error:
        raise ConfigError(f"`{path}` cannot be written: {error.strerror}") from None
    finally:
        _remove(temporary)


async def _directory(home: Path, files: AsyncIterator[File]) -> None:
    home.mkdir(mode=0o700)  # noqa: ASYNC240 - as above
    async for name, chunks in files:
        place = home / name
        place.parent.mkdir(mode=0o700, exist_ok=True)
        with place.open("xb", _BUFFER) as file:
            await _copied(chunks, file)
            file.flush()
            os.fsync(file.fileno())
        wholefile.sync_directory(place.parent)
    wholefile.sync_directory(home)


async def _zip(place: Path, files: AsyncIterator[File]) -> None:
    with place.open("xb") as whole:
        with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            async for name, chunks in files:
                with archive.open(name, "w", force_zip64=True) as file:
                    await _copied(chunks, file)
        whole.flush()
        os.fsync(whole.fileno())


async def _copied(chunks: AsyncIterator[bytes], file: IO[bytes]) -> None:
    async for chunk in chunks:
        file.write(chunk)


def _remove(temporary: Path) -> None:
    with suppress(OSError):
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)
