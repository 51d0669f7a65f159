import pytest

from queues.work import work


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store_url(request):
    if request.param == "sqlite":
        return "sqlite:data/aegis.db"
    from tests.postgres_server import migrated_database

    return migrated_database()


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
