"""What fails under the store: the disk, the server, the line between."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.postgres_server import Server
from tests.store.homes import Home, put, unit
from tests.store.kills import start_writer, until

from aegis.adapters.sqlite.writer import doubt_file
from aegis.errors import CorruptStoreError, StoreBusyError, StoreError, StoreHaltedError, StoreUncertainError
from aegis.journal.unit import Committed, Existing

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def shim(tmp_path_factory) -> Path:
    """The library that makes the disk fail, compiled here."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("no C compiler, or not Linux: a failing disk cannot be put under SQLite")
    library = tmp_path_factory.mktemp("shim") / "faults.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, HERE / "faults.c", "-ldl"], check=True)
    return library


@pytest.fixture
async def file(tmp_path) -> AsyncIterator[Home]:
    home = Home("sqlite", str(tmp_path / "store.db"))
    yield home
    await home.close()


async def with_failing_disk(shim: Path, home: Home, fault: str) -> dict[str, object]:
    faults = Path(home.where).parent / "faults"
    faults.mkdir()
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, HERE / "faulty.py", home.where, fault],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "LD_PRELOAD": str(shim),
            "AEGIS_FAULTS": str(faults),
        },
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_a_failed_sync_acknowledges_nothing_and_stops_the_writer_until_the_store_is_opened_anew(shim, file):
    found = await with_failing_disk(shim, file, "fsync")
    assert found["before"] == ["Committed"] * 2
    assert found["during"] == ["StoreUncertainError"] * 3
    assert found["later"] == ["StoreHaltedError"]
    assert found["read during"] == ["a1", "a2"]
    assert found["after"] == ["StoreHaltedError"]
    assert found["halted"] is True
    assert doubt_file(Path(file.where)).exists()
    store = await file.open()
    assert not doubt_file(Path(file.where)).exists()
    assert await store.fsck() == ()
    assert {"a1", "a2"} <= {each.id for each in await store.events("acme")}
    assert isinstance(await store.commit(unit("acme", "e1")), Committed)


async def test_a_full_disk_fails_its_groups_and_the_store_goes_on_once_there_is_room(shim, file):
    found = await with_failing_disk(shim, file, "full")
    assert found["before"] == ["Committed"] * 2
    assert found["during"] == ["StoreError"] * 3
    assert found["later"] == ["StoreError"]
    assert found["read during"] == ["a1", "a2"]
    assert found["after"] == ["Committed"]
    assert found["halted"] is False
    assert "close" not in found
    store = await file.open()
    assert [each.id for each in await store.events("acme")] == ["a1", "a2", "d1"]
    assert await store.fsck() == ()


async def test_a_store_that_has_reached_its_size_still_reads_and_takes_what_fits(file):
    store = await file.open()
    await store.commit(unit("acme", "e1", writes=(put("c1"),)))
    execute = store._backend._execute
    (pages,) = await store._writer.run(lambda: execute("PRAGMA page_count").fetchone())
    await store._writer.run(lambda: execute(f"PRAGMA max_page_count = {pages}").fetchone())
    with pytest.raises(StoreError, match="no room"):
        await store.commit(unit("acme", "e2", writes=(put("c2", b'"%s"' % (b"x" * 100_000)),)))
    assert [each.id for each in await store.events("acme")] == ["e1"]
    await store._writer.run(lambda: execute("PRAGMA max_page_count = 100000").fetchone())
    assert (await store.commit(unit("acme", "e3"))).events[0].seq == 1
    assert await store.fsck() == ()


async def test_a_damaged_store_that_is_in_doubt_is_not_opened(file):
    store = await file.open()
    await store.commit(unit("acme", "e1", "e2", "e3"))
    await store.close()
    file.sql("UPDATE event SET body = X'7b7d' WHERE seq = 1")
    await (await file.open()).close()  # the ends are sound, and nothing says that more has to be looked at
    doubt_file(Path(file.where)).touch()
    with pytest.raises(CorruptStoreError, match="event 1"):
        await file.open()
    assert doubt_file(Path(file.where)).exists()


async def test_a_file_that_is_no_database_is_refused(file):
    Path(file.where).write_bytes(b"something else entirely, and long enough to be looked at" * 100)
    with pytest.raises(CorruptStoreError, match="damaged"):
        await file.open()


async def test_another_process_that_holds_the_write_lock_makes_the_store_busy(file):
    store = await file.open()
    await store.commit(unit("acme", "e1"))
    await store._writer.run(lambda: store._backend._execute("PRAGMA busy_timeout = 50"))
    other = await file.open()
    await other._writer.run(lambda: other._backend._execute("BEGIN IMMEDIATE"))
    with pytest.raises(StoreBusyError):
        await store.commit(unit("acme", "e2"))
    await other._writer.run(lambda: other._backend._execute("ROLLBACK"))
    assert isinstance(await store.commit(unit("acme", "e2")), Committed)


@contextlib.contextmanager
def line_that_breaks(directory: Path, to: str, *, delivers: bool) -> Iterator[threading.Event]:
    """A socket in front of the server's that cuts the line at the first COMMIT after the event is set, before or behind it."""
    armed = threading.Event()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(directory / ".s.PGSQL.5432"))
    listening.listen()
    ends: list[socket.socket] = [listening]
    threads: list[threading.Thread] = []

    def carry(source: socket.socket, sink: socket.socket, *, watched: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if watched and b"COMMIT" in data and armed.is_set():
                    armed.clear()
                    source.shutdown(socket.SHUT_RDWR)
                    if delivers:
                        sink.sendall(data)
                        sink.shutdown(socket.SHUT_WR)
                    else:
                        sink.shutdown(socket.SHUT_RDWR)
                    return
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(to)
                ends.extend((client, server))
                for source, sink in ((client, server), (server, client)):
                    threads.append(threading.Thread(target=carry, args=(source, sink), kwargs={"watched": source is client}))
                    threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield armed
    finally:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in (accepting, *threads):
            thread.join()
        for end in ends:
            end.close()


@pytest.mark.postgres
@pytest.mark.parametrize("delivers", [True, False])
async def test_a_line_lost_while_committing_leaves_a_doubt_that_the_journal_settles(postgres_dsn, tmp_path, delivers):
    base, host = postgres_dsn.split("host=")
    with line_that_breaks(tmp_path, f"{host}/.s.PGSQL.5432", delivers=delivers) as armed:
        home = Home("postgres", f"{base}host={tmp_path}")
        store = await home.open()
        await store.commit(unit("acme", "e1"))
        armed.set()
        asked = unit("acme", "e2", writes=(put("c"),))
        with pytest.raises(StoreUncertainError):
            await store.commit(asked)
        assert isinstance(await store.commit(asked), Existing if delivers else Committed)
        assert await store.fsck() == ()
        await home.close()


@pytest.mark.postgres
async def test_a_session_that_the_server_ends_is_replaced_and_the_names_are_held_again(postgres_dsn):
    home = Home("postgres", postgres_dsn)
    store, other = await home.open(), await home.open()
    await store.register("gw-1")
    await store.commit(unit("acme", "e1"))
    ended = store._backend._connection.info.backend_pid
    home.sql(f"SELECT pg_terminate_backend({ended})")
    await until(lambda: (now := store._backend._connection) is not None and now.info.backend_pid not in (0, ended))
    async with asyncio.timeout(10):
        while not await other.alive("gw-1"):
            await asyncio.sleep(0.02)
    assert isinstance(await store.commit(unit("acme", "e2")), Committed)
    await home.close()


@pytest.mark.postgres
async def test_nothing_is_acknowledged_while_another_holds_this_process_name(postgres_dsn):
    home = Home("postgres", postgres_dsn)
    store, thief = await home.open(), await home.open()
    await store.register("gw-1")
    ended = store._backend._connection.info.backend_pid
    store._backend.rest = lambda: None  # the writer would take the name back before the thief
    home.sql(f"SELECT pg_terminate_backend({ended})")
    async with asyncio.timeout(10):
        while True:  # the ended session holds it for a moment longer
            with contextlib.suppress(StoreError):
                await thief.register("gw-1")
                break
            await asyncio.sleep(0.01)
    with pytest.raises(StoreError, match="nothing is recorded until it is held"):
        await store.commit(unit("acme", "e1"))
    assert await thief.tenants() == ()
    await thief.close()
    async with asyncio.timeout(10):
        while True:
            with contextlib.suppress(StoreError):
                await store.commit(unit("acme", "e1"))
                break
    await home.close()


@pytest.mark.postgres
async def test_a_server_that_would_forget_what_it_acknowledged_is_refused():
    server = Server(fsync="off")
    try:
        with pytest.raises(StoreError, match="`fsync = off`"):
            await Home("postgres", server.dsn()).open()
    finally:
        await asyncio.to_thread(server.remove)


@pytest.mark.postgres
async def test_a_database_that_defaults_to_forgetting_is_used_durably(postgres_dsn):
    home = Home("postgres", postgres_dsn)
    name = postgres_dsn.split("/")[3].split("?")[0]
    home.sql(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    store = await home.open()
    assert store._backend._connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
    await home.close()


@pytest.mark.postgres
async def test_a_server_that_does_not_answer_is_an_error_at_once(tmp_path):
    with pytest.raises(StoreError, match="does not answer"):
        await Home("postgres", f"postgresql://postgres@/any?host={tmp_path}").open()


async def test_an_error_of_ours_in_the_writer_stops_it_and_tells_nobody_that_anything_was_recorded(file):
    store = await file.open()
    store._backend._record = None
    with pytest.raises(StoreUncertainError, match="TypeError"):
        await store.commit(unit("acme", "e1"))
    with pytest.raises(StoreHaltedError):
        await store.commit(unit("acme", "e2"))
    assert await store.tenants() == ()


async def test_a_store_opened_twice_keeps_its_log_when_another_process_comes_and_goes(file):
    first, second = await file.open(), await file.open()  # a lock of the kernel goes when its process closes any handle of the file
    await first.commit(unit("acme", "a1"))
    process = start_writer(file, "visitor", "1")
    await asyncio.to_thread(process.communicate)
    assert process.returncode == 0
    for n in range(20):
        assert isinstance(await (first, second)[n % 2].commit(unit("acme", f"b{n}")), Committed)
    await file.close()
    last = await file.open()
    assert [each.id for each in await last.events("acme")] == ["a1", *(f"b{n}" for n in range(20))]
    assert await last.fsck() == ()
