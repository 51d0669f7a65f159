"""Kills the gateway at random moments under load, and then compares three books: what clients were told, the journal, the tools.

The laws: no acknowledged decision is missing from the journal; no keyed effect happened twice; whatever was told as done was done;
history remembers every effect (so that no limit can be passed by dying), and none of its entries stays open for ever.
"""

import asyncio
import json
import multiprocessing
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from aegis.app import open_store
from aegis.model.history import ALLOWED, Measure, Phase, Query
from aegis.runtime.clock import Clock
from gateway.world import World

CLIENTS = 6
ANSWERS, GRACE_SECONDS = 2000, 60
TOOLS = ("pay.honours", "pay.ask", "pay.neither")


@dataclass
class Report:
    kills: int = 0
    told: int = 0
    unknown: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.missing or self.findings)


def remembering(root: Path) -> None:
    """Let every payment be remembered and counted, under limits that nobody reaches."""
    path = root / "tenants/acme/policy.yaml"
    text = path.read_text()
    for tool in TOOLS:
        line = next(line for line in text.splitlines() if line.strip().startswith(f"{tool}:"))
        text = text.replace(line, f"{line.rstrip()[:-1]}, history: [amount]}}")
    counted = "".join(
        f"""    - {{id: {tool}.total, effect: deny, tools: [{tool}], when: {{history: {{sum_within: {{event: {{tool: {tool}}},
        of: args.amount, same: [agent.id], within: 24h, gt: 100000000}}}}}}}}\n"""
        for tool in TOOLS
    )
    path.write_text(text.rstrip() + "\n" + counted)


class Gateway:
    """The gateway as a process of its own, on a port that stays; forked from one that has the imports, so that it starts fast."""

    def __init__(self, world: World, port: int, serve: Callable[[Path, int, Path], None] | None = None) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._serve = serve or serve_here
        self._port, self._root, self._log = port, world.root, world.root / "gateway.log"
        self._forks = multiprocessing.get_context("forkserver")
        self._forks.set_forkserver_preload(["aegis.surfaces.gateway.server", "aegis.adapters.postgres", "aegis.adapters.sqlite"])
        self._process: Any = None

    def start(self) -> None:
        self._process = self._forks.Process(target=self._serve, args=(self._root, self._port, self._log))
        self._process.start()
        for _ in range(1200):
            if self._process.exitcode is not None:
                break
            try:
                if httpx.get(f"{self.url}/healthz", timeout=2).status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.02)
        raise RuntimeError("the gateway did not start:\n" + self._log.read_text()[-2000:])

    @property
    def ended(self) -> bool:
        return self._process.exitcode is not None

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        if self._process is None or self.ended:
            return
        os.kill(self._process.pid, how)
        self._process.join(30)
        assert self._process.exitcode is not None, "the gateway did not end"


def serve_here(root: Path, port: int, log: Path) -> None:
    """What the forked process does: `aegis up`."""
    from aegis.surfaces.cli.main import main

    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    main(["--dir", str(root), "up", "--port", str(port)])


class Client(threading.Thread):
    """Makes one keyed call after another, each until it has a final answer; writes down what it was told."""

    def __init__(self, world: World, url: str, number: int, stop: threading.Event, seed: int) -> None:
        super().__init__(daemon=True)
        self._world, self._url, self._number, self._halt = world, url, number, stop
        self._random = random.Random(f"{seed}-{number}")
        self.told: list[tuple[str, str, str, str]] = []  # (tool, key, request id, code)

    def run(self) -> None:
        with httpx.Client(timeout=5) as http:
            count = 0
            while not self._halt.is_set():
                count += 1
                tool = self._random.choice(TOOLS)
                self._until_final(http, tool, f"c{self._number}-{count}", {"amount": self._random.randrange(1, 900)})

    def _until_final(self, http: httpx.Client, tool: str, key: str, arguments: dict[str, int]) -> None:
        """Ask until the answer is final; while the gateway is down that costs nothing, after the last kill there is a deadline."""
        answered, deadline = 0, float("inf")
        while answered < ANSWERS and time.monotonic() < deadline:
            if self._halt.is_set():
                deadline = min(deadline, time.monotonic() + GRACE_SECONDS)
            try:
                answer = http.post(
                    f"{self._url}/v1/tools/{tool}/call",
                    json={"arguments": arguments},
                    headers={"authorization": f"Bearer {self._world.token()}", "idempotency-key": key},
                )
            except httpx.HTTPError:
                time.sleep(0.02)
                continue
            answered += 1
            told = answer.json()
            code = told.get("code", "done")
            self.told.append((tool, key, told.get("repeat_of") or told["request_id"], code))
            if code in ("done", "result-withheld") or (code == "outcome-unknown" and tool == "pay.neither"):
                return
            time.sleep(0.03)
        self.told.append((tool, key, "", "gave-up"))


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def campaign(root: Path, store_url: str, *, kills: int, seed: int) -> Report:
    """Kill `kills` times under load and compare the books."""
    world = World(root, store_url)
    remembering(root)
    (root / "aegis.toml").write_text(f'[store]\nurl = "{store_url}"\n[log]\nlevel = "warning"\n')
    gateway = Gateway(world, free_port())
    stop = threading.Event()
    report = Report()
    moments = random.Random(seed)
    clients = [Client(world, gateway.url, number, stop, seed) for number in range(CLIENTS)]
    try:
        gateway.start()
        for client in clients:
            client.start()
        for _ in range(kills):
            time.sleep(moments.uniform(0.0, 0.25))
            gateway.kill()
            report.kills += 1
            gateway.start()
        time.sleep(0.5)
        stop.set()
        for client in clients:
            client.join(90)
        time.sleep(3)  # one sweep settles what nobody asks about any more
        gateway.kill(signal.SIGTERM)
        _compare(world, [row for client in clients for row in client.told], report)
    finally:
        stop.set()
        gateway.kill()
        world.close()
    return report


def _compare(world: World, told: list[tuple[str, str, str, str]], report: Report) -> None:
    events, findings, entries = asyncio.run(_books(world))
    report.findings = [f"{finding.tenant} {finding.place}: {finding.text}" for finding in findings]
    decided = {event["request_id"] for event in events if event["type"] == "decision"}
    known = {event["request_id"] for event in events}
    effects = Counter((name, key) for name, key in world.tool.done)
    report.told = len(told)
    for tool in TOOLS:
        acted = len({key for name, key in world.tool.done if name == tool})
        allowed, still_open = entries[tool]
        if allowed < acted:
            report.missing.append(f"{tool}: {acted} effects, {allowed} remembered")
        if still_open:
            report.missing.append(f"{tool}: {still_open} entries of history are open although nothing is under way")
    report.doubled = [f"{name} {key}: {count}" for (name, key), count in effects.items() if count > 1]
    for tool, key, request_id, code in told:
        if code == "gave-up":
            report.missing.append(f"{tool} {key}: no final answer")
        elif request_id not in (decided if code == "done" else known):
            report.lost.append(f"{tool} {key}: {request_id} ({code})")
        if code == "done" and not _acted(world, tool, key):
            report.missing.append(f"{tool} {key}: told as done, not in the tool's book")
        report.unknown += code == "outcome-unknown"


def _acted(world: World, tool: str, key: str) -> bool:
    from aegis.runtime.tool import upstream_key

    return (tool, upstream_key("acme", "agent:payer", key)) in world.tool.done


async def _books(world: World):
    store = await open_store(world.settings, Clock())
    try:
        found, after = [], -1
        while page := await store.events("acme", after=after, limit=5000):
            found += [json.loads(event.body) for event in page]
            after = page[-1].seq
        asked = [
            Query(tool=tool, phases=phases, since=datetime(2020, 1, 1, tzinfo=UTC), measure=Measure.COUNT)
            for tool in TOOLS
            for phases in (ALLOWED, (Phase.OPEN,))
        ]
        counts = [answer.number for answer in await store.measure("acme", asked)]
        return found, await store.fsck(), {tool: (counts[2 * n], counts[2 * n + 1]) for n, tool in enumerate(TOOLS)}
    finally:
        await store.close()
