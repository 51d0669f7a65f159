"""Stores and worlds on both databases."""

import pytest

from gateway.conftest import on_sqlite, w  # noqa: F401 - fixtures
from gateway.world import World
from store.conftest import home, store  # noqa: F401 - fixtures


@pytest.fixture
def records(tmp_path, store_url):
    """A world on each store whose tool `records.read` names its data subject: the person whose record is read."""
    made = World(tmp_path, store_url)
    (tmp_path / "aegis.toml").write_text(f'[store]\nurl = "{store_url}"\n')
    for path in tmp_path.glob("tenants/*/tools/records.read.yaml"):
        path.write_text(path.read_text().replace("  effect: read\n", "  effect: read\n  data_subject: id\n"))
    for path in tmp_path.glob("tenants/*/tools/pay.honours.yaml"):
        path.write_text(
            path.read_text().replace("    timeout_seconds: 1\n", "    timeout_seconds: 20\n")
        )  # a command runs meanwhile
    try:
        made.start()
        yield made
    finally:
        made.close()
