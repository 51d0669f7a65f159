"""How soon a halt is in force: two gateway processes on one store, an operator's command, and a trigger that sees failures.

`command_ms` is from the halt's commit until both processes have said that they decide by it; `denied_ms` until both deny a real call;
`trigger_ms` from the answer to the failure that is one too many until both deny.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
from bench.gateway import _token, await_port, free_port, on_both, served

from aegis.app import App, open_app
from aegis.runtime.halts import Halt
from aegis.settings import load

ROUNDS = 10
WHAT = "tool:pay.transfer"
TRIGGERS = """
apiVersion: aegis.triggers/v1
kind: Triggers
metadata: {tenant: acme}
spec:
  triggers:
    - {id: many, reason: bench, when: {outcomes: [denied], of: "tool:*", more_than: 4, within_seconds: 5}, then: {halt: it}}
"""


def run() -> list[dict[str, Any]]:
    """A row for each store."""
    return on_both(_measure)


def _measure(kind: str, store_url: str) -> list[dict[str, Any]]:
    with served(store_url) as (root, _, first, _):
        second = free_port()
        words = [sys.executable, "-m", "aegis", "--dir", str(root), "up", "--port", str(second)]
        other = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            await_port(second)
            return [{"store": kind, **asyncio.run(_rounds(root, (first, second)))}]
        finally:
            other.terminate()
            other.wait(20)


async def _rounds(root: Path, ports: tuple[int, ...]) -> dict[str, Any]:
    app, token = await open_app(load(root)), _token(root)
    found: dict[str, list[int]] = {"command_ms": [], "denied_ms": [], "trigger_ms": []}
    try:
        for number in range(ROUNDS):
            await _by_hand(app, ports, token, number, found)
        (root / "tenants/acme/triggers.yaml").write_text(TRIGGERS)
        await asyncio.sleep(1)
        for number in range(ROUNDS):
            await _by_itself(app, ports, token, number, found)
    finally:
        await app.gate.store.close()
    return {"processes": len(ports), "rounds": ROUNDS} | {
        f"{name}_{word}": pick(values)
        for name, values in found.items()
        for word, pick in (("median", statistics.median), ("worst", max))
    }


async def _by_hand(app: App, ports: tuple[int, ...], token: str, number: int, found: dict[str, list[int]]) -> None:
    halt = Halt(tenant="acme", what=WHAT, mode="halt", reason="bench", by="person:bench")
    await app.gate.halts.set(halt)
    began = time.monotonic()
    denied = asyncio.create_task(_until(ports, token, lambda rule: rule == "halted", f"h{number}"))
    await app.gate.halts.confirmed(5)
    found["command_ms"].append(_ms(began))
    await denied
    found["denied_ms"].append(_ms(began))
    await _lift(app, halt, ports, token, number)


async def _by_itself(app: App, ports: tuple[int, ...], token: str, number: int, found: dict[str, list[int]]) -> None:
    async with httpx.AsyncClient() as http:
        for count in range(5):
            await _call(http, ports[0], token, f"d{number}-{count}", amount=600_000)
    began = time.monotonic()
    await _until(ports, token, lambda rule: rule == "halted", f"t{number}")
    found["trigger_ms"].append(_ms(began))
    await _lift(app, Halt(tenant="acme", what=WHAT, mode="halt", reason="bench", by="person:bench"), ports, token, number)


async def _lift(app: App, halt: Halt, ports: tuple[int, ...], token: str, number: int) -> None:
    await app.gate.halts.lift(halt)
    await _until(ports, token, lambda rule: rule != "halted", f"l{number}-{time.monotonic_ns()}")


async def _until(ports: tuple[int, ...], token: str, stands: Callable[[str], bool], key: str) -> None:
    """Until every process answers so."""

    async def one(port: int) -> None:
        async with httpx.AsyncClient() as http:
            for count in range(2000):
                if stands(await _call(http, port, token, f"{key}-{port}-{count}", amount=100)):
                    return
                await asyncio.sleep(0.01)
        raise RuntimeError("it never came")

    await asyncio.gather(*(one(port) for port in ports))


async def _call(http: httpx.AsyncClient, port: int, token: str, key: str, *, amount: int) -> str:
    """The rule that a call is refused by; empty when it is not."""
    arguments = {"account_id": "acct_00000001", "amount_minor": amount, "currency": "EUR", "memo": "x"}
    headers = {"authorization": f"Bearer {token}", "idempotency-key": key, "content-type": "application/json"}
    url = f"http://127.0.0.1:{port}/v1/tools/pay.transfer/call"
    with suppress(httpx.HTTPError):
        told = await http.post(url, content=json.dumps({"arguments": arguments}), headers=headers, timeout=10)
        return str(told.json().get("rule", ""))
    return "unreachable"


def _ms(began: float) -> int:
    return int((time.monotonic() - began) * 1000)
