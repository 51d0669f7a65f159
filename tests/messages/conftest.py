import pytest

from messages.post import Post


@pytest.fixture
def post(tmp_path, store_url):
    """A world with messages on each store."""
    made = Post(tmp_path, store_url)
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def on_sqlite(tmp_path):
    """A world with messages on SQLite, for what does not touch the store's own code."""
    made = Post(tmp_path, "sqlite:data/aegis.db")
    try:
        made.start()
        yield made
    finally:
        made.close()
