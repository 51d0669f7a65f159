import pytest

from gateway.world import world


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def w(tmp_path, request):
    """A world on each store."""
    url = "sqlite:data/aegis.db"
    if request.param == "postgres":
        from tests.postgres_server import migrated_database

        url = migrated_database()
    with world(tmp_path, url) as made:
        yield made


@pytest.fixture
def on_sqlite(tmp_path):
    """A world on SQLite, for what does not touch the store's own code."""
    with world(tmp_path) as made:
        yield made
