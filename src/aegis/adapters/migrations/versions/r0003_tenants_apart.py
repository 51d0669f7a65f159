"""Row-level security on PostgreSQL: a session reads and writes only the tenants that it named."""

from aegis.adapters.migrations.tenancy import guard

revision = "r0003"
down_revision = "r0002"
branch_labels = None
depends_on = None

TABLES = ("head", "event", "payload", "state", "data_key", "history")


def upgrade() -> None:
    """Guard every table that has a tenant."""
    guard(TABLES)
