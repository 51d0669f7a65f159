"""A call through the gateway against a direct call to the same tool in the same run, and the durable decision alone.

Three processes: this one makes load over kept connections, the gateway, and a bare ASGI tool. On a machine with two cores they share
them, so ratios say more than single figures. CPU is user and system time of the gateway's process for one request.
"""

import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from aegis.adapters import keyfiles
from aegis.identity.access import build_access
from aegis.identity.token import mint
from aegis.surfaces.cli.setup import make_keys

CONNECTIONS = (1, 8, 64)
SECONDS = float(os.environ.get("AEGIS_BENCH_SECONDS", "4"))
ARGUMENTS = {"account_id": "acct_00000001", "amount_minor": 4000, "currency": "EUR", "memo": "x" * 120}

UPSTREAM = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    body = b'{"payment_id":"pay_1","status":"booked"}'
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
"""
DIRECTORY = """
apiVersion: aegis.directory/v1
kind: Directory
metadata: {tenant: acme}
spec: {agents: {"agent:bench": {roles: [treasury], scopes: ["*"], trust: 5}, "agent:child": {roles: [treasury], scopes: ["*"], trust: 5}}}
"""
POLICY = """
apiVersion: aegis.policy/v1
kind: PolicySet
metadata: {name: bench, tenant: acme, owner: o@acme.example}
spec:
  tools: {pay.transfer: {version: ">=1.0.0", args: {account_id: string, amount_minor: integer, currency: string, memo: string}}}
  rules:
    - {id: allow, effect: allow, tools: [pay.transfer], when: {agent.roles: {contains: treasury}}}
    - {id: ceiling, effect: deny, tools: [pay.transfer], when: {args.amount_minor: {gt: 500000}}}
    - {id: depth, effect: deny, tools: ["*"], when: {chain: {longer_than: 4}}}
    - {id: memo, effect: sanitize, tools: [pay.transfer], when: {args.memo: {matches: "[0-9]{3}-[0-9]{2}-[0-9]{4}"}}, redact: [{path: /args/memo, with: mask}]}
"""
TOOL = """
apiVersion: aegis.tool/v1
kind: Tool
metadata: {{name: pay.transfer, version: 1.0.0, tenant: acme, owner: o@acme.example}}
spec:
  description: Pays.
  effect: write
  resource: "account/{{account_id}}"
  interrupt: honours_key
  upstream: {{url: "http://127.0.0.1:{port}"}}
  operations: {{call: {{method: POST, path: "/accounts/{{account_id}}/transfers", body: {{amount_minor: amount_minor, currency: currency, memo: memo}}}}}}
  input:
    type: object
    required: [account_id, amount_minor, currency]
    properties:
      account_id: {{type: string, pattern: "^acct_[0-9]{{8}}$"}}
      amount_minor: {{type: integer, minimum: 1}}
      currency: {{enum: [EUR, USD]}}
      memo: {{type: string, maxLength: 140}}
  output: {{type: object, required: [payment_id], properties: {{payment_id: {{type: string}}, status: {{type: string}}}}}}
"""


def run() -> list[dict[str, Any]]:
    """Rows for both stores."""
    return on_both(_measure)


def on_both(measure: Callable[[str, str], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Rows for both stores; PostgreSQL is left out with a line when it cannot be had here."""
    rows = measure("sqlite", "sqlite:data/aegis.db")
    try:
        from tests.postgres_server import fresh_database

        url = fresh_database()
    except Exception as error:  # whatever keeps a server from starting
        print(f"  PostgreSQL is left out: {type(error).__name__}: {error}")
        return rows
    return rows + measure("postgres", url)


def _measure(kind: str, store_url: str) -> list[dict[str, Any]]:
    with served(store_url) as (root, upstream_port, port, pid):
        token = _token(root)
        return [row for count in CONNECTIONS for row in asyncio.run(_level(kind, count, upstream_port, port, token, pid))]


@contextmanager
def served(store_url: str, agents: tuple[str, ...] = ()) -> Iterator[tuple[Path, int, int, int]]:
    """A bare tool and a gateway in front of it, as processes: (directory, port of the tool, of the gateway, pid of the gateway)."""
    with tempfile.TemporaryDirectory() as directory, (Path(directory) / "log").open("w") as log:
        root = Path(directory)
        upstream_port, port = free_port(), free_port()
        (root / "upstream.py").write_text(UPSTREAM)
        write_home(root, store_url, upstream_port, agents)
        words = ["--app-dir", str(root), "--port", str(upstream_port), "--log-level", "error", "--no-access-log", "upstream:app"]
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": log}
        upstream = subprocess.Popen([sys.executable, "-m", "uvicorn", *words], **quiet)
        gateway = subprocess.Popen([sys.executable, "-m", "aegis", "--dir", str(root), "up", "--port", str(port)], **quiet)
        try:
            for place in (upstream_port, port):
                await_port(place)
            yield root, upstream_port, port, gateway.pid
        finally:
            for process in (gateway, upstream):
                process.terminate()
                process.wait(20)


async def _level(kind: str, connections: int, upstream: int, port: int, token: str, pid: int) -> list[dict[str, Any]]:
    numbers = iter(range(10**9))
    call_body, decide_body = json.dumps({"arguments": ARGUMENTS}), json.dumps({"tool": "pay.transfer", "arguments": ARGUMENTS})

    def governed(path: str, body: str) -> Callable[[], bytes]:
        return lambda: request(path, body, f"Authorization: Bearer {token}\r\nIdempotency-Key: b{connections}-{next(numbers)}\r\n")

    direct_body = json.dumps({name: value for name, value in ARGUMENTS.items() if name != "account_id"})
    await load(connections, port, governed("/v1/tools/pay.transfer/call", call_body), 0.5)
    rows = []
    for name, at, make in (
        ("direct call", upstream, lambda: request("/accounts/acct_00000001/transfers", direct_body, "")),
        ("call through the gateway", port, governed("/v1/tools/pay.transfer/call", call_body)),
        ("durable decision", port, governed("/v1/decide", decide_body)),
    ):
        process = psutil.Process(pid)
        before = sum(process.cpu_times()[:2])
        times = await load(connections, at, make, SECONDS)
        cpu = sum(process.cpu_times()[:2]) - before
        ordered = sorted(times)
        rows.append({
            "bench": "gateway", "store": kind, "name": name, "connections": connections, "requests": len(times),
            "per_second": round(len(times) / SECONDS), "p50_ms": round(statistics.median(times) * 1e3, 2),
            "p99_ms": round(ordered[int(len(ordered) * 0.99)] * 1e3, 2),
            "cpu_us": None if at == upstream else round(cpu / len(times) * 1e6),
        })  # fmt: skip
        rows[-1]["ratio_p50"] = round(rows[-1]["p50_ms"] / rows[0]["p50_ms"], 1)
    return rows


async def load(connections: int, port: int, make: Callable[[], bytes], seconds: float) -> list[float]:
    """The seconds that each request took, over so many kept connections; an answer other than 200 ends the bench."""
    end = time.perf_counter() + seconds
    work: list[Awaitable[list[float]]] = [_client(port, make, end) for _ in range(connections)]
    return [taken for found in await asyncio.gather(*work) for taken in found]


async def _client(port: int, make: Callable[[], bytes], end: float) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    times = []
    while (started := time.perf_counter()) < end:
        writer.write(make())
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        body = await reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"unexpected answer: {head[:40]!r} {body[:300]!r}")
        times.append(time.perf_counter() - started)
    writer.close()
    return times


def request(path: str, body: str, headers: str, *, kind: str = "application/json") -> bytes:
    """A POST, as bytes."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return (head + body).encode()


def write_home(root: Path, store_url: str, upstream_port: int, agents: tuple[str, ...] = ()) -> None:
    """A working directory with one tenant, one tool, and keys for these agents."""
    home = root / "tenants" / "acme"
    (home / "tools").mkdir(parents=True)
    (root / "aegis.toml").write_text(f'[store]\nurl = "{store_url}"\n[log]\nlevel = "warning"\n')
    (home / "directory.yaml").write_text(DIRECTORY)
    (home / "policy.yaml").write_text(POLICY)
    (home / "tools" / "pay.yaml").write_text(TOOL.format(port=upstream_port))
    make_keys(root / "keys", "acme", (), agents=agents)


def _token(root: Path) -> str:
    claims = build_access(
        tenant="acme", agent_id="agent:bench", subject="user:bench", roles=("treasury",), scopes=("*",), audience="aegis-gw",
        now=datetime.now(UTC), token_id="bench",
    )  # fmt: skip
    return mint(claims, keyfiles.load_private(root / "keys", "sts", "acme", ""))


def await_port(port: int) -> None:
    """Wait until somebody listens there."""
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("a server of the bench did not start")


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
