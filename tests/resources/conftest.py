import pytest

from resources.bank import Bank


def opened(path, url):
    made = Bank(path, url)
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def bank(tmp_path, store_url):
    """A world with a bank on each store."""
    yield from opened(tmp_path, store_url)


@pytest.fixture
def on_sqlite(tmp_path):
    """A world with a bank on SQLite, for what does not touch the store's own code."""
    yield from opened(tmp_path, "sqlite:data/aegis.db")
