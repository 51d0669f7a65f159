import msgspec
import pytest

from aegis.settings import TelemetrySettings
from messages.post import Post
from telemetry.collector import Collector


@pytest.fixture
def collector():
    made = Collector()
    yield made
    made.close()


def world(root, url, otlp_url=""):
    made = Post(root, url)
    telemetry = TelemetrySettings(otlp_url=otlp_url, metrics_seconds=1)
    made.settings = msgspec.structs.replace(made.settings, telemetry=telemetry)
    return made


@pytest.fixture
def traced(tmp_path, collector):
    """A whole gateway that exports to `collector`."""
    made = world(tmp_path, "sqlite:data/aegis.db", collector.url)
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def quiet(tmp_path, store_url):
    """A whole gateway on each store that exports nothing."""
    made = world(tmp_path, store_url)
    try:
        made.start()
        yield made
    finally:
        made.close()
