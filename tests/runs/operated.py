"""A world with a run that waits for a signal, then has a step that may fail and is kept for a person."""

from contextlib import contextmanager
from typing import Any

import httpx
import msgspec

from aegis.adapters import keyfiles
from aegis.identity.token import build_person, mint
from aegis.runtime.runs.operating import Wanted
from gateway.world import World
from runs.flows import Flows, lay

RISKY = """
apiVersion: aegis.workflow/v1
kind: Workflow
metadata: {name: risky, version: 1.0.0, tenant: TENANT, owner: finance-ops, run_as: agent:other, runbook: risky.md}
spec:
  input: order@1
  returns: {paid: $steps.second.output.id}
  steps:
    first:
      role: executor
      tool: pay.honours@1
      args: {amount: $input.amount, memo: first}
      compensate: {tool: pay.ask@1, args: {amount: $input.amount}}
    go:
      wait: {signal: go, timeout: 2h}
      needs: [first]
    second:
      role: executor
      needs: [go]
      queue: desk
      tool: pay.honours@1
      args: {amount: $steps.go.output.amount, memo: second}
      on_failure: park
      retry: {attempts: 1}
      compensate: {none: "the last step"}
"""

QUEUE = """
apiVersion: aegis.queue/v1
kind: Queue
metadata: {name: desk, version: 1.0.0, tenant: TENANT, owner: finance-ops}
spec:
  description: Second looks.
  agents: {agent:payer: {remote: true}}
"""
LINES = "    workflow.risky: {contract: workflow.risky@1}\n    queue.desk: {contract: queue.desk@1}\n"
RULES = (
    "    - {id: workflows, effect: allow, tools: [workflow.risky], when: {agent.roles: {contains: treasury}}}\n"
    "    - {id: desk, effect: allow, tools: [queue.desk], when: {agent.roles: {contains: treasury}}}\n"
    "    - {id: desk.planner, effect: allow, tools: [queue.desk], when: {agent.roles: {contains: desk}, args.action: {eq: retry}}}\n"
    "    - {id: desk.cancel, effect: allow, tools: [queue.desk], when: {agent.roles: {contains: desk}, args.action: {eq: cancel}}}\n"
    "    - id: desk.two-eyes\n"
    "      effect: approval_needed\n"
    "      tools: [queue.desk]\n"
    "      when: {agent.roles: {contains: desk}, args.action: {eq: cancel}}\n"
    '      approval: {approvers: ["role:lead"], quorum: 1, ttl: 10m, not_requester: true}\n'
    "    - {id: desk.discard, effect: deny, tools: [queue.desk], when: {args.action: {in: [discard]}}, reason: people discard}\n"
)


class Operated(Flows):
    """A world in which runs are operated."""

    def signed_for(self, wanted: Wanted, person: str = "person:alice", tenant: str = "acme") -> str:
        return signed(self, wanted, person, tenant)

    def by_person(self, wanted: Wanted, person: str = "person:alice", **changed: Any) -> httpx.Response:
        """What a person asks for, signed."""
        wanted = drawn(wanted)
        body: dict[str, Any] = {"statement": self.signed_for(wanted, person), **changed}
        return self.post(path(wanted), body_of(wanted) | body, self.person_token(person))

    def by_agent(self, wanted: Wanted, agent: str = "agent:payer", **headers: str) -> httpx.Response:
        return self.post(path(wanted), body_of(wanted), self.token(agent), **headers)

    def waiting(self, amount: int = 7, key: str = "k1") -> str:
        """A run that waits for the signal `go`."""
        run = self.begin("risky", key, amount=amount)
        self.until(run, "waiting")
        return run

    def parked(self, key: str = "k1") -> str:
        """A run whose second step was denied, and waits for a person."""
        run = self.waiting(key=key)
        assert self.by_agent(go(run, amount=6000)).status_code == 200
        self.until_node(run, "second", "parked")
        return run

    def stuck(self, key: str = "k1") -> str:
        """A run whose compensation failed."""
        run = self.waiting(key=key)
        self.tool.mood = "refuse"
        assert self.by_person(Wanted(action="cancel", run=run, reason="not wanted")).status_code == 200
        self.until(run, "stuck")
        self.tool.mood = "ok"
        return run

    def until_node(self, run: str, node: str, state: str) -> None:
        self.until(run, "waiting", "running", "stuck", "succeeded", "failed")
        import time

        deadline = time.monotonic() + 20
        while str(self.state(run).nodes[node].state) != state:
            assert time.monotonic() < deadline, str(self.state(run).nodes[node])
            time.sleep(0.01)

    def told(self, run: str) -> list[dict[str, Any]]:
        """The events of the run as the journal holds them."""
        found = self.inside(lambda app: app.workflows.reading.events("acme", run))
        return list(found)


def signed(w: World, wanted: Wanted, person: str, tenant: str) -> str:
    """A person's statement about exactly this."""
    claims = build_person(tenant=tenant, person=person, audience=wanted.audience("aegis-gw"), now=w.hand())
    return mint(claims, keyfiles.load_private(w.keys, "human", tenant, person))


def go(run: str, key: str = "s1", **payload: Any) -> Wanted:
    return Wanted(action="signal", run=run, signal="go", key=key, payload=payload or {"amount": 8})


def drawn(wanted: Wanted) -> Wanted:
    """With a nonce, as whoever signs draws one."""
    return msgspec.structs.replace(wanted, nonce=wanted.nonce or "0123456789abcdef")


def path(wanted: Wanted) -> str:
    if wanted.node:
        return f"/v1/runs/{wanted.run}/steps/{wanted.node}/{wanted.action}"
    return f"/v1/runs/{wanted.run}/{wanted.action}"


def body_of(wanted: Wanted) -> dict[str, Any]:
    nonce = {"nonce": wanted.nonce} if wanted.nonce else {}
    if wanted.action == "signal":
        return {"name": wanted.signal, "key": wanted.key, "payload": wanted.payload} | nonce
    body: dict[str, Any] = nonce | ({"reason": wanted.reason} if wanted.reason else {})
    return body | ({"arguments": msgspec.to_builtins(wanted.arguments)} if wanted.action == "edit" else {})


@contextmanager
def operated(root, store_url="sqlite:data/aegis.db"):
    made = Operated(root, store_url)
    for tenant in ("acme", "globex"):
        lay(root, tenant, workflows={"risky": RISKY}, lines=LINES, rules=RULES)
        (root / "tenants" / tenant / "queues").mkdir(exist_ok=True)
        (root / "tenants" / tenant / "queues" / "desk.yaml").write_text(QUEUE.replace("TENANT", tenant))
    try:
        made.start()
        yield made
    finally:
        made.close()
