"""Two tenants on one gateway: `acme` has something behind every kind of identifier, and `globex` would like to see it."""

import secrets
from typing import Any

from msgspec import Struct

from authority.agents import AGENTS, Bot, with_keys
from gates.plans import plan
from gateway.world import READ, World
from messages.post import Post
from runs.flows import lay

OWNER, CURIOUS = "acme", "globex"
MEMO = "the-memo-of-the-owner"
HIDDEN = """
apiVersion: aegis.message/v1
kind: Message
metadata: {name: hidden, version: 1.0.0, tenant: acme, owner: o@acme.example}
spec:
  description: Only the owner has this.
  from: ["agent:payer"]
  to: ["agent:store"]
  timeout: 600
  idempotency: source_and_id
  data: {type: object, properties: {text: {type: string}}}
"""
HIDDEN_FLOW = """
apiVersion: aegis.workflow/v1
kind: Workflow
metadata: {name: hidden, version: 1.0.0, tenant: acme, owner: ops, runbook: hidden.md}
spec:
  steps:
    gate: {wait: {signal: opened, timeout: 2h}}
"""
HIDDEN_TASK = """
apiVersion: aegis.workflow/v1
kind: Workflow
metadata: {name: hiddentask, version: 1.0.0, tenant: acme, owner: ops, run_as: agent:other, runbook: hidden.md}
spec:
  steps:
    find: {role: retriever, agent: agent:payer, queue: hidden}
"""
HIDDEN_QUEUE = """
apiVersion: aegis.queue/v1
kind: Queue
metadata: {name: hidden, version: 1.0.0, tenant: acme, owner: ops}
spec: {description: Only the owner has this., lease_seconds: 900, agents: {agent:payer: {remote: true}}}
"""
HIDDEN_TOOLS = ("workflow.hidden", "workflow.hiddentask", "queue.hidden")
HIDDEN_LINE = "".join(f"    {tool}: {{contract: {tool}@1}}\n" for tool in HIDDEN_TOOLS)
HIDDEN_RULE = (
    f"    - {{id: flows, effect: allow, tools: [{', '.join(HIDDEN_TOOLS)}], when: {{agent.roles: {{contains: treasury}}}}}}\n"
)


class Ids(Struct, frozen=True, kw_only=True):
    """One identifier of each kind."""

    request: str
    decided: str
    held: str
    approved: str
    override: str
    key: str
    event: str
    delegation_request: str
    delegation: str
    message: str
    lease: str
    tool: str
    agent: str
    kind: str
    statement: str
    plan: str
    run: str
    task: str
    task_lease: str

    def each(self) -> list[str]:
        return [getattr(self, name) for name in self.__struct_fields__]


class Two(Post):
    """What the owner has: a tool, an agent and a message that nobody else has, and one of everything under way."""

    def _write(self, tenant: str) -> None:
        super()._write(tenant)
        home = self.root / "tenants" / tenant
        if tenant == OWNER:
            text = READ.format(tenant=tenant, port=self.tool.port).replace("records.read", "vault.open")
            (home / "tools" / "vault.open.yaml").write_text(text)
            (home / "messages" / "hidden.yaml").write_text(HIDDEN)
            lay(self.root, tenant, workflows={"hidden": HIDDEN_FLOW, "task": HIDDEN_TASK}, lines=HIDDEN_LINE, rules=HIDDEN_RULE)
            (home / "queues").mkdir()
            (home / "queues" / "hidden.yaml").write_text(HIDDEN_QUEUE)
            path = home / "directory.yaml"
            path.write_text(
                path.read_text().replace("\n    agent:off:", "\n    agent:hidden: {roles: [], scopes: []}\n    agent:off:")
            )

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        with_keys(self)

    def owned(self) -> Ids:
        """Put one thing behind every kind of identifier."""
        done = self.call("pay.honours", {"amount": 5, "memo": MEMO}, "the-key", aegis_request_id="req-of-owner-1").json()
        held = self.call("pay.honours", {"amount": 1500, "memo": MEMO}, "held-key").json()
        approved = self.call("pay.honours", {"amount": 1600, "memo": MEMO}, "approved-key").json()
        assert self.approve(approved["approval_id"]).status_code == 200
        decided = self.post("/v1/decide", {"tool": "pay.honours", "arguments": {"amount": 1}}, idempotency_key="open-key").json()
        handed = Bot(self, "agent:desk").get().delegated("agent:planner", scopes=["pay.*"])
        assert self.send().status_code == 202
        taken = self.take(seconds=900)  # longer than a slow machine needs for all rows
        card = self.get(f"/v1/approvals/{held['approval_id']}", self.person_token()).json()
        begun = self.call("workflow.hidden", {}, "run-key").json()
        self.call("workflow.hiddentask", {}, "task-key")
        task = self.post("/v1/queues/hidden/lease", {"wait_seconds": 4}).json()["task"]
        return Ids(
            request=done["request_id"],
            decided=decided["request_id"],
            held=held["approval_id"],
            approved=approved["approval_id"],
            override=self.get(f"/v1/approvals/{approved['approval_id']}").json()["override_token"],
            key="the-key",
            event=self.events(done["request_id"])[0]["id"],
            delegation_request=handed["request_id"],
            delegation=handed["delegation"],
            message=taken["message_id"],
            lease=taken["lease"],
            tool="vault.open",
            agent="agent:hidden",
            kind="hidden",
            statement=self.statement(card),
            plan=self.planned(),
            run=begun["result"]["run"],
            task=task["task_id"],
            task_lease=task["lease"],
        )

    def planned(self) -> str:
        """A plan that waits for a person."""
        steps = {"look": {"tool": "records.read", "role": "retriever", "args": {"id": MEMO}}}
        made = plan(steps, run_as="agent:other")
        assert self.post("/v1/plans", {"plan": made}, self.token("agent:other"), idempotency_key="a-plan").status_code == 403
        return next(event["plan"]["id"] for event in self.events() if event["type"] == "plan_submitted")


def nowhere(ids: Ids) -> Ids:
    """Identifiers of the same shape and length, behind which there is nothing in any tenant."""
    made = {name: "".join(_other(char) for char in getattr(ids, name)[-8:]) for name in ids.__struct_fields__}
    made = {name: getattr(ids, name)[:-8] + end for name, end in made.items()}
    return Ids(**(made | {"tool": "vault.shut", "agent": "agent:nobody", "kind": "absent"}))


def _other(char: str) -> str:
    if char.isdigit():
        return str((int(char) + 1 + secrets.randbelow(8)) % 10)
    return char if not char.isalpha() else {"f": "a"}.get(char.lower(), chr(ord(char) + 1) if char.lower() != "z" else "a")


__all__ = ["AGENTS", "World"]
