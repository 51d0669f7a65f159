"""One suite, two stores."""

from collections.abc import AsyncIterator

import pytest
from tests.postgres_server import fresh_database
from tests.store.homes import Home, ready

from aegis.journal.store import Store


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def home(request, tmp_path) -> AsyncIterator[Home]:
    place = ready(request.param, tmp_path)
    yield place
    await place.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def unmade(request, tmp_path) -> AsyncIterator[Home]:
    """A home that no store has been opened in yet."""
    place = Home(request.param, str(tmp_path / "store.db") if request.param == "sqlite" else fresh_database())
    yield place
    await place.close()


@pytest.fixture
async def store(home) -> Store:
    return await home.open()
