import pytest

from gateway.world import world


@pytest.fixture
def w(tmp_path, store_url):
    """A world on each store."""
    with world(tmp_path, store_url) as made:
        yield made


@pytest.fixture
def on_sqlite(tmp_path):
    """A world on SQLite, for what does not touch the store's own code."""
    with world(tmp_path) as made:
        yield made
