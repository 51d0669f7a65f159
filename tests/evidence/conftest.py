"""One suite, two stores."""

import pytest
from tests.store.homes import ready


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def home(request, tmp_path):
    place = ready(request.param, tmp_path)
    yield place
    await place.close()
