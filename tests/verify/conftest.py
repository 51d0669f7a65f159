"""Places on both databases."""

import pytest
from tests.store.homes import ready

from verify.live import Place


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def place(request, tmp_path):
    return Place(tmp_path, ready(request.param, tmp_path))
