"""A world with workflows: definitions, queues and the lines of policy that open them."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aegis.runtime.runs.flow import Flow
from aegis.workflow.run import State
from gateway.world import World

PAY = """
apiVersion: aegis.workflow/v1
kind: Workflow
metadata: {name: pay, version: 1.0.0, tenant: TENANT, owner: finance-ops, run_as: agent:other, runbook: pay.md}
spec:
  input: order@1
  returns: {paid: $steps.second.output.id}
  steps:
    first:
      role: executor
      tool: pay.honours@1
      args: {amount: $input.amount}
      compensate: {tool: pay.ask@1, args: {amount: $input.amount}}
    second:
      role: executor
      needs: [first]
      tool: pay.honours@1
      args: {amount: $input.amount, memo: second}
      retry: {attempts: 2, backoff: 10ms}
      compensate: {none: "the last step"}
"""

ORDER = """
apiVersion: aegis.data/v1
kind: Data
metadata: {name: order, version: 1.0.0, tenant: TENANT, owner: finance-ops}
spec:
  schema: {type: object, required: [amount], properties: {amount: {type: integer, minimum: 0}, items: {type: array, items: {type: integer}, maxItems: 200}}}
"""

LINES = "    workflow.pay: {contract: workflow.pay@1}\n"
RULES = "    - {id: workflows, effect: allow, tools: [workflow.pay], when: {agent.roles: {contains: treasury}}}\n"


def lay(
    root: Path, tenant: str = "acme", *, workflows: dict[str, str] | None = None, lines: str = LINES, rules: str = RULES
) -> None:
    """Put definitions into a tenant's folder, and lines and rules for them into its policy."""
    home = root / "tenants" / tenant
    for folder, documents in (("workflows", workflows or {"pay": PAY}), ("data", {"order": ORDER})):
        (home / folder).mkdir(exist_ok=True)
        for name, text in documents.items():
            (home / folder / f"{name}.yaml").write_text(text.replace("TENANT", tenant))
    policy = home / "policy.yaml"
    text = policy.read_text().replace("  rules:\n", lines + "  rules:\n" + rules, 1)
    policy.write_text(text)


class Flows(World):
    """A world that can look at its runs."""

    def begin(self, name: str = "pay", key: str = "k1", token: str | None = None, **arguments: Any) -> str:
        answer = self.call(f"workflow.{name}", arguments, key, token)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["result"]["run"])

    def row(self, run: str, tenant: str = "acme") -> Flow:
        found = self.inside(lambda app: app.workflows.histories.flow(tenant, run))
        assert found is not None
        return found

    def state(self, run: str, tenant: str = "acme") -> State:
        return self.inside(lambda app: app.workflows.histories.load(tenant, run)).state

    def inside(self, work: Any) -> Any:
        """Do something in the gateway's own loop."""
        import asyncio

        return asyncio.run_coroutine_threadsafe(work(self.app), self.loop).result(30)

    @property
    def loop(self) -> Any:
        return self.app.workflows.runs.loop

    def until(self, run: str, *states: str, tenant: str = "acme", seconds: float = 20) -> State:
        """The state of the run as soon as it stands in one of these."""
        deadline = time.monotonic() + seconds
        while (found := self.row(run, tenant)).status not in states:
            assert time.monotonic() < deadline, json.dumps([str(found.status), str(self.state(run, tenant).nodes)])
            time.sleep(0.01)
        return self.state(run, tenant)


@contextmanager
def flows(root: Path, store_url: str = "sqlite:data/aegis.db", **laid: Any) -> Iterator[Flows]:
    made = Flows(root, store_url)
    lay(root, **laid)
    try:
        made.start()
        yield made
    finally:
        made.close()
