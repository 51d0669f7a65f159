import json

import pytest

from gateway.conftest import on_sqlite, w
from gateway.test_two_processes import Second

__all__ = ["on_sqlite", "w"]


@pytest.fixture
def pair(w):
    """Two gateways over the same files and the same store; the command works beside them."""
    (w.root / "aegis.toml").write_text(f"[store]\nurl = {json.dumps(w.settings.store.url)}\n")
    second = Second(w)
    second.start()
    try:
        yield w, second
    finally:
        second.stop()
