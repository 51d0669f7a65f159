"""After an erasure the wrapped key is in no file of a SQLite store, whoever has it open; nor is any older wrapping of it."""

import asyncio
from pathlib import Path

import pytest
from tests.store.homes import Home, event

from aegis.adapters.sqlite import scrubbing
from aegis.journal.unit import Committed, Payload, Unit

WRAPPED = b"0123456789abcdef-the-wrapped-key-of-one-person-fedcba9876543210"
AGAIN = b"fedcba9876543210-the-same-key-wrapped-by-a-newer-kek-0123456789ab"


@pytest.fixture
async def place(tmp_path):
    made = Home("sqlite", str(tmp_path / "store.db"))
    yield made
    await made.close()


def files_with(folder: Path, needle: bytes) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes())


async def fill(store, folder):
    """A key among many, with its payload, in both files of the store."""
    for n in range(60):
        await store.data_key("acme", f"s{n}", (f"dek_{n}", WRAPPED if n == 30 else bytes([n]) * 60))
    payload = Payload(event_id="e1", name="arguments", key_id="dek_30", nonce=b"n" * 12, ciphertext=b"c" * 40)
    await store.commit(Unit(tenant="acme", events=(event("acme", "e1"),), payloads=(payload,)))
    assert files_with(folder, WRAPPED)


async def destroy(store):
    unit = Unit(tenant="acme", events=(event("acme", "gone"),), destroys=("dek_30",))
    assert isinstance(await store.commit(unit), Committed)


async def test_no_file_holds_a_destroyed_key_not_even_as_it_was_wrapped_before(place, tmp_path):
    store = await place.open()
    other = await place.open()
    await fill(store, tmp_path)
    await other.scrub()  # moves the key into the database file
    assert files_with(tmp_path, WRAPPED) == ["store.db"]
    assert await store.rewrap("acme", "dek_30", WRAPPED, AGAIN)
    assert files_with(tmp_path, AGAIN)
    await destroy(store)
    assert files_with(tmp_path, AGAIN)  # the log still holds it: this is why it is emptied
    assert await store.scrub() == ""
    for needle in (WRAPPED, AGAIN):
        assert files_with(tmp_path, needle) == []
    assert await other.data_key_by_id("acme", "dek_31") is not None
    assert await other.fsck() == ()


async def test_whoever_keeps_reading_is_told_of_and_holds_nobody_up(place, tmp_path, monkeypatch):
    monkeypatch.setattr(scrubbing, "TRIES", 2)
    store = await place.open()
    await fill(store, tmp_path)
    with place_reading(place):
        await destroy(store)
        assert "run `aegis audit erase" in await store.scrub()
        assert isinstance(await store.commit(Unit(tenant="acme", events=(event("acme", "e2"),))), Committed)
    assert await store.scrub() == ""
    assert files_with(tmp_path, WRAPPED) == []


async def test_commits_go_on_while_the_log_is_emptied(place, tmp_path):
    store = await place.open()
    await fill(store, tmp_path)
    await destroy(store)

    async def work(n):
        for m in range(10):
            receipt = await store.commit(Unit(tenant="acme", events=(event("acme", f"w{n}_{m}"),)))
            assert isinstance(receipt, Committed)

    said, *_ = await asyncio.gather(store.scrub(), *(work(n) for n in range(4)))
    assert said == ""
    assert files_with(tmp_path, WRAPPED) == []
    assert await store.fsck() == ()


def place_reading(place):
    """Somebody who reads a snapshot and does not end."""
    import sqlite3
    from contextlib import contextmanager

    @contextmanager
    def reading():
        connection = sqlite3.connect(place.where, isolation_level=None)
        try:
            connection.execute("BEGIN")
            connection.execute("SELECT COUNT(*) FROM data_key").fetchone()
            yield
            connection.execute("ROLLBACK")
        finally:
            connection.close()

    return reading()
