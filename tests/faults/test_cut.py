"""What lies under runs and beside them fails while they are under way: the disk, the database, the lines, a process in a call."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from tests.postgres_server import Server
from tests.store.test_store_faults import shim  # noqa: F401 - a fixture

from faults.kills import Gateway, free_port
from faults.runs import WORKFLOWS, Report, Starter, compare, settle, world_of
from faults.test_kills import url_of
from runs.flows import Flows

RUNS = 8
PATIENT = {
    name: text.replace("attempts: 5, backoff: 20ms", "attempts: 5, backoff: 300ms, jitter: none")
    for name, text in WORKFLOWS.items()
}


class Line:
    """A line from a socket that listens to wherever `to` connects; it can be cut and mended again."""

    def __init__(self, listening: socket.socket, to: Callable[[], socket.socket]) -> None:
        self._listening, self._to = listening, to
        self._ends: list[socket.socket] = []
        self._cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._cut = True
        for end in self._ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._ends.clear()

    def mend(self) -> None:
        self._cut = False

    def close(self) -> None:
        self.cut()
        self._listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                if self._cut:
                    client.close()
                    continue
                other = self._to()
                self._ends += [client, other]
                for pair in ((client, other), (other, client)):
                    threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


@contextlib.contextmanager
def worked(root: Path, store_url: str) -> Iterator[Flows]:
    made = world_of(root, store_url, PATIENT)
    try:
        yield made
    finally:
        made.close()


class Starts(Starter):
    """Begins a few runs of each kind."""

    def run(self) -> None:
        with httpx.Client(timeout=5) as http:
            for number in range(RUNS):
                name = sorted(WORKFLOWS)[number % len(WORKFLOWS)]
                self.begun.append((name, self._until_begun(http, name, f"k{number}")))


def starting(made: Flows, url: str) -> Starts:
    thread = Starts(made, [url], 0, threading.Event(), 0, Report())
    thread.start()
    return thread


def end(made: Flows, starts: Starts) -> None:
    """Wait until every run has ended, and compare the books."""
    starts.join(60)
    assert len(starts.begun) == RUNS
    settle(made, starts.begun)
    report = Report()
    asyncio.run(compare(made, starts.begun, report))
    assert report.wrong == []


def cut_again_and_again(line: Line) -> None:
    for _ in range(4):
        time.sleep(random.uniform(0.05, 0.3))
        line.cut()
        time.sleep(0.2)
        line.mend()


def test_runs_end_although_the_line_to_the_tools_is_cut_again_and_again(tmp_path):
    with worked(tmp_path, "sqlite:data/aegis.db") as made:
        listening = socket.create_server(("127.0.0.1", 0))
        line = Line(listening, lambda: socket.create_connection(("127.0.0.1", made.tool.port)))
        for path in (tmp_path / "tenants/acme/tools").iterdir():
            path.write_text(path.read_text().replace(f":{made.tool.port}", f":{listening.getsockname()[1]}"))
        gateway = Gateway(made, free_port())
        try:
            gateway.start()
            starts = starting(made, gateway.url)
            cut_again_and_again(line)
            end(made, starts)
        finally:
            gateway.kill()
            line.close()


@pytest.mark.postgres
def test_runs_end_although_the_line_to_the_database_is_cut_again_and_again(tmp_path):
    base, host = url_of("postgres").split("host=")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / ".s.PGSQL.5432"))
    listening.listen()

    def server() -> socket.socket:
        found = socket.socket(socket.AF_UNIX)
        found.connect(f"{host}/.s.PGSQL.5432")
        return found

    line = Line(listening, server)
    with worked(tmp_path, f"{base}host={tmp_path}") as made:
        gateway = Gateway(made, free_port())
        try:
            gateway.start()
            starts = starting(made, gateway.url)
            cut_again_and_again(line)
            end(made, starts)
        finally:
            gateway.kill()
            line.close()


@pytest.mark.postgres
def test_runs_end_although_the_database_dies_under_them_and_under_their_recovery(tmp_path):
    server = Server()
    try:
        with worked(tmp_path, server.fresh_database()) as made:
            gateway = Gateway(made, free_port())
            try:
                gateway.start()
                starts = starting(made, gateway.url)
                time.sleep(random.uniform(0.2, 0.6))
                server.kill()
                server.start()
                time.sleep(random.uniform(0.1, 0.4))
                gateway.kill()
                back = threading.Thread(target=again, args=(gateway,))
                back.start()
                time.sleep(random.uniform(0.3, 1.0))
                server.kill()
                server.start()
                back.join()
                end(made, starts)
            finally:
                gateway.kill()
    finally:
        server.remove()


def again(gateway: Gateway) -> None:
    """Start it, and start it again when it could not: an operator's supervisor."""
    while True:
        with contextlib.suppress(RuntimeError):
            return gateway.start()


SERVE = "from aegis.surfaces.cli.main import main; import sys; main(sys.argv[1:])"


def test_runs_go_on_when_a_disk_that_was_full_has_room_again(tmp_path, shim):  # noqa: F811 - the fixture
    (tmp_path / "faults").mkdir()
    full, port = tmp_path / "faults/full", free_port()
    with worked(tmp_path, "sqlite:data/store.db") as made:
        gateway = subprocess.Popen(
            [sys.executable, "-c", SERVE, "--dir", tmp_path, "up", "--port", str(port)],
            env={
                **os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "LD_PRELOAD": str(shim),
                "AEGIS_FAULTS": str(full.parent),
            },
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            starts = starting(made, f"http://127.0.0.1:{port}")
            while not made.tool.done:
                time.sleep(0.01)
            for _ in range(3):
                full.touch()
                time.sleep(random.uniform(0.1, 0.5))
                full.unlink()
                time.sleep(random.uniform(0.05, 0.2))
            end(made, starts)
            assert gateway.poll() is None
        finally:
            gateway.send_signal(signal.SIGTERM)
            gateway.wait(30)


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def test_a_process_that_stood_still_within_a_call_ends_it_and_nobody_repeats_it(tmp_path, kind):
    with worked(tmp_path, url_of(kind)) as made:
        with (tmp_path / "aegis.toml").open("a") as settings:
            settings.write("lease_seconds = 1\n")
        gateways = [Gateway(made, free_port()) for _ in range(2)]
        try:
            for gateway in gateways:
                gateway.start()
            made.tool.gate.clear()
            made.tool.mood = "wait"
            starts = starting(made, gateways[0].url)
            starts.join(60)
            while not made.tool.done:
                time.sleep(0.01)
            os.kill(gateways[0].pid, signal.SIGSTOP)
            made.tool.mood = "ok"
            time.sleep(3)
            made.tool.gate.set()
            os.kill(gateways[0].pid, signal.SIGCONT)
            end(made, starts)
        finally:
            for gateway in gateways:
                gateway.kill()
