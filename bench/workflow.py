"""What a run costs: a step against one call of the gate in the same process, against fan-out, graph size and length of history.

One process with a bare tool beside it. Waits are real: approvals are answered, signals sent, and the time until the next step has
acted is taken. Runs are started through the gate like every run.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from bench.gateway import UPSTREAM, await_port, free_port, on_both, write_home

from aegis.app import App, open_app
from aegis.identity.token import Statement
from aegis.model.principal import Principal
from aegis.runtime.ask import Ask, Kind
from aegis.runtime.trace import Trace
from aegis.settings import load
from aegis.workflow.run import Signalled

WHO = Principal(tenant="acme", agent_id="agent:bench", subject="user:bench", roles=("treasury",), scopes=("*",), trust=5)
ARGUMENTS = {"account_id": "acct_00000001", "amount_minor": 4000, "currency": "EUR", "memo": "x" * 120}
RUNS = int(os.environ.get("AEGIS_BENCH_RUNS", "30"))
WAITING = int(os.environ.get("AEGIS_BENCH_WAITING", "10000"))

HEAD = """
apiVersion: aegis.workflow/v1
kind: Workflow
metadata: {{name: {name}, version: 1.0.0, tenant: acme, owner: bench, run_as: "agent:child"}}
spec:
  max_parallel: 64
  steps:
"""
ACT = "tool: pay.transfer@1, args: {account_id: acct_00000001, amount_minor: 4000, currency: EUR}, compensate: {none: a bench}"
CHAIN, WIDE = (1, 10, 50), (10, 50)


def run() -> list[dict[str, Any]]:
    """Rows for both stores."""
    return on_both(lambda kind, url: asyncio.run(_measure(kind, url)))


async def _measure(kind: str, url: str) -> list[dict[str, Any]]:
    definitions = {f"chain{n}": chain(n) for n in CHAIN} | {f"wide{n}": wide(n) for n in WIDE} | {"waits": waits(), "asks": asks()}
    rows: list[dict[str, Any]] = []
    async with opened(url, definitions) as app:
        single = await _calls(app)
        base = {"bench": "workflow", "store": kind}
        rows.append({**base, "what": "one call of the gate", "n": len(single), **_spread(single)})
        for name, count in [(f"chain{n}", n) for n in CHAIN] + [(f"wide{n}", n) for n in WIDE]:
            rows.append({**base, **await _runs(app, name, count), "calls_p50_ms": rows[0]["p50_ms"]})
        rows.append({**base, **await _many(app, "chain10", 10, 16)})
        rows.append({**base, "what": "signal to next step acted", **_spread(await _signals(app))})
        rows.append({**base, "what": "approval answered to next step acted", **_spread(await _approvals(app))})
        rows += [{**base, **await _history(app, length)} for length in (10, 1000)]
        rows.append({**base, **await _memory(app)})
    return rows


async def _calls(app: App) -> list[float]:
    taken = []
    for number in range(200):
        started = time.perf_counter()
        answer = await app.gate.call(Ask(principal=WHO, tool="pay.transfer", arguments=ARGUMENTS, idempotency_key=f"c{number}"))
        taken.append(time.perf_counter() - started)
        assert answer.kind is Kind.DONE, answer
    return taken


async def _begin(app: App, name: str, key: str) -> str:
    answer = await app.gate.call(Ask(principal=WHO, tool=f"workflow.{name}", arguments={}, idempotency_key=key))
    assert answer.kind is Kind.DONE, answer
    return str(answer.result["run"])


async def _ended(app: App, run: str) -> None:
    """Wait for the end, by what this process knows, so that looking costs next to nothing."""
    while (known := app.workflows.histories.kept("acme", run)) is None or known.flow.ended_at is None:  # noqa: ASYNC110 - nothing to wait on
        await asyncio.sleep(0.001)
    assert str(known.flow.status) == "succeeded", known.flow


async def _runs(app: App, name: str, steps: int) -> dict[str, Any]:
    """One run after another."""
    await _ended(app, await _begin(app, name, f"{name}-warm"))
    taken, cpu = [], time.process_time()
    for number in range(RUNS if steps <= 10 else max(4, RUNS // 5)):
        started = time.perf_counter()
        await _ended(app, await _begin(app, name, f"{name}-{number}"))
        taken.append((time.perf_counter() - started) / (steps + 1))  # the start is a governed call, too
    used = (time.process_time() - cpu) / len(taken) / (steps + 1)
    return {
        "what": f"a step of {name}",
        "n": len(taken),
        **_spread(taken),
        "cpu_ms": round(used * 1e3, 2),
        "per_second": round(1 / statistics.median(taken)),
    }


async def _many(app: App, name: str, steps: int, beside: int) -> dict[str, Any]:
    """Many runs at once."""
    started = time.perf_counter()

    async def worker(which: int) -> None:
        for number in range(4):
            await _ended(app, await _begin(app, name, f"many-{which}-{number}"))

    await asyncio.gather(*(worker(which) for which in range(beside)))
    taken = time.perf_counter() - started
    return {"what": f"steps a second, {beside} runs at once", "n": beside * 4, "per_second": round(beside * 4 * steps / taken)}


async def _signals(app: App) -> list[float]:
    taken = []
    for number in range(30):
        run = await _begin(app, "waits", f"s{number}")
        while str((await app.workflows.histories.flow("acme", run)).status) != "waiting":  # type: ignore[union-attr]  # noqa: ASYNC110 - as a caller would
            await asyncio.sleep(0.001)
        started = time.perf_counter()
        await app.workflows.runs.advance("acme", run, Signalled(at=datetime.now(UTC), name="go", key="1"))
        await _ended(app, run)
        taken.append(time.perf_counter() - started)
    return taken


async def _approvals(app: App) -> list[float]:
    taken = []
    for number in range(30):
        run = await _begin(app, "asks", f"a{number}")
        while not (node := (await app.workflows.runs.find("acme", run)).state.nodes["w"]).approval_id:  # type: ignore[union-attr]  # noqa: ASYNC110 - as a caller would
            await asyncio.sleep(0.001)
        approval, _ = await app.gate.desk.find("acme", node.approval_id)  # type: ignore[misc]  # it is there
        said = Statement(
            approval_id=approval.approval_id, tenant="acme", request_hash=approval.request_hash, approve=True,
            shown=(await app.gate.desk.card("acme", approval)).shown, approver="person:lead", reason="bench",
        )  # fmt: skip
        started = time.perf_counter()
        await app.gate.desk.answer(said, "a bench", Trace.continued(""))
        await _ended(app, run)
        taken.append(time.perf_counter() - started)
    return taken


async def _history(app: App, length: int) -> dict[str, Any]:
    """A signal to a run with a long history, whose fold nobody keeps any more."""
    run = await _begin(app, "waits", f"h{length}")
    for number in range(length):
        event = Signalled(at=datetime.now(UTC), name="other", key=str(number), payload={"n": number})
        if number < 999:  # a run takes a thousand signals
            await app.workflows.runs.advance("acme", run, event)
    taken = []
    for _ in range(10):
        app.workflows.histories.drop("acme", run)
        started = time.perf_counter()
        await app.workflows.histories.load("acme", run)
        taken.append(time.perf_counter() - started)
    return {"what": f"a cold run with {length} events is folded", "n": len(taken), **_spread(taken)}


async def _memory(app: App) -> dict[str, Any]:
    """Runs that wait hold rows and nothing else."""
    process = psutil.Process()
    before = process.memory_info().rss
    started = time.perf_counter()
    for first in range(0, WAITING, 64):
        await asyncio.gather(*(_begin(app, "waits", f"w{number}") for number in range(first, min(first + 64, WAITING))))
    grown = process.memory_info().rss - before
    tasks = len(asyncio.all_tasks())
    return {
        "what": f"{WAITING} runs that wait for a signal", "n": WAITING, "memory_mib": round(grown / 2**20, 1), "asyncio_tasks": tasks,
        "per_second": round(WAITING / (time.perf_counter() - started)),
    }  # fmt: skip


def _spread(taken: list[float]) -> dict[str, Any]:
    ordered = sorted(taken)
    return {"p50_ms": round(statistics.median(ordered) * 1e3, 2), "p99_ms": round(ordered[int(len(ordered) * 0.99)] * 1e3, 2)}


def chain(count: int) -> str:
    """Steps one after another."""
    lines = [f"    s{n}: {{role: executor, {f'needs: [s{n - 1}], ' if n else ''}{ACT}}}" for n in range(count)]
    return HEAD.format(name=f"chain{count}") + "\n".join(lines) + "\n"


def wide(count: int) -> str:
    """Steps beside each other, each at an account of its own."""
    lines = [f"    s{n}: {{role: executor, {ACT.replace('acct_00000001', f'acct_{n:08d}')}}}" for n in range(count)]
    return HEAD.format(name=f"wide{count}") + "\n".join(lines) + "\n"


def waits() -> str:
    """One step that waits for a signal, and one after it."""
    return (
        HEAD.format(name="waits")
        + f"    w: {{role: executor, wait: {{signal: go, timeout: 30d}}}}\n    s: {{role: executor, needs: [w], {ACT}}}\n"
    )


def asks() -> str:
    """One step that a person must approve, and one after it."""
    step = '    w: {role: approver, approval: {approvers: ["role:lead"]}}\n'
    return HEAD.format(name="asks") + step + f"    s: {{role: executor, needs: [w], {ACT}}}\n"


@asynccontextmanager
async def opened(url: str, definitions: dict[str, str]) -> AsyncIterator[App]:
    """A gateway in this process and a bare tool beside it."""
    with tempfile.TemporaryDirectory() as directory:
        root, port = Path(directory), free_port()
        (root / "upstream.py").write_text(UPSTREAM)
        write_home(root, url, port)
        home = root / "tenants" / "acme"
        (home / "workflows").mkdir()
        for name, text in definitions.items():
            (home / "workflows" / f"{name}.yaml").write_text(text)
        people = (
            (home / "directory.yaml")
            .read_text()
            .replace("spec: {agents", 'spec: {people: {"person:lead": {roles: [lead]}}, agents')
        )
        (home / "directory.yaml").write_text(people)
        policy = (home / "policy.yaml").read_text()
        lines = "".join(f", workflow.{name}: {{contract: workflow.{name}@1}}" for name in definitions)
        names = ", ".join(f"workflow.{name}" for name in definitions)
        policy = policy.replace("memo: string}}}", f'memo: "string?"}}}}{lines}}}').replace(
            "  rules:\n", f"  rules:\n    - {{id: start, effect: allow, tools: [{names}]}}\n"
        )
        (home / "policy.yaml").write_text(policy)
        words = ["--app-dir", str(root), "--port", str(port), "--log-level", "error", "--no-access-log", "upstream:app"]
        tool = subprocess.Popen([sys.executable, "-m", "uvicorn", *words], stdout=subprocess.DEVNULL)  # noqa: ASYNC220 - before anything runs
        app = await open_app(load(root))
        try:
            await_port(port)
            await app.start()
            yield app
        finally:
            await app.stop()
            tool.terminate()
            tool.wait(20)
