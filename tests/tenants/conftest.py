import pytest

from gateway.conftest import on_sqlite, w  # noqa: F401 - fixtures
from gateway.world import World


@pytest.fixture
def sealed(tmp_path, store_url):
    """A world on each store in which every tool of both tenants wants the sealed credential `bank`; nobody has set it yet."""
    made = World(tmp_path, store_url)
    (tmp_path / "aegis.toml").write_text(f'[store]\nurl = "{store_url}"\n')
    for path in tmp_path.glob("tenants/*/tools/*.yaml"):
        text = path.read_text().replace("file: tool.secret", "sealed: bank")
        wanted = "timeout_seconds: 1, credential: {header: x-api-key, sealed: bank}}"
        path.write_text(text.replace("timeout_seconds: 1}", wanted))
    try:
        made.start()
        yield made
    finally:
        made.close()
