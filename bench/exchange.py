"""The token service and what possession costs: tokens by an agent's own key, tasks handed down and taken up, bound against bearer calls.

As `gateway`: this process makes load and also signs each assertion and proof, so a part of the time is its own.
"""

import asyncio
import json
import secrets
import statistics
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import psutil
from bench.gateway import ARGUMENTS, SECONDS, load, on_both, request, served

from aegis.adapters import keyfiles
from aegis.crypto.jwk import PrivateKey, private_key
from aegis.identity.assertion import build_assertion
from aegis.identity.possession import prove
from aegis.identity.token import mint
from aegis.sdk.agent import ASSERTION, DELEGATION, EXCHANGE

AGENT, CHILD = "agent:bench", "agent:child"
FORM = "application/x-www-form-urlencoded"
CONNECTIONS = (1, 16)
Make = Callable[[], bytes]


def run() -> list[dict[str, Any]]:
    """Rows for both stores."""
    return on_both(_measure)


def _measure(kind: str, store_url: str) -> list[dict[str, Any]]:
    with served(store_url, (AGENT, CHILD)) as (root, _, port, pid):
        cast = _Cast(root, port)
        return [row for count in CONNECTIONS for row in asyncio.run(_level(kind, count, cast, pid))]


class _Cast:
    """Two agents with their keys, and every request that they make."""

    def __init__(self, root: Path, port: int) -> None:
        self.port = port
        self._keys = {name: keyfiles.load_private(root / "keys", "workload", "acme", name) for name in (AGENT, CHILD)}
        self._proof: PrivateKey = private_key(secrets.token_bytes(32))
        self._bearer = self._token("")
        self._bound = self._token(self._proven("/v1/token", ""))
        self._delegation = self._handed()

    def requests(self) -> tuple[tuple[str, Make], ...]:
        """What is measured, by name."""
        return (
            ("token by own key", lambda: self._form(self._client(AGENT))),
            ("hand a task down", lambda: request("/v1/delegations", self._task(), f"Authorization: Bearer {self._bearer}\r\n")),
            ("take a task up (exchange)", lambda: self._form(self._redeem())),
            ("call, bearer token", lambda: self._call(f"Authorization: Bearer {self._bearer}\r\n")),
            ("call, bound token", self._bound_call),
        )

    def _client(self, name: str) -> dict[str, str]:
        made = build_assertion(tenant="acme", agent_id=name, token_id=secrets.token_hex(12), now=datetime.now(UTC))
        return {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION,
            "client_assertion": mint(made, self._keys[name]),
        }

    def _redeem(self) -> dict[str, str]:
        return self._client(CHILD) | {"grant_type": EXCHANGE, "subject_token": self._delegation, "subject_token_type": DELEGATION}

    def _form(self, fields: dict[str, str]) -> bytes:
        return request("/v1/token", urlencode(fields), "", kind=FORM)

    def _call(self, headers: str) -> bytes:
        key = f"Idempotency-Key: {secrets.token_hex(8)}\r\n"
        return request("/v1/tools/pay.transfer/call", json.dumps({"arguments": ARGUMENTS}), headers + key)

    def _bound_call(self) -> bytes:
        proof = self._proven("/v1/tools/pay.transfer/call", self._bound)
        return self._call(f"Authorization: DPoP {self._bound}\r\nDPoP: {proof}\r\n")

    def _proven(self, path: str, token: str) -> str:
        address = f"http://localhost{path}"
        return prove(self._proof, method="POST", url=address, now=datetime.now(UTC), proof_id=secrets.token_hex(12), token=token)

    def _task(self) -> str:
        return json.dumps({"to": CHILD, "tools": [{"tool": "pay.transfer", "limits": {"amount_minor": {"max": 5000}}}]})

    def _token(self, proof: str) -> str:
        headers = {"host": "localhost", **({"dpop": proof} if proof else {})}
        told = httpx.post(f"http://127.0.0.1:{self.port}/v1/token", data=self._client(AGENT), headers=headers)
        return str(told.raise_for_status().json()["access_token"])

    def _handed(self) -> str:
        headers = {"authorization": f"Bearer {self._bearer}", "content-type": "application/json"}
        told = httpx.post(f"http://127.0.0.1:{self.port}/v1/delegations", content=self._task(), headers=headers)
        return str(told.raise_for_status().json()["delegation"])


async def _level(kind: str, connections: int, cast: _Cast, pid: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    process = psutil.Process(pid)
    for name, make in cast.requests():
        await load(connections, cast.port, make, 0.3)
        before = sum(process.cpu_times()[:2])
        times = sorted(await load(connections, cast.port, make, SECONDS))
        cpu = sum(process.cpu_times()[:2]) - before
        rows.append({
            "bench": "exchange", "store": kind, "name": name, "connections": connections, "requests": len(times),
            "per_second": round(len(times) / SECONDS), "p50_ms": round(statistics.median(times) * 1e3, 2),
            "p99_ms": round(times[int(len(times) * 0.99)] * 1e3, 2), "cpu_us": round(cpu / len(times) * 1e6),
        })  # fmt: skip
    return rows
