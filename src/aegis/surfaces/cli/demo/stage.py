"""The stage of the demo: tool servers, the gateway and agents as processes, and everything they leave behind."""

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.resources import files
from pathlib import Path
from typing import Any

from aegis.errors import ConfigError

TENANT = "acme"
TOOLS = ("payments", "records", "deploy", "orders")
KEYED = (
    "agent:front-desk", "agent:planner", "agent:treasurer", "agent:billing", "agent:sourcer", "agent:scorer", "agent:auditor",
)  # fmt: skip
_SETTINGS = """# Settings of the demo; every key is explained in the file that `aegis init` writes.
[gateway]
host = "127.0.0.1"
port = {port}
environment = "demo"

[evidence]
witness_url = "http://127.0.0.1:{witness}"
witness_key = "{witness_key}"

[log]
format = "json"
"""


class Agent:
    """One agent process with its own token, or (`environment`) with its own key."""

    def __init__(self, url: str, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "aegis.surfaces.cli.demo.agent"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "AEGIS_URL": url, **environment},
            start_new_session=True,  # Ctrl-C is for the narrator, who then ends everybody
        )

    def call(self, tool: str, arguments: dict[str, Any], **more: Any) -> dict[str, Any]:
        """Call and wait for what came of it."""
        self.send(tool, arguments, **more)
        return self.receive()

    def send(self, tool: str, arguments: dict[str, Any], **more: Any) -> None:
        """Start a call."""
        self._write({"do": "call", "tool": tool, "arguments": arguments, **more})

    def do(self, what: str, **more: Any) -> dict[str, Any]:
        """Hand a task down (`delegate`), take one up (`take_up`) or end one (`end`), and wait for what came of it."""
        self._write({"do": what, **more})
        return self.receive()

    def _write(self, asked: dict[str, Any]) -> None:
        assert self._process.stdin is not None, "the agent has its pipes"
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        """What came of the call that was started."""
        assert self._process.stdout is not None, "the agent has its pipes"
        line = self._process.stdout.readline()
        if not line:
            raise ConfigError("an agent process of the demo ended early")
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(10)
        if self._process.stdout is not None:
            self._process.stdout.close()


class Stage:
    """Everything that runs, in one directory; `close` ends all of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.home = directory / "aegis"
        self.port = _free_port()
        self.witness_port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.pids: dict[str, int] = {}
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._credentials = {kind: secrets.token_urlsafe(18) for kind in TOOLS}
        self._agents: list[Agent] = []

    def open(self) -> None:
        """Start the tool servers, write the working directory with its keys, start the gateway."""
        ports = {kind: self._start_tool(kind) for kind in TOOLS}
        self._write_home(ports)
        self._start_witness()
        self.start_gateway()

    def start_gateway(self) -> None:
        """Start the gateway and wait until it says that it is ready."""
        log = (self.directory / "gateway.log").open("a", encoding="utf-8")
        credentials = {f"DEMO_{kind.upper()}_TOKEN": value for kind, value in self._credentials.items()}
        self._processes["gateway"] = subprocess.Popen(  # noqa: S603 - our own interpreter with our own words
            [sys.executable, "-m", "aegis", "--dir", str(self.home), "up"],
            stdout=log,
            stderr=log,
            text=True,
            env={**os.environ, **credentials},
            start_new_session=True,  # Ctrl-C is for the narrator, who then ends everybody
        )
        log.close()
        self.pids["gateway"] = self._processes["gateway"].pid
        self._await_ready()

    def kill_gateway(self) -> None:
        """SIGKILL: no time to say goodbye."""
        process = self._processes.pop("gateway")
        process.send_signal(signal.SIGKILL)
        process.wait()

    def stop_gateway(self) -> None:
        """SIGTERM: it finishes and seals what it has begun."""
        process = self._processes.pop("gateway")
        process.terminate()
        process.wait(60)

    def agent(self, token: str) -> Agent:
        """A new agent process that holds this token."""
        return self._started({"AEGIS_TOKEN": token})

    def keyed(self, agent_id: str) -> Agent:
        """A new agent process that holds the key of this agent, and gets its tokens by it."""
        home = self.home / "keys" / "workload" / TENANT / agent_id.replace(":", "-")
        key = max(home.glob("*.jwk.json"))
        return self._started({"AEGIS_AGENT": agent_id, "AEGIS_TENANT": TENANT, "AEGIS_KEY": str(key)})

    def worker(self, agent_id: str) -> None:
        """A new process of an agent that leases its tasks; it needs no pipes, and ends with the stage."""
        home = self.home / "keys" / "workload" / TENANT / agent_id.replace(":", "-")
        given = {
            "AEGIS_URL": self.url,
            "AEGIS_AGENT": agent_id,
            "AEGIS_TENANT": TENANT,
            "AEGIS_KEY": str(max(home.glob("*.jwk.json"))),
        }
        self._processes[f"worker {len(self._processes)}"] = subprocess.Popen(
            [sys.executable, "-m", "aegis.surfaces.cli.demo.worker"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "DEMO_THINKING": "0.7", **given},
            start_new_session=True,  # as the gateway
        )

    def _started(self, environment: dict[str, str]) -> Agent:
        found = Agent(self.url, environment)
        self._agents.append(found)
        return found

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `aegis` in a process of its own, as a person in another terminal would."""
        return subprocess.run(  # noqa: S603 - our own interpreter with our own words
            [sys.executable, "-m", "aegis", "--dir", str(self.home), *words],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            cwd=self.directory,
            env={**os.environ, "COLUMNS": "74"},  # it is shown indented
        )

    def ruling(self) -> dict[str, int]:
        """Which versions of the policy rule in the gateway: `enforced` and `shadow`; 0 is the files, or none."""
        from aegis.adapters import monitorkey

        key = {"authorization": f"Bearer {monitorkey.load(self.home / 'keys')}"}
        asked = urllib.request.Request(f"{self.url}/metrics", headers=key)  # noqa: S310 - our own URL
        with urllib.request.urlopen(asked, timeout=5) as answer:  # noqa: S310 - as above
            lines = answer.read().decode().splitlines()
        found = [line for line in lines if line.startswith("aegis_policy_version{") and f'tenant="{TENANT}"' in line]
        return {role: int(float(line.split()[-1])) for line in found for role in ("enforced", "shadow") if f'"{role}"' in line}

    def access_log(self, kind: str) -> list[dict[str, Any]]:
        """What a tool wrote down about every request that reached it."""
        return [json.loads(line) for line in (self.directory / "tools" / f"{kind}.access.log").read_text("utf-8").splitlines()]

    def ledger(self, kind: str) -> list[dict[str, Any]]:
        """What a tool really did, from its own database."""
        import sqlite3

        with sqlite3.connect(self.directory / "tools" / f"{kind}.db") as db:
            return [
                {"id": row[0], "key": row[1], **json.loads(row[2])}
                for row in db.execute("SELECT id, key, what FROM done ORDER BY id")
            ]

    def close(self, *, keep: bool = False) -> None:
        """End every process that was started here, and remove the directory unless it is to be kept."""
        for agent in self._agents:
            agent.close()
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if not keep:
            shutil.rmtree(self.directory, ignore_errors=True)

    def _start_tool(self, kind: str) -> int:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter with our own words
            [sys.executable, "-m", "aegis.surfaces.cli.demo.tool_server", kind, str(self.directory / "tools")],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TOOL_CREDENTIAL": self._credentials[kind]},
            start_new_session=True,  # Ctrl-C is for the narrator, who then ends everybody
        )
        self._processes[kind] = process
        self.pids[kind] = process.pid
        assert process.stdout is not None, "the tool has its pipe"
        line = process.stdout.readline()
        process.stdout.close()
        if not line.strip().isdigit():
            raise ConfigError(f"the demo's tool server `{kind}` did not start")
        return int(line)

    def _write_home(self, ports: dict[str, int]) -> None:
        from aegis.surfaces.cli.setup import make_keys

        documents = files("aegis.surfaces.cli.demo") / "documents"
        tenant = self.home / "tenants" / TENANT
        tenant.mkdir(parents=True)
        for name in ("directory.yaml", "policy.yaml"):
            (tenant / name).write_bytes((documents / name).read_bytes())
        for folder in ("tools", "workflows", "data", "queues"):
            (tenant / folder).mkdir()
            for source in (documents / folder).iterdir():
                text = source.read_text("utf-8")
                for kind, port in ports.items():
                    text = text.replace("{{" + f"{kind}_port" + "}}", str(port))
                (tenant / folder / source.name).write_text(text, "utf-8")
        make_keys(self.home / "keys", TENANT, ("person:olga", "person:fred"), agents=KEYED)

    def _start_witness(self) -> None:
        """A witness of its own, which knows the keys of the logs and nothing else; and the settings, which know its key."""
        from aegis.adapters.witness import home

        place = self.directory / "witness"
        made = home.create(place, "witness.example", self.log_keys())
        settings = _SETTINGS.format(port=self.port, witness=self.witness_port, witness_key=made.verifier.vkey)
        (self.home / "aegis.toml").write_text(settings, "utf-8")
        self._processes["witness"] = subprocess.Popen(  # noqa: S603 - our own interpreter with our own words
            [sys.executable, "-m", "aegis", "witness", "serve", str(place), "--port", str(self.witness_port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # as the gateway
        )
        (self.directory / "auditor.txt").write_text(
            "".join(f"log {key}\n" for key in self.log_keys()) + f"witness one {made.verifier.vkey}\nquorum one\n", "utf-8"
        )

    def log_keys(self) -> list[str]:
        """The public keys that seal the logs, as an auditor gets them."""
        from aegis.adapters import keyfiles
        from aegis.crypto import jwk, note
        from aegis.model.event import origin

        entries = [entry for entry in keyfiles.load_public(self.home / "keys").entries() if entry.key_class == "log"]
        return [note.vkey(origin(entry.tenant), entry.key) for entry in entries if isinstance(entry.key, jwk.PublicKey)]

    def _await_ready(self) -> None:
        for _ in range(1200):
            if self._processes["gateway"].poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=2):  # noqa: S310 - our own URL
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        tail = "\n".join((self.directory / "gateway.log").read_text("utf-8").splitlines()[-5:])
        raise ConfigError(f"the gateway of the demo did not start; the end of its log:\n{tail}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
