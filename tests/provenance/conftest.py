from gateway.conftest import on_sqlite, store_url, w

__all__ = ["on_sqlite", "store_url", "w"]
