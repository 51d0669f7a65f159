"""What many tests begin with, made once in each process and copied: the keys of tenants, and a SQLite store at the newest revision.

Tests of how these are made make their own.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from aegis.adapters import sqlite
from aegis.journal.store import Store
from aegis.surfaces.cli.setup import make_keys


def migrate(opened: Callable[[], Awaitable[Store]]) -> None:
    """Open a store, which migrates it, and close it again; also where a loop is running."""

    async def both() -> None:
        await (await opened()).close()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, both()).result()


def copy_keys(target: Path, tenants: tuple[str, ...], people: tuple[str, ...]) -> None:
    """Every key of these tenants and of their people. They are the same ones wherever they were copied to in this process."""
    shutil.copytree(_home() / _keys(tenants, people), target)


def copy_store(target: Path) -> None:
    """A SQLite store at the newest revision that holds nothing."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(_store(), target)


@cache
def _home() -> Path:
    made = tempfile.TemporaryDirectory(prefix="aegis-once-")
    _kept.append(made)
    return Path(made.name)


_kept: list[tempfile.TemporaryDirectory[str]] = []


@cache
def _keys(tenants: tuple[str, ...], people: tuple[str, ...]) -> str:
    place = Path(tempfile.mkdtemp(prefix="keys-", dir=_home()))
    for tenant in tenants:
        make_keys(place / "keys", tenant, people)
    return f"{place.name}/keys"


@cache
def _store() -> Path:
    path = _home() / "store" / "aegis.db"
    migrate(lambda: sqlite.open_store(path, clock=lambda: datetime.now(UTC)))
    return path
