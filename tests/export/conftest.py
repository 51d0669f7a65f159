import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.export import receiver
from tests.store.homes import ready

from aegis.adapters.push import HttpReceiver
from aegis.runtime.clock import Clock
from aegis.runtime.exporting import Exporter


class Far:
    """The far end: a process that can be killed and comes back at the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "received.jsonl"
        self.moods = folder / "mood.json"
        self.port = 0
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [sys.executable, receiver.__file__, str(self.port), str(self.log), str(self.moods)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process.stdout.close()
            self.process = None

    def mood(self, **mood: object) -> None:
        temporary = self.moods.with_suffix(".new")
        temporary.write_text(json.dumps(mood))
        temporary.rename(self.moods)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/in"

    def requests(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def records(self) -> list[dict[str, object]]:
        """What was acknowledged, in the order in which it came."""
        return [json.loads(line) for each in self.requests() if each["status"] == 200 for line in each["body"].splitlines()]


@pytest.fixture
def far(tmp_path):
    made = Far(tmp_path)
    made.start()
    yield made
    made.kill()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def home(request, tmp_path):
    place = ready(request.param, tmp_path)
    yield place
    await place.close()


@pytest.fixture
async def exporter(far, home):
    """Makes exporters to the far end; each has a store and an instance of its own."""
    receivers = []

    async def make(instance="one", **options):
        store, clock = await home.open(), Clock()
        await store.register(instance)
        receivers.append(HttpReceiver(far.url, None, clock.now, seconds=5))
        options = {"form": "jsonl", "most": 10, "first_pause": 0.01, **options}
        return Exporter(store, clock, receivers[-1], instance=instance, **options)

    yield make
    for each in receivers:
        await each.close()
