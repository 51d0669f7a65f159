"""A witness as a process of its own, and a log that it knows."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.witness.logs import Log, Running, log

Run = Callable[..., Running]


@pytest.fixture
def acme() -> Log:
    return log(10)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Starts witnesses; each `run(NAME, log, ...)` is one, and the same name again is a second process on the same directory."""
    started: list[Running] = []

    def start(name: str = "w1.example", *logs: Log, script: str = "") -> Running:
        started.append(Running(tmp_path / name, name, [each.verifier.vkey for each in logs], script=script))
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def w(run: Run, acme: Log) -> Running:
    return run("w1.example", acme)
