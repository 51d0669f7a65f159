from collections.abc import AsyncIterator

import pytest
from tests.store.homes import KINDS, ready

from approvals.room import Room
from gateway.conftest import on_sqlite, w

__all__ = ["on_sqlite", "w"]


@pytest.fixture(params=[pytest.param(kind, marks=pytest.mark.postgres) if kind == "postgres" else kind for kind in KINDS])
async def room(request, tmp_path) -> AsyncIterator[Room]:
    home = ready(request.param, tmp_path)
    yield Room(await home.open(), tmp_path)
    await home.close()
