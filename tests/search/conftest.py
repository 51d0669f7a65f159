"""One journal of four blocks and a tail on each store."""

from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest
from tests.search.journals import TENANT, commit, events, run
from tests.store.homes import Home, ready

from aegis.journal.store import Store
from aegis.runtime.indexing import Indexer

COUNT = 4 * 1024 + 300


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def home(request, tmp_path) -> AsyncIterator[Home]:
    place = ready(request.param, tmp_path)
    yield place
    await place.close()


@pytest.fixture
async def store(home) -> Store:
    return await home.open()


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def journal(request, tmp_path_factory) -> Iterator[tuple[Store, list[dict]]]:
    """A store whose journal is indexed, but for its third block and its tail; and all bodies."""
    home = ready(request.param, tmp_path_factory.mktemp("search"))
    store = run(home.open())
    run(_filled(store))
    home.sql(f"DELETE FROM posting WHERE block = 2 AND tenant = '{TENANT}'")
    found = run(store.events(TENANT, limit=COUNT))
    yield store, [msgspec.json.decode(event.body) for event in found]
    run(home.close())


async def _filled(store: Store) -> None:
    await commit(store, events(COUNT))
    indexer = Indexer(store)
    while await indexer.turn():
        pass
