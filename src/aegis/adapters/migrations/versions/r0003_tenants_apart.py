"""Row-level security on PostgreSQL: a session reads and writes only the tenants that it named."""

from alembic import op

revision = "r0003"
down_revision = "r0002"
branch_labels = None
depends_on = None

TABLES = ("head", "event", "payload", "state", "data_key", "history")

# Each SELECT is asked once for a statement and not once for a row. A session that named nobody gets an error: '' is not an array.
_NAMED = """CASE (SELECT current_setting('aegis.tenants')) WHEN '*' THEN true
  ELSE tenant = ANY (COALESCE((SELECT CASE current_setting('aegis.tenants') WHEN '*' THEN '{}'
    ELSE current_setting('aegis.tenants') END::text[]), '{}'::text[])) END"""


def upgrade() -> None:
    """Guard every table that has a tenant; SQLite has no such thing, there each statement names its tenant."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for table in TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(f"DROP POLICY IF EXISTS named_tenants ON {table}")
        op.execute(f"CREATE POLICY named_tenants ON {table} USING ({_NAMED}) WITH CHECK ({_NAMED})")
