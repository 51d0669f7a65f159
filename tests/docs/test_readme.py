"""The README followed by copy and paste: every file that it shows is saved, every command that it shows is run."""

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.command import aegis

README = (Path(__file__).resolve().parents[2] / "README.md").read_text("utf-8")
SAVED = re.compile(r"(?:[Ss]aved?\s+(?:it\s+)?as|Replace)\s+`([^`]+)`")
FENCE = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
STEPS = README.split("## Your own tool in ten minutes")[1].split("## The working directory")[0]
# What each `aegis call` of the README comes to, in order.
CALLS = [0, 0, 4, 0, 0, 3, 4, 0]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def saved_files() -> dict[str, str]:
    """What the README says to save, by file; a block belongs to the nearest name before or after it."""
    files = {}
    for found in FENCE.finditer(STEPS):
        if found[1] not in ("python", "yaml"):
            continue
        before = SAVED.findall(STEPS[: found.start()].rsplit("```", 1)[-1])
        after = SAVED.findall(STEPS[found.end() :].split("```", 1)[0])
        files[(before or after)[-1 if before else 0]] = found[2]
    return files


class Desk:
    """A working directory of its own, with processes that end with it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.ports = {port: str(free_port()) for port in ("9000", "9100", "8420")}
        self.env = os.environ | {"AEGIS_GATEWAY_PORT": self.ports["8420"], "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self.gateway: subprocess.Popen[bytes] | None = None
        self.running: list[subprocess.Popen[bytes]] = []

    def save(self, name: str, text: str) -> None:
        for told, taken in self.ports.items():
            text = text.replace(told, taken)
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        with (self.home / f"{words[-1].rsplit('/')[-1]}.log").open("ab") as log:
            process = subprocess.Popen([sys.executable, *words], cwd=self.home, env=self.env, stdout=log, stderr=log)
        self.running.append(process)
        return process

    def up(self) -> None:
        self.gateway = self.start("-m", "aegis", "up")
        self.wait(f"http://127.0.0.1:{self.ports['8420']}/readyz")

    def down(self) -> None:
        assert self.gateway is not None, "there is a gateway to end"
        self.gateway.send_signal(signal.SIGTERM)
        assert self.gateway.wait(30) == 0

    def wait(self, url: str) -> None:
        """Until somebody answers."""
        for _ in range(600):
            try:
                with urllib.request.urlopen(url, timeout=2):
                    return
            except urllib.error.HTTPError as error:
                if error.code == 501:  # a tool that only takes POST is there as well
                    return
            except OSError:
                pass
            time.sleep(0.05)
        pytest.fail(f"nobody answers; {[p.read_text()[-2000:] for p in self.home.glob('*.log')]}")

    def aegis(self, *words: str) -> "subprocess.CompletedProcess[str]":
        """A command of the reader; the first one, and the gateway, are processes, as all are that the page on delegation runs."""
        given = {name: value for name, value in self.env.items() if name.startswith("AEGIS_")}
        with contextlib.chdir(self.home):
            return aegis(None, *words, env=given)

    def python(self, name: str) -> str:
        """What a saved program prints."""
        done = subprocess.run(
            [sys.executable, name], cwd=self.home, env=self.env, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def waiting(self) -> str:
        """The approval that waits."""
        return str(json.loads(self.aegis("--json", "approvals", "list").stdout)["approvals"][0]["approval_id"])

    def close(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """What `aegis init` writes, with ports that are free here."""
    found = Desk(tmp_path / "my-aegis")
    made = subprocess.run([sys.executable, "-m", "aegis", "init", str(found.home)], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    for path in (found.home / "notes_server.py", *sorted(found.home.rglob("notes.*.yaml"))):
        found.save(str(path.relative_to(found.home)), path.read_text("utf-8"))
    try:
        yield found
    finally:
        found.close()


def test_the_readme_shows_the_files_of_the_tour() -> None:
    assert set(saved_files()) == {
        "shop_server.py",
        "tenants/acme/tools/refunds.create.yaml",
        "tenants/acme/directory.yaml",
        "tenants/acme/policy.yaml",
        "agent.py",
        "task.py",
    }


def test_who_follows_the_readme_gets_a_tool_of_their_own_behind_the_gateway(desk: Desk) -> None:
    files, calls = saved_files(), iter(CALLS)
    shell = [line for kind, block in FENCE.findall(STEPS) if kind == "sh" for line in block.splitlines()]
    desk.start("notes_server.py")
    desk.wait(f"http://127.0.0.1:{desk.ports['9000']}/notes")
    for line in shell:
        words = shlex.split(line, comments=True)
        if words == ["aegis", "check"] and desk.gateway is not None:  # the second check is of what the reader wrote
            for name, text in files.items():
                desk.save(name, text)
        if words[:2] == ["python", "shop_server.py"]:
            desk.start("shop_server.py")
            desk.wait(f"http://127.0.0.1:{desk.ports['9100']}/")
        elif words[:2] == ["kill", "%2;"]:
            desk.down()
        elif words[:2] == ["aegis", "up"]:
            desk.up()
        elif words[:2] in (["aegis", "call"], ["aegis", "check"], ["aegis", "approvals"]):
            given = [desk.waiting() if word == "APPROVAL_ID" else word for word in words[1:]]
            done = desk.aegis(*given)
            wanted = next(calls) if words[1] == "call" else 0
            assert done.returncode == wanted, f"{line}: {done.stdout}{done.stderr}"
    assert next(calls, None) is None
    assert desk.gateway is not None
    assert (
        json.loads(desk.aegis("--json", "approvals", "list", "--state", "used").stdout)["approvals"][0]["tool"] == "refunds.create"
    )

    desk.env["AEGIS_TOKEN"] = desk.aegis("token", "agent:support").stdout.strip()
    first, second, third = desk.python("agent.py").splitlines()
    assert first.startswith("{'refund_id'")
    assert second == "refunds.ceiling args.amount_minor 50000"
    assert third.startswith("waits: apr_")

    desk.aegis("keys", "new", "workload", "--owner", "agent:support")
    time.sleep(1)  # within which every gateway follows
    paid, denied = desk.python("task.py").splitlines()
    assert (paid[:13], denied) == ("{'refund_id':", "authority.calls")
