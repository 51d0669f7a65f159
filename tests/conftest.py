"""What every test may ask for, and where tests put what they write."""

import functools
import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, settings

# How long something takes says nothing on a machine that does other things meanwhile.
settings.register_profile("aegis", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("aegis")
IN_MEMORY = Path("/dev/shm")
ROOM_BYTES = 4 << 30


def pytest_configure() -> None:
    """Put temporary files in memory where that has room, read certificate authorities once, and compile modules once.

    Everything here is written durably, so on a disk a test mostly waits for it; what survives the end of a process is the same in
    both places. A client of httpx reads every certificate authority when it is made, which takes longer than the request, and no
    test speaks TLS. A process that may not write down what it compiled compiles for a second, each time.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if "PYTEST_DEBUG_TEMPROOT" not in os.environ and _roomy(IN_MEMORY):
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(IN_MEMORY)
    httpx._transports.default.create_ssl_context = functools.cache(httpx.create_ssl_context)


def _roomy(place: Path) -> bool:
    """Whether files may be kept there, and programs of a database started from there."""
    try:
        found = os.statvfs(place)
    except OSError:
        return False
    usable = os.access(place, os.W_OK) and not found.f_flag & (os.ST_NOEXEC | os.ST_RDONLY)
    return usable and found.f_bavail * found.f_frsize >= ROOM_BYTES


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Drop the databases of a file when its last test has ended."""
    yield
    if nextitem is None or nextitem.path != item.path:
        from tests import postgres_server

        postgres_server.drop_databases()


@pytest.fixture
def postgres_dsn() -> str:
    """An empty database on a real PostgreSQL server, which is started when the first test asks and ends with the process."""
    from tests.postgres_server import fresh_database

    return fresh_database()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def store_url(request):
    """A new store of each kind, as settings name it."""
    if request.param == "sqlite":
        return "sqlite:data/aegis.db"
    from tests.postgres_server import migrated_database

    return migrated_database()
