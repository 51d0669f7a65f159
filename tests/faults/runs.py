"""Kills, stops and restarts the processes that run workflows, and then compares the tools' book with the journal.

Two gateways share one store. At random moments one of them is killed, or stopped for longer than a lease and continued (a zombie),
while others start runs. The laws, for every run that was acknowledged:

    it ends, and as its definition says: what could succeed has, what was refused is undone
    each step that the journal calls done is once in the tool's book, and the book holds nothing else
    the events of the run, folded again, say what its row says
"""

import asyncio
import json
import os
import random
import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from aegis.app import open_store
from aegis.app.workflows import read_definition
from aegis.runtime.clock import Clock
from aegis.runtime.runs.callables import effect_key
from aegis.runtime.runs.flow import DUE, FLOW, TASK, read_flow
from aegis.runtime.runs.histories import Histories
from aegis.runtime.tool import upstream_key
from aegis.runtime.vault import Vault
from aegis.workflow.graph import step_of
from aegis.workflow.run import NodeState
from faults.kills import Gateway, free_port
from runs.flows import Flows, lay

STARTERS = 3
SETTLE_SECONDS = 120
AHEAD, FOR_A_KILL = 20, 2
"""How many runs one starter begins at first and for each kill: more than the processes can end would be a backlog, not a fault."""
RUNNER = "agent:other"
HEAD = """
apiVersion: aegis.workflow/v1
kind: Workflow
metadata: {name: NAME, version: 1.0.0, tenant: TENANT, owner: finance-ops, run_as: agent:other, runbook: pay.md}
spec:
  input: order@1
  steps:
"""
STEP = "    {id}: {{role: executor, {needs}tool: {tool}@1, args: {{amount: {amount}, memo: {id}}}, retry: {{attempts: 5, backoff: 20ms}}, compensate: {{{undo}}}}}\n"


def definition(name: str, steps: list[tuple[str, str, str, str, str]]) -> str:
    """A workflow of (id, needs, tool, amount, what undoes it)."""
    lines = [
        STEP.format(
            id=each, needs=f"needs: [{needs}], " if needs else "", tool=tool, amount=amount,
            undo=f"tool: {undo}@1, args: {{amount: 1, memo: undo-{each}}}" if undo else "none: the last",
        )
        for each, needs, tool, amount, undo in steps
    ]  # fmt: skip
    return HEAD.replace("NAME", name) + "".join(lines)


WORKFLOWS = {
    "chain": definition(
        "chain", [("a", "", "pay.honours", "1", "pay.ask"), ("b", "a", "pay.ask", "2", "pay.honours"), ("c", "b", "pay.honours", "3", "")]
    ),
    "wide": definition(
        "wide",
        [("a", "", "pay.honours", "1", "pay.ask"), *((f"w{n}", "a", ("pay.ask", "pay.honours")[n % 2], str(2 + n), "pay.ask") for n in range(5)),
         ("z", ", ".join(f"w{n}" for n in range(5)), "pay.honours", "3", "")],
    ),
    # The policy denies what is above 5000, so the last step fails for good and everything before it is undone.
    "saga": definition(
        "saga", [("a", "", "pay.honours", "1", "pay.ask"), ("b", "a", "pay.ask", "2", "pay.honours"), ("c", "b", "pay.honours", "$input.amount", "")]
    ),
}  # fmt: skip
WORKFLOWS["agents"] = (
    HEAD.replace("NAME", "agents")
    + """
    look: {role: retriever, agent: agent:payer, queue: limited, input: {amount: $input.amount}, retry: {attempts: 5, backoff: 20ms}}
    pays:
      role: executor
      agent: agent:payer
      queue: limited
      for_each: $steps.look.output.amounts
      max_elements: 9
      input: {amount: $item}
      retry: {attempts: 5, backoff: 20ms}
      compensate: {none: the last}
"""
)
QUEUE = """
apiVersion: aegis.queue/v1
kind: Queue
metadata: {name: limited, version: 1.0.0, tenant: acme, owner: finance-ops}
spec:
  description: Work of which only a little may be done at once.
  concurrency: 3
  agents: {agent:payer: {python: "faults.agents:work"}}
"""
AWAY = """
apiVersion: aegis.queue/v1
kind: Queue
metadata: {name: away, version: 1.0.0, tenant: acme, owner: finance-ops}
spec:
  description: Work that is done elsewhere.
  lease_seconds: 10
  agents: {agent:payer: {remote: true}}
"""
ENDS = {"chain": "succeeded", "wide": "succeeded", "saga": "compensated", "agents": "succeeded"}


@dataclass
class Report:
    kills: int = 0
    zombies: int = 0
    rolled: int = 0
    runs: int = 0
    effects: int = 0
    wrong: list[str] = field(default_factory=list)


class Starter(threading.Thread):
    """Starts runs, each until it is acknowledged, at whichever gateway answers."""

    def __init__(self, world: Flows, urls: list[str], number: int, stop: threading.Event, seed: int, report: Report) -> None:
        super().__init__(daemon=True)
        self._world, self._urls, self._number, self._halt, self._report = world, urls, number, stop, report
        self._random = random.Random(f"{seed}-{number}")
        self.begun: list[tuple[str, str]] = []

    def run(self) -> None:
        with httpx.Client(timeout=5) as http:
            count = 0
            while not self._halt.is_set():
                if count > AHEAD + FOR_A_KILL * self._report.kills:
                    time.sleep(0.05)
                    continue
                count += 1
                name = self._random.choice(sorted(WORKFLOWS))
                run = self._until_begun(http, name, f"s{self._number}-{count}")
                self.begun.append((name, run))
                time.sleep(self._random.uniform(0, 0.1))

    def _until_begun(self, http: httpx.Client, name: str, key: str) -> str:
        deadline = time.monotonic() + SETTLE_SECONDS
        while time.monotonic() < deadline:
            headers = {"authorization": f"Bearer {self._world.token()}", "idempotency-key": key}
            url = f"{self._random.choice(self._urls)}/v1/tools/workflow.{name}/call"
            try:
                answer = http.post(url, json={"arguments": {"amount": 6000}}, headers=headers)
            except httpx.HTTPError:
                time.sleep(0.02)
                continue
            if answer.status_code == 200:
                return str(answer.json()["result"]["run"])
            time.sleep(0.05)
        return ""


def world(root: Path, store_url: str) -> Flows:
    """The documents of a tenant with the workflows of this campaign."""
    return world_of(root, store_url, WORKFLOWS)


def world_of(root: Path, store_url: str, workflows: dict[str, str], *, remote: bool = False) -> Flows:
    """The documents of a tenant with these workflows, a queue of functions, and one of remote workers."""
    made = Flows(root, store_url)
    queues = {"limited": QUEUE} | ({"away": AWAY} if remote else {})
    tools = [f"workflow.{name}" for name in workflows] + [f"queue.{name}" for name in queues]
    lines = "".join(f"    {tool}: {{contract: {tool}@1}}\n" for tool in tools)
    lay(root, workflows=workflows, lines=lines, rules=f"    - {{id: workflows, effect: allow, tools: [{', '.join(tools)}]}}\n")
    (root / "tenants/acme/queues").mkdir()
    for name, text in queues.items():
        (root / f"tenants/acme/queues/{name}.yaml").write_text(text)
    settings = f'[store]\nurl = "{store_url}"\n[log]\nlevel = "warning"\n[workflows]\nagents = "faults.agents"\npoll_ms = 20\n'
    (root / "aegis.toml").write_text(settings)
    return made


def campaign(root: Path, store_url: str, *, kills: int, seed: int, zombies: bool = True) -> Report:
    """Kill `kills` times while runs are under way, and compare the books."""
    made = world(root, store_url)
    gateways = [Gateway(made, free_port()) for _ in range(2)]
    stop, report, moments = threading.Event(), Report(), random.Random(seed)
    starters = [Starter(made, [gateway.url for gateway in gateways], number, stop, seed, report) for number in range(STARTERS)]
    try:
        for gateway in gateways:
            gateway.start()
        for starter in starters:
            starter.start()
        for number in range(kills):
            time.sleep(moments.uniform(0.0, 0.3))
            victim = moments.choice(gateways)
            if zombies and number % 20 == 10:
                _zombie(victim)
                report.zombies += 1
            if number % 20 == 5:
                _roll(victim, made)
                report.rolled += 1
            victim.kill()  # one that drains, too
            report.kills += 1
            victim.start()
        stop.set()
        for starter in starters:
            starter.join(SETTLE_SECONDS)
        begun = [each for starter in starters for each in starter.begun]
        settle(made, begun)
        for gateway in gateways:
            gateway.kill(signal.SIGTERM)
        asyncio.run(compare(made, begun, report))
    finally:
        stop.set()
        for gateway in gateways:
            gateway.kill()
        made.close()
    return report


def _roll(gateway: Gateway, made: Flows) -> None:
    """Tell a process to end in order, and start its successor while it drains, on another port."""
    heir = Gateway(made, free_port())
    os.kill(gateway.pid, signal.SIGTERM)
    heir.start()
    heir.kill(signal.SIGTERM)


def _zombie(gateway: Gateway) -> None:
    """Stop a process for longer than a lease: others take its work over; then it wakes and finds that nothing is its own."""
    os.kill(gateway.pid, signal.SIGSTOP)
    time.sleep(6)
    os.kill(gateway.pid, signal.SIGCONT)
    time.sleep(0.5)


def settle(made: Flows, begun: list[tuple[str, str]]) -> None:
    async def rest() -> int:
        store = await open_store(made.settings, Clock())
        try:
            found = await store.rows("acme", [(FLOW, run) for _, run in begun if run])
            return sum(read_flow(row).ended_at is None for row in found.values())
        finally:
            await store.close()

    deadline = time.monotonic() + SETTLE_SECONDS
    while asyncio.run(rest()) and time.monotonic() < deadline:
        time.sleep(0.5)
    time.sleep(0.5)


async def compare(made: Flows, begun: list[tuple[str, str]], report: Report) -> None:
    store = await open_store(made.settings, Clock())
    try:
        report.wrong += [f"fsck: {finding.place}: {finding.text}" for finding in await store.fsck()]
        histories = Histories(store, Vault(store, _keys(made)), read_definition)
        report.runs, report.effects = len(begun), len(made.tool.done)
        book = Counter(made.tool.done)
        report.wrong += [f"doubled: {name} {key}" for (name, key), count in book.items() if count > 1]
        expected: set[tuple[str, str]] = set()
        rows = await store.find("acme", FLOW, limit=100_000)
        for row in rows:  # also those whose acknowledgement was lost
            flow = read_flow(row)
            loaded = await histories.load("acme", row.id)
            assert loaded is not None
            if str(loaded.state.status) != str(flow.status) or loaded.state.events != flow.events:
                report.wrong.append(f"{row.id}: folded {loaded.state.status}, row {flow.status}")
            if str(flow.status) != ENDS[flow.workflow]:
                report.wrong.append(f"{row.id} ({flow.workflow}): {flow.status} {flow.failure} {_short(loaded.state.nodes)}")
            expected |= effects(flow.run, loaded)
        report.wrong += [f"never acknowledged: {name}" for name, run in begun if not run]
        known = {row.id for row in rows}
        report.wrong += [f"lost run: {run}" for _, run in begun if run and run not in known]
        report.wrong += [f"in the journal, not in the tool's book: {each}" for each in sorted(expected - book.keys())]
        report.wrong += [f"in the tool's book, not in the journal: {each}" for each in sorted(book.keys() - expected)]
        left = [row.id for kind in (TASK, DUE) for row in await store.find("acme", kind, limit=1000)]
        report.wrong += [f"left behind: {each!r}" for each in left]
    finally:
        await store.close()


def effects(run: str, loaded: Any) -> set[tuple[str, str]]:
    """What the journal says has been done: by tool and key as the tool sees it."""
    found = set()
    for node, known in loaded.state.nodes.items():
        step = loaded.workflow.step(step_of(node))
        if step.kind == "agent":
            if known.done and step.id in ("pays", "find") and node != "pays":
                found.add(("pay.honours", upstream_key("acme", "agent:payer", effect_key(run, node, "pay"))))
            continue
        if known.done and step.act is not None and step.act.kind == "tool":
            found.add((step.act.name, upstream_key("acme", RUNNER, f"{run}:{node}")))
        if known.state is NodeState.COMPENSATED and step.undo is not None:
            found.add((step.undo.name, upstream_key("acme", RUNNER, f"{run}:{node}:compensate")))
    return found


def _short(nodes: Any) -> str:
    return json.dumps({name: f"{node.state} {node.why} {node.text}"[:90] for name, node in nodes.items()})


def _keys(made: Flows) -> Any:
    from aegis.adapters.kekfiles import KekFiles

    return KekFiles(made.keys)
