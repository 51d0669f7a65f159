"""Plans that agents of the world (`gateway.world`) submit over HTTP."""

import json
import time
from typing import Any

GATES = """
apiVersion: aegis.gates/v1
kind: Gates
metadata: {{tenant: {tenant}}}
spec:
  risk: {{auto_below: 60, deny_above: 200}}
  money: {{above: 100, arguments: [amount]}}
  approvers: {{sets: [["role:lead"]], quorum: 1, expires: 1h}}
"""


def pay(amount: Any = 5, *, tool: str = "pay.honours", **more: Any) -> dict[str, Any]:
    step = {"tool": tool, "args": {"amount": amount}, "role": "executor", "compensate": {"none": "a test pays for good"}}
    return step | more


def plan(steps: dict[str, Any] | None = None, *, tenant: str = "acme", run_as: str = "agent:payer", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "aegis.workflow/v1",
        "kind": "Workflow",
        "metadata": {"name": "errand", "version": "1.0.0", "tenant": tenant, "owner": "o@acme.example", "run_as": run_as},
        "spec": {"budget": {"calls": 20}, "steps": steps if steps is not None else {"pay": pay()}} | spec,
    }


def submit(w: Any, made: Any, *, agent: str = "agent:payer", key: str = "k-1", tenant: str = "acme", **more: Any) -> Any:
    body = {"plan": made, **more.pop("body", {})}
    token = more.pop("token", None) or w.token(agent, tenant)
    return w.post("/v1/plans", body, token, **({"Idempotency-Key": key} if key else {}), **more)


def ended(w: Any, run: str, tenant: str = "acme") -> list[dict[str, Any]]:
    """The events of a run, once it has ended."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        events = w.events(run, tenant)
        if any(event["type"] == "outcome" for event in events) or any("finish" in json.dumps(event) for event in events):
            return events
        time.sleep(0.1)
    raise AssertionError([event["type"] for event in events])
