"""One suite, two stores."""

import pytest
from tests.store.homes import Home


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def home(request, tmp_path):
    where = str(tmp_path / "store.db") if request.param == "sqlite" else request.getfixturevalue("postgres_dsn")
    place = Home(request.param, where)
    yield place
    await place.close()
