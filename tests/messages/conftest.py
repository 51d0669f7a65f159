import pytest

from messages.post import Post


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store_url(request):
    if request.param == "sqlite":
        return "sqlite:data/aegis.db"
    from tests.postgres_server import migrated_database

    return migrated_database()


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
