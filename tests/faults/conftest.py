import pytest

from runs.flows import flows


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store_url(request):
    if request.param == "sqlite":
        return "sqlite:data/aegis.db"
    from tests.postgres_server import migrated_database

    return migrated_database()


@pytest.fixture
def f(tmp_path, store_url):
    """A world with the workflow `pay`, on each store."""
    with flows(tmp_path, store_url) as made:
        yield made
