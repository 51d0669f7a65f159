"""PostgreSQL keeps rows of tenants apart even when a statement forgets its tenant."""

import asyncio
from contextlib import closing, contextmanager

import psycopg
import pytest
from msgspec.structs import replace
from psycopg.conninfo import make_conninfo
from tests.store.homes import BEFORE_EVIDENCE, START, Home, event, put, sealed

from aegis.adapters.postgres import tenancy
from aegis.adapters.postgres.connection import connect_reader
from aegis.errors import ConfigError, StoreError
from aegis.journal.unit import Committed, Unit
from aegis.model.history import Entry, Phase

pytestmark = pytest.mark.postgres

TABLES = ("data_key", "event", "head", "history", "payload", "posting", "state", "tile")
WITHOUT_TENANT = {"alembic_version", "noise"}
TENANTS = ("acme", "globex")
_HAS_TENANT = """SELECT c.relname, EXISTS (SELECT 1 FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant')
  FROM pg_class c WHERE c.relkind IN ('r', 'p', 'm', 'v', 'f') AND c.relnamespace = 'public'::regnamespace"""


@pytest.fixture
async def home(postgres_dsn):
    """A database in which both tenants have a row of the same ids in every table."""
    place = Home("postgres", postgres_dsn)
    store = await place.open()
    for tenant in TENANTS:
        await store.data_key(tenant, "", ("key_1", b"wrapped"))
        assert isinstance(await store.commit(whole(tenant)), Committed)
        await store.put_tiles(tenant, {(0, 0): bytes(8192)})
        place.sql(f"INSERT INTO posting (tenant, field, value, block, places) VALUES ('{tenant}', 'tool', 'pay', 0, '')")
    yield place
    await place.close()


def whole(tenant):
    entry = Entry(id="req_1", tool="pay", at=START, phase=Phase.OPEN, agent="agent:a")
    return Unit(
        tenant=tenant,
        events=(event(tenant, "ev_1"),),
        payloads=(sealed("ev_1"),),
        writes=(put("call_1", state="open", lookup="agent:a"),),
        remember=(entry,),
    )


@contextmanager
def session(dsn, *tenants):
    """A session of the product's own kind, in a transaction that has named these tenants."""
    with closing(connect_reader(dsn)) as connection, connection.transaction():
        if tenants:
            connection.execute(*tenancy.naming(tenants))
        yield connection


def tables_with_a_tenant(dsn):
    with psycopg.connect(dsn) as connection:
        found = dict(connection.execute(_HAS_TENANT).fetchall())
    assert {table for table, has in found.items() if not has} == WITHOUT_TENANT, "does the new table hold rows of tenants?"
    return sorted(table for table, has in found.items() if has)


async def test_every_table_with_a_tenant_is_guarded_even_against_its_owner(home):
    assert tuple(tables_with_a_tenant(home.where)) == TABLES, "give the new table the policy in its revision, then add it here"
    with psycopg.connect(home.where) as connection:
        for table in TABLES:
            flags = connection.execute(
                "SELECT relrowsecurity, relforcerowsecurity FROM pg_class WHERE oid = %s::regclass", (table,)
            ).fetchone()
            policies = connection.execute(
                "SELECT policyname, permissive, roles::text, cmd, qual = with_check FROM pg_policies WHERE tablename = %s", (table,)
            ).fetchall()
            assert (flags, policies) == ((True, True), [("named_tenants", "PERMISSIVE", "{public}", "ALL", True)]), table


@pytest.mark.parametrize("table", TABLES)
async def test_a_statement_without_its_tenant_sees_nothing_of_another(home, table):
    with session(home.where, "acme") as connection:
        assert connection.execute(f"SELECT tenant FROM {table}").fetchall() == [("acme",)]
        assert connection.execute(f"SELECT count(*) FROM {table} WHERE tenant = 'globex'").fetchall() == [(0,)]
    with session(home.where, *TENANTS) as connection:
        assert connection.execute(f"SELECT tenant FROM {table} ORDER BY 1").fetchall() == [("acme",), ("globex",)]


@pytest.mark.parametrize("table", TABLES)
async def test_a_statement_cannot_write_into_another_tenant(home, table):
    with session(home.where, "acme") as connection:
        assert connection.execute(f"UPDATE {table} SET tenant = tenant WHERE tenant = 'globex'").rowcount == 0
        assert connection.execute(f"DELETE FROM {table} WHERE tenant = 'globex'").rowcount == 0
    with pytest.raises(psycopg.errors.InsufficientPrivilege), session(home.where, "acme") as connection:
        connection.execute(f"UPDATE {table} SET tenant = 'initech'")
    with pytest.raises(psycopg.errors.InsufficientPrivilege), session(home.where, "acme") as connection:
        connection.execute(
            f'INSERT INTO {table} SELECT r.* FROM {table} t, jsonb_populate_record(t, \'{{"tenant": "initech"}}\') r'
        )
    with session(home.where, *TENANTS) as connection:
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchall() == [(2,)]


@pytest.mark.parametrize("table", TABLES)
async def test_a_session_that_named_nobody_gets_an_error_and_no_empty_answer(home, table):
    with pytest.raises(psycopg.Error, match=r"aegis\.tenants"), session(home.where) as connection:
        connection.execute(f"SELECT * FROM {table}")
    with closing(connect_reader(home.where)) as connection:
        with connection.transaction():
            connection.execute(*tenancy.naming(["acme"]))
        with pytest.raises(psycopg.Error, match="malformed array"):  # what was named ended with its transaction
            connection.execute(f"SELECT * FROM {table}")


async def test_what_the_store_named_does_not_outlive_its_reading(home):
    store = await home.open()
    assert await store.rows("acme", [("call", "call_1")])
    assert await store.tenants() == TENANTS
    with pytest.raises(StoreError):
        await store._readers.read(lambda connection: connection.execute("SELECT * FROM event").fetchall())
    await store.commit(Unit(tenant="acme", events=(event("acme", "ev_2"),)))
    with pytest.raises(StoreError):
        await store._writer.run(lambda: store._backend._connection.execute("SELECT * FROM event").fetchall())


async def test_a_tenant_called_star_is_not_everybody(home):
    store = await home.open()
    assert isinstance(await store.commit(replace(whole("*"), payloads=())), Committed)
    assert [row.tenant for row in await store.find("*", "call")] == ["*"]
    with session(home.where, "*") as connection:
        assert connection.execute("SELECT tenant FROM head").fetchall() == [("*",)]


@pytest.mark.parametrize("name", ["a,b", 'a"b', "a{}b", "a\\b", "NULL", "", " "])
async def test_a_name_is_one_name_whatever_characters_it_has(home, name):
    with session(home.where, name) as connection:
        assert connection.execute("SELECT tenant FROM head").fetchall() == []
    with session(home.where, name, "acme") as connection:
        assert connection.execute("SELECT tenant FROM head").fetchall() == [("acme",)]


@pytest.mark.parametrize(
    "damage",
    [
        "ALTER TABLE payload DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE history NO FORCE ROW LEVEL SECURITY",
        "DROP POLICY named_tenants ON event",
        "CREATE TABLE fresh (tenant text)",
    ],
)
async def test_a_table_whose_guard_was_taken_away_stops_the_start(home, damage):
    home.sql(damage)
    with pytest.raises(StoreError, match="not kept apart by tenant"):
        await home.open()


async def test_a_superuser_becomes_a_role_that_the_policies_hold(home):
    with session(home.where) as connection:
        assert connection.execute("SELECT session_user, current_user").fetchall() == [("postgres", tenancy.ROLE)]
        assert connection.execute("SELECT rolcanlogin FROM pg_roles WHERE rolname = current_user").fetchall() == [(False,)]


def as_role(dsn, role, options):
    """The DSN of `dsn`'s database for a new role that owns it."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"DROP ROLE IF EXISTS {role}")
        connection.execute(f"CREATE ROLE {role} LOGIN {options}")
        connection.execute(f'ALTER DATABASE "{name}" OWNER TO {role}')
        connection.execute(f"GRANT ALL ON SCHEMA public TO {role}")
        for (table,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall():
            connection.execute(f"ALTER TABLE {table} OWNER TO {role}")
    return make_conninfo(dsn, user=role)


async def test_the_owner_of_the_tables_is_held_by_the_policies_too(postgres_dsn):
    place = Home("postgres", as_role(postgres_dsn, f"owner_{id(postgres_dsn)}", ""))
    store = await place.open()
    for tenant in TENANTS:
        await store.commit(whole(tenant))
    with session(place.where, "acme") as connection:
        ((who,),) = connection.execute("SELECT current_user").fetchall()
        assert who.startswith("owner_")
        assert connection.execute("SELECT tenant FROM event").fetchall() == [("acme",)]
    assert [finding.text for finding in await store.fsck()] == ["its data key was never known"] * 2
    await place.close()


async def test_a_role_that_bypasses_the_policies_and_cannot_leave_them_is_refused(postgres_dsn):
    home = Home("postgres", postgres_dsn)
    await home.open()
    await home.close()
    role = f"bypass_{id(home)}"
    lent = as_role(postgres_dsn, role, "BYPASSRLS")
    with pytest.raises(ConfigError, match="without SUPERUSER and BYPASSRLS"):
        await Home("postgres", lent).open()
    with psycopg.connect(postgres_dsn, autocommit=True) as connection:
        connection.execute(f"GRANT {tenancy.ROLE} TO {role}")
    again = Home("postgres", lent)
    store = await again.open()
    assert await store.tenants() == ()
    await again.close()


async def test_a_database_without_guards_gets_them_and_keeps_its_rows(home):
    home.sql(
        *(f"DROP POLICY named_tenants ON {table}" for table in TABLES),
        *(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY" for table in TABLES),
        *(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY" for table in TABLES),
        *BEFORE_EVIDENCE,
        "UPDATE alembic_version SET version_num = 'r0002'",
    )
    store = await home.open()
    for tenant in TENANTS:
        assert [found.id for found in await store.events(tenant)] == ["ev_1"]
    with session(home.where, "acme") as connection:
        assert connection.execute("SELECT tenant FROM event").fetchall() == [("acme",)]


async def test_groups_of_many_tenants_are_committed_together(home):
    store = await home.open()
    units = [Unit(tenant=f"t{n % 7}", events=(event(f"t{n % 7}", f"ev_{n}"),)) for n in range(70)]
    assert all(isinstance(said, Committed) for said in await asyncio.gather(*map(store.commit, units)))
    for tenant in range(7):
        assert [found.seq for found in await store.events(f"t{tenant}")] == list(range(10))


def test_a_gateway_serves_as_a_role_that_owns_its_tables_and_nothing_else(tmp_path):
    from tests.postgres_server import fresh_database

    from gateway.world import world

    with world(tmp_path, as_role(fresh_database(), "aegis_owner_of_tables", "NOSUPERUSER NOBYPASSRLS NOCREATEROLE")) as w:
        for tenant in TENANTS:
            token = w.token("agent:payer", tenant)
            assert w.call("pay.honours", {"amount": 5}, "k", token).status_code == 200
            held = w.call("pay.honours", {"amount": 1500}, "h", token).json()["approval_id"]
            assert w.approve(held, tenant=tenant).status_code == 200
            assert w.call("pay.honours", {"amount": 1500}, "h", token).status_code == 200
        w.revoke_token(w.token())
        assert [event["tenant"] for event in w.events()] == ["acme"] * len(w.events())
        assert w.fsck() == []
