"""Plans and facts for tests of gates, made by hand."""

from typing import Any

from aegis.identity.directory import Directory, parse_directory
from aegis.model.contract import Contract, contract
from aegis.model.document import parse
from aegis.model.principal import Principal
from aegis.model.queue import queue_contract
from aegis.policy.ir import Policy
from aegis.policy.language import load
from aegis.workflow.gates import Gates, Scene
from aegis.workflow.graph import Action, ApprovalSpec, Budget, Step, Workflow

DIRECTORY = """
apiVersion: aegis.directory/v1
kind: Directory
metadata: {tenant: acme}
spec:
  agents:
    agent:planner: {roles: [planner], scopes: ["*"], trust: 3, may_delegate_to: [agent:payer]}
    agent:payer: {roles: [treasury], scopes: [pay.*, crm.*, mail.*], trust: 4}
    agent:reader: {roles: [reader], scopes: [crm.*], trust: 2}
    agent:far: {roles: [reader], scopes: [crm.*], trust: 1}
    agent:off: {roles: [], scopes: [], enabled: false}
  people:
    person:alice: {roles: [operator]}
"""

TOOL = """
apiVersion: aegis.tool/v1
kind: Tool
metadata: {{name: {name}, version: 1.0.0, tenant: acme, owner: o@acme.example}}
spec:
  description: For tests.
  effect: {effect}
  {resource}
  upstream: {{url: "{url}"}}
  operations: {{call: {{method: POST, path: /do, body: all}}}}
  cost_micros: {cost}
  {subject}
  input: {{type: object, required: [{required}], properties: {{amount_minor: {{type: integer}}, to: {{type: string}}, person: {{type: string}}}}}}
"""
TOOLS = {
    "crm.read": ("read", "http://127.0.0.1:1", 0),
    "pay.transfer": ("write", "http://127.0.0.1:1", 50),
    "pay.refund": ("write", "http://127.0.0.1:1", 5),
    "pay.wipe": ("dangerous", "http://127.0.0.1:1", 0),
    "mail.send": ("write", "https://mail.example", 1),
}
POLICY = """
apiVersion: aegis.policy/v1
kind: PolicySet
metadata: {name: gates, tenant: acme, owner: security@acme.example}
spec:
  timezone: UTC
  tools:
    crm.read: {version: ">=1.0.0 <2.0.0", labels: {emits: [confidential]}, args: {amount_minor: integer?, to: string?, person: string?}}
    pay.transfer: {version: ">=1.0.0 <2.0.0", args: {amount_minor: integer?, to: string?, person: string?}}
    pay.refund: {version: ">=1.0.0 <2.0.0", args: {amount_minor: integer?, to: string?, person: string?}}
    pay.wipe: {version: ">=1.0.0 <2.0.0", args: {amount_minor: integer?, to: string?, person: string?}}
    mail.send: {version: ">=1.0.0 <2.0.0", labels: {sink: external}, args: {amount_minor: integer?, to: string?, person: string?}}
    queue.default: {version: ">=1.0.0 <2.0.0", args: {action: string, agent: string, workflow: string?, run: string?, step: string?}}
  rules:
    - {id: hand-out, effect: allow, tools: [queue.default], when: {agent.roles: {contains: planner}}}
    - {id: all, effect: allow, tools: [crm.read, pay.transfer, pay.refund, pay.wipe, mail.send]}
    - {id: ceiling, effect: deny, tools: [pay.transfer], when: {args.amount_minor: {gt: 900000}}, reason: too much}
    - id: look
      effect: approval_needed
      tools: [pay.transfer]
      when: {args.amount_minor: {gt: 500000}}
      approval: {approvers: ["role:operator"], quorum: 1, ttl: 10m, not_requester: true}
      reason: somebody must look
"""


SMALL = {"pay.transfer": {"amount_minor": 5}}


def tool(name: str, *, subject: str = "") -> Contract:
    effect, url, cost = TOOLS[name]
    text = TOOL.format(
        name=name,
        effect=effect,
        url=url,
        cost=cost,
        resource="resource: ledger/x\n  interrupt: honours_key" if effect != "read" else "",
        subject=f"data_subject: {subject}" if subject else "",
        required=subject,
    )
    return contract(parse(text, source=f"{name}.yaml"))


DIRECTORY_VALUE: Directory = parse_directory(parse(DIRECTORY, source="directory.yaml"))
QUEUE = """
apiVersion: aegis.queue/v1
kind: Queue
metadata: {name: default, version: 1.0.0, tenant: acme, owner: o@acme.example}
spec:
  description: For tests.
  agents:
    agent:payer: {remote: true}
    agent:reader: {remote: true}
    agent:far: {endpoint: "https://far.example/tasks"}
"""
CONTRACTS: dict[str, Contract] = {name: tool(name) for name in TOOLS}
CONTRACTS["queue.default"] = queue_contract(parse(QUEUE, source="default.yaml"))
POLICY_VALUE: Policy = load(POLICY, source="policy.yaml")
PLANNER = Principal(
    tenant="acme", agent_id="agent:planner", subject="person:zoe", roles=("planner",), scopes=("*",), trust=3, token_id="tok_1"
)


def scene(**changed: Any) -> Scene:
    base = {
        "directory": DIRECTORY_VALUE,
        "contracts": CONTRACTS,
        "policy": POLICY_VALUE,
        "gates": Gates(tenant="acme", auto_below=1000),
        "environment": "test",
        "halted": {},
        "signed": True,
    }
    return Scene(**(base | changed))


def call(name: str, *, id: str = "", arguments: Any = None, needs: tuple[str, ...] = (), **more: Any) -> Step:  # noqa: A002
    undo = Action(kind="tool", name="pay.refund")
    base: dict[str, Any] = {"undo": undo} if TOOLS.get(name, ("",))[0] in ("write", "dangerous") else {}
    return Step(
        id=id or name.replace(".", "_"),
        kind="tool",
        role="executor",
        act=Action(kind="tool", name=name, arguments=arguments if arguments is not None else SMALL.get(name, {})),
        needs=needs,
        place="plan.yaml:1:1",
        **(base | more),
    )


def ask(id: str = "ask", needs: tuple[str, ...] = (), **more: Any) -> Step:  # noqa: A002
    spec = ApprovalSpec(approver_sets=(("role:operator",),))
    return Step(id=id, kind="approval", role="approver", approval=spec, needs=needs, place="plan.yaml:1:1", **more)


def plan(*steps: Step, **changed: Any) -> Workflow:
    base = {
        "name": "trip",
        "version": "1.0.0",
        "tenant": "acme",
        "owner": "o@acme.example",
        "run_as": "agent:payer",
        "digest": "sha256:" + "0" * 64,
        "budget": Budget(calls=10_000),
    }
    return Workflow(steps=steps, **(base | changed))
