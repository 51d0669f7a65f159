"""One journal of four blocks and a tail on each store."""

from collections.abc import Iterator

import msgspec
import pytest
from tests.search.journals import TENANT, commit, events, run
from tests.store.homes import ready

from aegis.journal.store import Store
from aegis.runtime.indexing import Indexer
from store.conftest import home, store  # noqa: F401 - fixtures

COUNT = 4 * 1024 + 300


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def journal(request, tmp_path_factory) -> Iterator[tuple[Store, list[dict]]]:
    """A store whose journal is indexed, but for its third block and its tail; and all bodies."""
    place = ready(request.param, tmp_path_factory.mktemp("search"))
    opened = run(place.open())
    run(_filled(opened))
    place.sql(f"DELETE FROM posting WHERE block = 2 AND tenant = '{TENANT}'")
    found = run(opened.events(TENANT, limit=COUNT))
    yield opened, [msgspec.json.decode(event.body) for event in found]
    run(place.close())


async def _filled(empty: Store) -> None:
    await commit(empty, events(COUNT))
    indexer = Indexer(empty)
    while await indexer.turn():
        pass
