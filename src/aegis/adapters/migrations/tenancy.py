"""The policy of row-level security that every table with a column `tenant` has on PostgreSQL."""

from collections.abc import Iterable

from alembic import op

# Each SELECT is asked once for a statement and not once for a row. A session that named nobody gets an error: '' is not an array.
_NAMED = """CASE (SELECT current_setting('aegis.tenants')) WHEN '*' THEN true
  ELSE tenant = ANY (COALESCE((SELECT CASE current_setting('aegis.tenants') WHEN '*' THEN '{}'
    ELSE current_setting('aegis.tenants') END::text[]), '{}'::text[])) END"""


def guard(tables: Iterable[str]) -> None:
    """Guard these tables; SQLite has no such thing, there each statement names its tenant."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for table in tables:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"DROP POLICY IF EXISTS named_tenants ON {table}")
        op.execute(f"CREATE POLICY named_tenants ON {table} USING ({_NAMED}) WITH CHECK ({_NAMED})")
