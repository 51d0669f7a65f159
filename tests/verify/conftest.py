"""Places on both databases."""

import pytest
from tests.store.homes import Home

from verify.live import Place


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def place(request, tmp_path):
    where = str(tmp_path / "store.db") if request.param == "sqlite" else request.getfixturevalue("postgres_dsn")
    return Place(tmp_path, Home(request.param, where))
