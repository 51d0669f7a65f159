"""Row-level security: a session of this product sees and writes only the tenants that it has named, whatever a statement says.

Every table with a column `tenant` has the policy `named_tenants`, which is forced, so that it holds for the tables' owner too. A
transaction names its tenants in the setting `aegis.tenants`: an array of names, or `*` for work of the whole system (`tenants`,
`latest`, `forget`, `fsck`). The setting ends with the transaction, and it travels in the same round trip as the statements. A
session that has named nobody gets an error and never an empty answer: that could be taken for "nothing is revoked".

PostgreSQL asks no policy when the role is a superuser or has `BYPASSRLS`. A session that begins as such a role becomes `ROLE`,
which has neither and which opening makes. All this stops the statement of ours that forgot its tenant. It cannot stop a statement
of an attacker's own making: whoever can run any SQL in our session can name any tenant.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import psycopg
from psycopg import Connection, sql

from aegis.errors import ConfigError, StoreError

ROLE = "aegis_gateway"
POLICY = "named_tenants"

Naming = tuple[str, Sequence[Any]]

_NAME = "SELECT set_config('aegis.tenants', %b::text[]::text, true)"
EVERY: Naming = ("SELECT set_config('aegis.tenants', '*', true)", ())
"""The statement by which a transaction names all tenants: for work of the whole system only."""

_BYPASSES = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
_TABLES = """SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity AND EXISTS (
    SELECT 1 FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname = %s)
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant' AND NOT a.attisdropped
  WHERE c.relkind IN ('r', 'p') AND c.relnamespace = current_schema()::regnamespace ORDER BY c.relname"""
_OWN = """SELECT c.relname FROM pg_class c WHERE c.relkind IN ('r', 'p') AND c.relnamespace = current_schema()::regnamespace
  AND c.relname = ANY(%s) AND EXISTS (SELECT 1 FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) k
    WHERE NOT has_table_privilege(%s, c.oid, k))"""
_MAKE_ROLE = f"""DO $$ BEGIN
  CREATE ROLE {ROLE} NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$"""


def naming(tenants: Collection[str]) -> Naming:
    """The statement by which a transaction names the tenants that it is about; one called `*` is only that one."""
    return _NAME, [list(tenants)]


def confine(connection: Connection) -> None:
    """Make sure that the policies hold for this session.

    Raises:
        ConfigError: Its role bypasses them, and there is no role that it could become instead.
    """
    if not _bypasses(connection):
        return
    try:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(ROLE)))
    except psycopg.errors.Error as error:
        raise _refusal(connection) from error
    if _bypasses(connection):
        raise ConfigError(f"the role `{ROLE}` bypasses row-level security: run ALTER ROLE {ROLE} NOSUPERUSER NOBYPASSRLS")


def prepare(connection: Connection, tables: Iterable[str]) -> None:
    """Let a session that bypasses the policies become `ROLE`: make it where need be, and grant it what the store does.

    Raises:
        ConfigError: The role of this session bypasses the policies but may not do that.
        StoreError: A table holds rows of tenants without the policy.
    """
    for table, guarded in connection.execute(_TABLES, (POLICY,)).fetchall():
        if not guarded:
            raise StoreError(f"table `{table}` has no forced policy `{POLICY}`: its rows are not kept apart by tenant; restore it")
    if not _bypasses(connection):
        return
    try:
        _grant(connection, sorted(tables))
    except psycopg.errors.InsufficientPrivilege as error:
        raise _refusal(connection) from error


def _grant(connection: Connection, tables: list[str]) -> None:
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (ROLE,)).fetchone() is None:
        connection.execute(_MAKE_ROLE)
    member = connection.execute("SELECT pg_has_role(current_user, %s, 'MEMBER')", (ROLE,)).fetchone()
    if member != (True,):
        connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(sql.Identifier(ROLE)))
    schema = connection.execute("SELECT current_schema()").fetchone()
    assert schema is not None
    wanting = [table for (table,) in connection.execute(_OWN, (tables, ROLE)).fetchall()]
    if wanting:
        role, place = sql.Identifier(ROLE), sql.Identifier(schema[0])
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(place, role))
        named = sql.SQL(", ").join(sql.Identifier(schema[0], table) for table in wanting)
        connection.execute(sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO {}").format(named, role))


def _bypasses(connection: Connection) -> bool:
    return connection.execute(_BYPASSES).fetchone() == (True,)


def _refusal(connection: Connection) -> ConfigError:
    user = connection.info.user
    return ConfigError(
        f"the role `{user}` of `store.url` bypasses row-level security, and cannot become `{ROLE}`, which does not: connect as a"
        f" role without SUPERUSER and BYPASSRLS, or let an administrator run CREATE ROLE {ROLE} NOLOGIN; GRANT {ROLE} TO {user};"
        f" and grant it SELECT, INSERT, UPDATE, DELETE on the tables"
    )
