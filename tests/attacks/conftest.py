from authority.conftest import on_sqlite, shared, w

__all__ = ["on_sqlite", "shared", "w"]
