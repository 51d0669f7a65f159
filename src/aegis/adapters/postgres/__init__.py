"""The store in one PostgreSQL database (the extra `postgres` brings its driver)."""

from aegis.adapters.postgres.opening import open_store
from aegis.adapters.postgres.store import PostgresStore

__all__ = ["open_store", "PostgresStore"]
