import pytest

from gates.plans import GATES
from gateway.world import TENANTS, World


@pytest.fixture
def w(tmp_path, store_url):
    """A world on each store in which plans are weighed."""
    made = World(tmp_path, store_url)
    prepare(made)
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def on_sqlite(tmp_path):
    made = World(tmp_path, "sqlite:data/aegis.db")
    prepare(made)
    try:
        made.start()
        yield made
    finally:
        made.close()


def prepare(made):
    for tenant in TENANTS:
        home = made.root / "tenants" / tenant
        (home / "gates.yaml").write_text(GATES.format(tenant=tenant))
