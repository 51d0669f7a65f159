from collections.abc import Iterator
from pathlib import Path

import pytest

from authority.agents import with_keys
from gateway.world import World


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def w(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A world on each store, in which every agent has a key of its own."""
    url = "sqlite:data/aegis.db"
    if request.param == "postgres":
        from tests.postgres_server import migrated_database

        url = migrated_database()
    yield from opened(tmp_path, url)


@pytest.fixture
def on_sqlite(tmp_path: Path) -> Iterator[World]:
    """The same on SQLite, for what does not touch the store's own code."""
    yield from opened(tmp_path, "sqlite:data/aegis.db")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One on SQLite for a whole module, for what is refused before anything is done."""
    yield from opened(tmp_path_factory.mktemp("shared"), "sqlite:data/aegis.db")


def opened(root: Path, url: str) -> Iterator[World]:
    made = World(root, url)
    try:
        with_keys(made)
        made.start()
        yield made
    finally:
        made.close()
