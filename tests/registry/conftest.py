from gateway.conftest import on_sqlite, w

__all__ = ["on_sqlite", "w"]
