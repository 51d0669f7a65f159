"""Everything that an example runs: services, a gateway and agents, each a process, in one directory that can be thrown away.

The documents of an example name its services by ports that nothing listens on (`http://127.0.0.1:9301`). Here they are copied below
`tenants/`, with the ports that the services really got. Every agent and every person has a key of its own.
"""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from aegis.sdk.agent import Agent
from aegis.sdk.client import Client
from aegis.sdk.runs import ENDED

HERE = Path(__file__).parent
DOCUMENTS = ("directory.yaml", "policy.yaml", "data.yaml", "gates.yaml", "tools", "queues", "data", "workflows")
WIDTH = 80
PATIENCE_SECONDS = 120.0


class Stage:
    """The processes of one example. `example` is its directory, whose name is the tenant."""

    def __init__(self, example: Path, directory: Path, store: str = "") -> None:
        self.tenant = example.name
        self.directory = directory
        self.home = directory / "aegis"
        self.url = f"http://127.0.0.1:{_free_port()}"
        self._example = example
        self._store = store or "sqlite:data/aegis.db"
        self._ports: dict[str, str] = {}
        self._credentials: dict[str, str] = {}
        self._running: dict[str, subprocess.Popen[str]] = {}

    def service(self, name: str, told: int) -> None:
        """Start `services/NAME.py`; `told` is the port by which the documents call it."""
        credential = secrets.token_urlsafe(18)
        given = {"CREDENTIAL": credential, "LEDGER": str(self.directory / f"{name}.jsonl")}
        process = self._start(name, self._example / "services" / f"{name}.py", given, subprocess.PIPE)
        assert process.stdout is not None, "a service has its pipe"
        port = process.stdout.readline().strip()
        process.stdout.close()
        if not port.isdigit():
            raise SystemExit(f"the service `{name}` did not start:\n{self._last(name)}")
        self._ports[str(told)] = port
        self._credentials[f"{self.tenant}_{name}_token".upper()] = credential

    def open(self) -> None:
        """Write the working directory and its keys, and start the gateway."""
        target = self.home / "tenants" / self.tenant
        target.mkdir(parents=True)
        for name in DOCUMENTS:
            self._copy(self._example / name, target / name)
        port = self.url.rpartition(":")[2]
        settings = f'[gateway]\nhost = "127.0.0.1"\nport = {port}\n\n[store]\nurl = "{self._store}"\n\n[log]\nformat = "json"\n'
        (self.home / "aegis.toml").write_text(settings, "utf-8")
        self.aegis("keys", "new", "all", "--tenant", self.tenant)
        self.start_gateway()

    def start_gateway(self) -> None:
        """Start the gateway, and wait until it is ready."""
        process = self._start("gateway", "-m", self._credentials, subprocess.DEVNULL, "aegis", "--dir", str(self.home), "up")
        for _ in range(1200):
            if process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=2):  # noqa: S310 - our own URL
                    return
            except OSError:
                time.sleep(0.05)
        raise SystemExit(f"the gateway did not start:\n{self._last('gateway')}")

    def agent(self, module: str, agent_id: str, *, number: int = 1, **environment: str) -> str:
        """Start `agents/MODULE.py` as this agent, which has its own key; the name of the process."""
        name = f"{module}-{number}"
        given = {"AEGIS_URL": self.url, "AEGIS_TENANT": self.tenant, "AEGIS_AGENT": agent_id, "AEGIS_KEY": str(self.key(agent_id))}
        self._start(name, self._example / "agents" / f"{module}.py", given | environment, subprocess.DEVNULL)
        return name

    def kill(self, name: str) -> None:
        """End a process with SIGKILL: it has no time to say goodbye."""
        process = self._running.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def key(self, agent_id: str) -> Path:
        """Where the key of an agent lies."""
        return self.home / "keys" / "workload" / self.tenant / agent_id.replace(":", "-")

    def client(self, agent_id: str) -> Client:
        """A client that acts as this agent, by its key."""
        return Client(self.url, Agent(self.url, agent_id, tenant=self.tenant, key=self.key(agent_id)))

    def aegis(self, *words: str) -> str:
        """What `aegis` prints, in a process of its own, as for a person in another terminal."""
        done = subprocess.run(  # noqa: S603 - our own interpreter with our own words
            [sys.executable, "-m", "aegis", "--dir", str(self.home), *words],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, **self._credentials, "COLUMNS": str(WIDTH - 4)},
        )
        if done.returncode not in (0, 1, 4):
            raise SystemExit(f"aegis {' '.join(words)}: {done.stderr.strip()}")
        return (done.stdout or done.stderr).strip()

    def ledger(self, name: str) -> list[dict[str, Any]]:
        """What a service really did, from its own file."""
        path = self.directory / f"{name}.jsonl"
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []

    def close(self) -> None:
        """End every process that was started here."""
        for process in self._running.values():
            process.terminate()
        for process in self._running.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, name: str, program: Path | str, given: dict[str, str], stdout: int, *words: str) -> subprocess.Popen[str]:
        with (self.directory / f"{name}.log").open("a", encoding="utf-8") as log:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter with our own words
                [sys.executable, str(program), *words],
                stdout=stdout, stderr=log, text=True, env={**os.environ, "PYTHONPATH": _path(), **given}, start_new_session=True,
            )  # fmt: skip
        self._running[name] = process
        return process

    def _last(self, name: str) -> str:
        """The end of what a process wrote on its standard error."""
        return "\n".join((self.directory / f"{name}.log").read_text("utf-8").splitlines()[-5:])

    def _copy(self, source: Path, target: Path) -> None:
        if source.is_dir():
            target.mkdir()
            for each in source.iterdir():
                self._copy(each, target / each.name)
        elif source.exists():
            text = source.read_text("utf-8")
            for told, real in self._ports.items():
                text = text.replace(f"127.0.0.1:{told}", f"127.0.0.1:{real}")
            target.write_text(text, "utf-8")


@contextmanager
def staged(example: Path, *, store: str = "", keep: Path | None = None, kind: type[Stage] = Stage) -> Iterator[Stage]:
    """A stage in a directory of its own, which is removed with everything that ran unless `keep` names it."""
    directory = keep or Path(mkdtemp(prefix=f"aegis-{example.name}-"))
    directory.mkdir(parents=True, exist_ok=True)
    stage = kind(example, directory, store)
    try:
        yield stage
    finally:
        stage.close()
        if keep is None:
            shutil.rmtree(directory, ignore_errors=True)


def ends_cleanly() -> None:
    """SIGTERM ends this program as Ctrl-C does: everything that it started ends with it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def until(client: Client, run: str, holds: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    """Look at a run until this holds, or it has ended or is stuck."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        known: dict[str, Any] = client.run(run)["run"]
        if holds(known) or known["state"] in {*ENDED, "stuck"}:
            return known
        time.sleep(0.1)
    raise SystemExit(f"{run} takes too long; `aegis workflow show {run}` tells why")


def waits_for_people(known: dict[str, Any]) -> str:
    """The approval that the run waits for, if it does."""
    return next((found for step in known["steps"] if (found := step.get("waits", {}).get("approval_id"))), "")


def tell(*lines: str, indent: int = 2) -> None:
    """Lines for the reader, at 80 columns."""
    for text in lines:
        for line in text.splitlines() or [""]:
            deep = indent + len(line) - len(line.lstrip())
            wrapped = textwrap.wrap(line.strip(), WIDTH - deep, subsequent_indent="  ", break_on_hyphens=False)
            print("\n".join(" " * deep + each for each in wrapped), flush=True)  # noqa: T201 - the story


def expect(what: str, holds: bool) -> bool:
    """Say whether something holds."""
    tell(f"{'ok' if holds else 'NOT SO'}  {what}")
    return holds


def _path() -> str:
    return os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH", "")])])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
