import pytest

from queues.work import work


@pytest.fixture
def q(tmp_path, store_url):
    """A world with queues, on each store."""
    with work(tmp_path, store_url) as made:
        yield made


@pytest.fixture
def on_sqlite(tmp_path):
    """A world with queues on SQLite, for what does not touch the store's own code."""
    with work(tmp_path) as made:
        yield made
