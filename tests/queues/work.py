"""A world with queues: a workflow that gives one agent a task, in whichever way the agent gets it."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from runs.flows import Flows, lay

GIVE = """
apiVersion: aegis.workflow/v1
kind: Workflow
metadata: {name: NAME, version: 1.0.0, tenant: TENANT, owner: ops, run_as: agent:other, runbook: give.md}
spec:
  input: order@1
  returns: {found: $steps.find.output}
  steps:
    find:
      role: retriever
      agent: AGENT
      queue: NAME
      input: {amount: $input.amount}
      retry: {attempts: 2, backoff: 10ms}
"""
QUEUE = """
apiVersion: aegis.queue/v1
kind: Queue
metadata: {name: NAME, version: 1.0.0, tenant: TENANT, owner: team:work}
spec:
  description: Work.
  agents: AGENTS
  lease_seconds: LEASE
"""
NAMES = ("near", "far", "away")
"""Queues whose agents are functions, services and remote workers."""


def lay_queues(root, tenant="acme", *, endpoint="http://127.0.0.1:9/", limits="", lease=30, fans=0, money=False):
    """A queue and a workflow of the same name for each kind of agent."""
    home = root / "tenants" / tenant
    (home / "queues").mkdir(exist_ok=True)
    serves = {
        "near": '{agent:payer: {python: "tests.queues.agents:find"}}',
        "far": f'{{agent:payer: {{endpoint: "{endpoint}", timeout_seconds: 2}}}}',
        "away": "{agent:payer: {remote: true}, agent:desk: {remote: true}}",
    }
    flows = {}
    for name in NAMES:
        text = QUEUE.replace("NAME", name).replace("AGENTS", serves[name]).replace("TENANT", tenant).replace("LEASE", str(lease))
        (home / "queues" / f"{name}.yaml").write_text(text + limits)
        flows[name] = GIVE.replace("NAME", name).replace("AGENT", "agent:payer")
    if fans:
        fan = f"      for_each: $input.items\n      max_parallel: {fans}\n"
        flows["away"] = (
            flows["away"].replace("{amount: $input.amount}", "{amount: $item}").replace("      retry:", fan + "      retry:")
        )
    if money:
        flows["away"] = flows["away"].replace("  input: order@1\n", "  input: order@1\n  budget: {usd: '0.000100'}\n")
        flows["away"] = flows["away"].replace("      retry:", "      estimate: {usd: '0.000015'}\n      retry:")
    lines = "".join(f"    {kind}.{name}: {{contract: {kind}.{name}@1}}\n" for name in NAMES for kind in ("workflow", "queue"))
    tools = ", ".join(f"{kind}.{name}" for name in NAMES for kind in ("workflow", "queue"))
    banned = "{args.action: {in: [drain]}}"
    rules = (
        f"    - {{id: work, effect: allow, tools: [{tools}], when: {{agent.roles: {{contains: treasury}}}}}}\n"
        f"    - {{id: nodrain, effect: deny, tools: [queue.away], when: {banned}, reason: people drain}}\n"
    )
    lay(root, tenant, workflows=flows, lines=lines, rules=rules)


class Work(Flows):
    """A world that leases tasks."""

    def lease(self, agent="agent:payer", queue="away", tenant="acme", token=None, **more):
        return self.post(f"/v1/queues/{queue}/lease", more, token or self.token(agent, tenant))

    def take(self, **more):
        """The next task, waited for."""
        told = self.lease(**{"wait_seconds": 4, **more})
        assert told.status_code == 200, told.text
        task = told.json()["task"]
        assert task is not None, "no task came"
        return task

    def say(self, task, word, agent="agent:payer", token=None, **more):
        return self.post(f"/v1/tasks/{task['task_id']}/{word}", {"lease": task["lease"], **more}, token or self.token(agent))

    def act(self, task, tool="pay.honours", key="1", token=None, **arguments):
        """Call a tool with the credential of a task."""
        given = task["credential"]
        body = {
            "arguments": arguments or {"amount": 1},
            "parent_agent_id": given["parent_agent_id"],
            "parent_request_id": given["parent_request_id"],
        }
        return self.post(f"/v1/tools/{tool}/call", body, token or given["token"], idempotency_key=task["key_prefix"] + key)

    def of_type(self, kind, tenant="acme"):
        return [event for event in self.events(tenant=tenant) if event["type"] == kind]


@contextmanager
def work(root, store_url="sqlite:data/aegis.db", *, module="tests.queues.agents", **laid):
    from msgspec.structs import replace

    made = Work(root, store_url)
    for tenant in ("acme", "globex"):
        lay_queues(root, tenant, **laid)
    made.settings = replace(made.settings, workflows=replace(made.settings.workflows, agents=module))
    try:
        made.start()
        yield made
    finally:
        made.close()


class Service:
    """An agent that is a service: `answer(said) -> (status, body)` says what it does."""

    def __init__(self, answer):
        self.heard = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                said = json.loads(self.rfile.read(int(self.headers["content-length"])))
                service.heard.append((self.headers["authorization"], said))
                status, body = answer(said)
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/tasks"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()
