import pytest

from runs.flows import flows


@pytest.fixture
def f(tmp_path, store_url):
    """A world with the workflow `pay`, on each store."""
    with flows(tmp_path, store_url) as made:
        yield made
