"""Stores and worlds on both databases."""

from collections.abc import AsyncIterator

import pytest
from tests.store.homes import Home

from aegis.journal.store import Store
from gateway.conftest import on_sqlite, store_url, w  # noqa: F401 - fixtures


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def home(request, tmp_path) -> AsyncIterator[Home]:
    where = str(tmp_path / "store.db") if request.param == "sqlite" else request.getfixturevalue("postgres_dsn")
    place = Home(request.param, where)
    yield place
    await place.close()


@pytest.fixture
async def store(home) -> Store:
    return await home.open()
