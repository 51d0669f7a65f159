"""The store in one SQLite file: write-ahead log, synced at each commit, group commit."""

from aegis.adapters.sqlite.opening import open_store
from aegis.adapters.sqlite.store import SqliteStore

__all__ = ["open_store", "SqliteStore"]
