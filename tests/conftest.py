"""What every test may ask for."""

import pytest


@pytest.fixture
def postgres_dsn() -> str:
    """An empty database on a real PostgreSQL server, which is started when the first test asks and ends with the process."""
    from tests.postgres_server import fresh_database

    return fresh_database()
