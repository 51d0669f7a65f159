"""Every way in which a store can contradict itself is found, with tenant and place."""

from pathlib import Path

import pytest
from tests.store.homes import BEFORE_EVIDENCE, START, event, put, sealed, unit

from aegis.adapters import fsck, migrate, schema
from aegis.adapters.fsck import MAX_FINDINGS, check
from aegis.crypto.digest import sha256
from aegis.errors import CorruptStoreError, StoreError
from aegis.journal.unit import Unit
from aegis.model.history import Entry, Phase


def raw(kind: str, text: str) -> str:
    """Bytes as the dialect writes them."""
    return f"X'{text.encode().hex()}'" if kind == "sqlite" else f"'\\x{text.encode().hex()}'::bytea"


ODD = '{"v": 1}'
DAMAGE = {
    "a body that is not canonical": (
        f"UPDATE event SET body = RAW({ODD}), digest = '{sha256(ODD.encode())}' WHERE tenant = 'acme' AND seq = 1",
        "acme",
        "event 1",
        "not canonical",
    ),
    "a digest of something else": (
        f"UPDATE event SET digest = '{sha256(b'x')}' WHERE tenant = 'acme' AND seq = 1",
        "acme",
        "event 1",
        "digest",
    ),
    "a moved event": (
        "UPDATE event SET tenant = 'globex', seq = 1 WHERE tenant = 'acme' AND seq = 2",
        "globex",
        "event 1",
        "`tenant`",
    ),
    "another number": ("UPDATE event SET seq = 7 WHERE tenant = 'acme' AND seq = 2", "acme", "event 7", "`seq`"),
    "a gap": ("DELETE FROM event WHERE tenant = 'acme' AND seq = 1", "acme", "event 2", "gap"),
    "a cut tail": ("DELETE FROM event WHERE tenant = 'acme' AND seq = 3", "acme", "head", "4 events"),
    "a lost head": ("DELETE FROM head WHERE tenant = 'acme'", "acme", "head", "0 events"),
    "a head beyond the end": ("UPDATE head SET next = 9 WHERE tenant = 'globex'", "globex", "head", "9 events"),
    "a wrong latest time": ("UPDATE head SET latest = 0 WHERE tenant = 'acme'", "acme", "head", "latest"),
    "another type": ("UPDATE event SET type = 'outcome' WHERE tenant = 'acme' AND seq = 0", "acme", "event 0", "`type`"),
    "another time": ("UPDATE event SET time = time + 1 WHERE tenant = 'acme' AND seq = 0", "acme", "event 0", "`time`"),
    "another request": ("UPDATE event SET request_id = 'x' WHERE tenant = 'acme' AND seq = 0", "acme", "event 0", "`request_id`"),
    "another id": ("UPDATE event SET id = 'x' WHERE tenant = 'acme' AND seq = 1", "acme", "event 1", "`id`"),
    "a row that is not JSON": ("UPDATE state SET body = RAW({) WHERE id = 'c1'", "acme", "row call/c1", "not JSON"),
    "a row without a version": ("UPDATE state SET version = 0 WHERE id = 'c1'", "acme", "row call/c1", "version 0"),
    "a payload without its event": ("UPDATE payload SET event_id = 'x'", "acme", "payload x/arguments", "no such event"),
    "a payload of another tenant": ("UPDATE payload SET tenant = 'globex'", "globex", "payload e0/arguments", "no such event"),
    "a key that was never known": ("UPDATE payload SET key_id = 'x'", "acme", "payload e0/arguments", "data key"),
    "a phase that is none": ("UPDATE history SET phase = 'x' WHERE id = 'h1'", "acme", "history h1", "phase"),
    "a time before 1970": ("UPDATE history SET at = -1 WHERE id = 'h1'", "acme", "history h1", "1970"),
    "a field that is neither string nor integer": (
        """UPDATE history SET fields = '{"n": 1.5}' WHERE id = 'h1'""",
        "acme",
        "history h1",
        "strings and integers",
    ),
    "fields that are no object": ("UPDATE history SET fields = '[]' WHERE id = 'h1'", "acme", "history h1", "object"),
    "an empty key": ("UPDATE data_key SET wrapped = RAW()", "acme", "data key key_1", "empty"),
}


async def fill(store):
    await store.data_key("acme", "", ("key_1", b"wrapped"))
    await store.commit(Unit(tenant="acme", events=(event("acme", "e0"),), payloads=(sealed("e0"),), writes=(put("c1"),)))
    await store.commit(unit("acme", "e1", "e2", minutes=1))
    await store.commit(unit("globex", "f0"))
    remembered = Entry(id="h1", tool="pay", at=START, phase=Phase.OPEN, fields={"n": 1, "s": "x"})
    await store.commit(Unit(tenant="acme", events=(event("acme", "e3"),), remember=(remembered,)))


@pytest.mark.parametrize("name", DAMAGE)
async def test_a_store_that_contradicts_itself_is_found_out(store, home, name):
    statement, tenant, place, words = DAMAGE[name]
    await fill(store)
    assert await store.fsck() == ()
    before, _, behind = statement.partition("RAW(")
    text, _, rest = behind.partition(")")
    home.sql(before + (raw(home.kind, text) + rest if behind else ""))
    found = await store.fsck()
    assert any((each.tenant, each.place) == (tenant, place) and words in each.text for each in found), found


async def test_a_damaged_end_is_not_opened_but_for_fsck(store, home):
    await fill(store)
    await store.close()
    home.sql("DELETE FROM event WHERE tenant = 'acme' AND seq = 3")
    with pytest.raises(CorruptStoreError, match=r"`acme`.*4 events.*3"):
        await home.open()
    found = await (await home.open(check=False)).fsck()
    assert [each.place for each in found] == ["head"]


async def test_the_last_event_is_looked_at_when_a_store_is_opened(store, home):
    await fill(store)
    await store.close()
    home.sql(f"UPDATE event SET digest = '{sha256(b'x')}' WHERE tenant = 'acme' AND seq = 3")
    with pytest.raises(CorruptStoreError, match="event 3"):
        await home.open()


async def test_damaged_pages_are_findings_and_not_a_crash(tmp_path):
    from tests.store.homes import Home

    home = Home("sqlite", str(tmp_path / "store.db"))
    store = await home.open()
    for n in range(40):
        await store.commit(unit("acme", f"e{n}", filler="x" * 2_000))
    await store.close()
    content = bytearray(Path(home.where).read_bytes())
    content[-8_192:] = b"\xa5" * 8_192
    Path(home.where).write_bytes(content)
    store = await home.open(check=False)
    assert await store.fsck()
    await home.close()


def test_only_so_many_findings_are_told():
    class Ruin:
        def damage(self):
            return (f"page {n}" for n in range(10 * MAX_FINDINGS))

    found = check(Ruin())
    assert len(found) == MAX_FINDINGS + 1
    assert "more than" in found[-1].text


async def test_a_store_of_a_newer_version_is_refused_and_left_alone(store, home):
    await fill(store)
    await store.close()
    home.sql("UPDATE alembic_version SET version_num = 'r9999'")
    with pytest.raises(StoreError, match=r"`r9999`.*upgrade aegis"):
        await home.open()
    assert home.sql("SELECT version_num FROM alembic_version") == [("r9999",)]


async def test_the_revisions_build_the_tables_that_are_described(store, home):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from sqlalchemy import create_engine

    url = f"sqlite:///{home.where}" if home.kind == "sqlite" else home.where.replace("postgresql:", "postgresql+psycopg:")
    engine = create_engine(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []
    engine.dispose()


def test_the_revision_of_the_code_is_the_head_of_the_history():
    from alembic.script import ScriptDirectory

    assert ScriptDirectory.from_config(migrate._config()).get_heads() == [schema.REVISION]


async def test_a_store_of_the_first_revision_is_brought_up_with_its_data(store, home):
    await store.data_key("acme", "", ("key_1", b"wrapped"))
    first = await store.commit(unit("acme", "e0", writes=(put("c1"),)))
    former = await store.heads()
    await store.close()
    home.sql(
        "DROP TABLE history",
        *BEFORE_EVIDENCE,
        "UPDATE alembic_version SET version_num = 'r0001'",
    )
    store = await home.open()
    assert await store.events("acme") == first.events
    assert await store.heads() == former
    remembered = Entry(id="h1", tool="pay", at=START, phase=Phase.OPEN)
    await store.commit(Unit(tenant="acme", events=(event("acme", "e1"),), remember=(remembered,)))
    assert await store.fsck() == ()
    assert home.sql("SELECT id FROM history") == [("h1",)]


async def test_a_store_that_stands_before_the_first_revision_is_brought_up(unmade):
    unmade.sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    store = await unmade.open()
    await fill(store)
    assert await store.fsck() == ()
    assert fsck.MAX_FINDINGS
