"""A gateway whose tenants have messages: `order` in two major versions, `note` for any auditor, and the event `closed`."""

import time
import uuid

from gateway.world import World

ORDER = """
apiVersion: aegis.message/v1
kind: Message
metadata: {{name: order, version: {version}, tenant: {tenant}, owner: orders@{tenant}.example}}
spec:
  description: Something is ordered.
  from: ["agent:payer", "role:sales"]
  to: ["agent:store"]
  timeout: 600
  idempotency: source_and_id
  data:
    type: object
    required: [sku, {field}]
    properties:
      sku: {{type: string, maxLength: 40}}
      {field}: {{type: integer, minimum: 0}}
      card: {{type: string, maxLength: 40}}{more}
"""
NOTE = """
apiVersion: aegis.message/v1
kind: Message
metadata: {{name: note, version: 1.0.0, tenant: {tenant}, owner: o@{tenant}.example}}
spec:
  description: A note.
  from: ["agent:payer"]
  to: ["agent:store", "role:audit"]
  timeout: 600
  idempotency: required
  data: {{type: object, properties: {{text: {{type: string}}}}}}
"""
CLOSED = """
apiVersion: aegis.message/v1
kind: Event
metadata: {{name: books.closed, version: 1.0.0, tenant: {tenant}, owner: o@{tenant}.example}}
spec:
  description: The books are closed.
  from: ["agent:payer"]
  to: ["agent:store", "role:audit"]
  timeout: 600
  idempotency: source_and_id
  data: {{type: object, required: [month], properties: {{month: {{type: integer}}}}}}
"""
AGENTS = """
    agent:store: {roles: [], scopes: ["message.*"], trust: 3}
    agent:ann: {roles: [audit], scopes: ["message.*"], trust: 3}
    agent:ben: {roles: [audit], scopes: ["message.*"], trust: 3}
    agent:seller: {roles: [sales], scopes: ["message.*"], trust: 3}
    agent:reader:"""
LINES = """
  tools:
    message.order: {version: ">=1.0.0 <3.0.0", args: {source: string, id: string, to: "string?", subject: "string?", time: "string?", data: object}}
    message.note: {contract: message.note@1}
    message.books.closed: {contract: message.books.closed@1}"""
RULES = """
  rules:
    - {id: order.allow, effect: allow, tools: [message.order], when: {not: {agent.roles: {contains: banned}}}}
    - {id: order.sales, effect: deny, tools: [message.order], when: {agent.roles: {contains: sales}}, reason: sales do not order}
    - {id: order.mask, effect: sanitize, tools: [message.order], when: {args.data.card: {present: true}}, redact: [{path: /args/data/card, with: mask}]}
    - id: order.large
      effect: approval_needed
      tools: [message.order]
      when: {args.data.amount: {present: true, gte: 1000}}
      approval: {approvers: ["role:lead"], quorum: 1, ttl: 10m, not_requester: true}
      reason: a lead must look
    - {id: rest.allow, effect: allow, tools: [message.note, message.books.closed]}"""


class Post(World):
    """A world with messages."""

    def _write(self, tenant):
        super()._write(tenant)
        home = self.root / "tenants" / tenant
        (home / "messages").mkdir()
        for version, field, more in (
            ("1.0.0", "amount", ""),
            ("1.2.0", "amount", "\n      gift: {type: boolean}"),
            ("2.0.0", "count", ""),
        ):
            text = ORDER.format(tenant=tenant, version=version, field=field, more=more)
            (home / "messages" / f"order-{version}.yaml").write_text(text)
        (home / "messages" / "note.yaml").write_text(NOTE.format(tenant=tenant))
        (home / "messages" / "closed.yaml").write_text(CLOSED.format(tenant=tenant))
        for name, pairs in (
            ("directory.yaml", {"\n    agent:reader:": AGENTS}),
            ("policy.yaml", {"\n  tools:": LINES, "\n  rules:": RULES}),
        ):
            text = (home / name).read_text()
            for old, new in pairs.items():
                assert text.count(old) == 1, old
                text = text.replace(old, new)
            (home / name).write_text(text)

    def as_agent(self, name, tenant="acme", **more):
        """A token of one of the agents that deal in messages."""
        roles = {"agent:ann": ("audit",), "agent:ben": ("audit",), "agent:seller": ("sales",), "agent:payer": ("treasury",)}.get(
            name, ()
        )
        scopes = ("*",) if name == "agent:payer" else ("message.*",)
        return self.token(name, tenant, **{"roles": roles, "scopes": scopes, **more})

    def envelope(self, kind="order", version="1.0.0", data=None, **more):
        data = {"sku": "A-1", "amount": 5} if data is None else data
        made = {
            "specversion": "1.0",
            "id": uuid.uuid4().hex,
            "source": "agent:payer",
            "type": kind,
            "schemaversion": version,
            "data": data,
        }
        made |= more
        return {name: value for name, value in made.items() if value is not None}

    def send(self, *args, token=None, headers=None, **more):
        return self.post("/v1/messages", self.envelope(*args, **more), token or self.as_agent("agent:payer"), **(headers or {}))

    def lease(self, kind="order", accept="1.2", agent="agent:store", tenant="acme", seconds=60, token=None):
        body = {"type": kind, "accept": accept, "lease_seconds": seconds}
        return self.post("/v1/messages/lease", body, token or self.as_agent(agent, tenant))

    def take(self, *args, **more):
        """The leased message, or nothing."""
        told = self.lease(*args, **more)
        assert told.status_code == 200, told.text
        return told.json()["message"]

    def ack(self, taken, agent="agent:store", tenant="acme"):
        return self.post(f"/v1/messages/{taken['message_id']}/ack", {"lease": taken["lease"]}, self.as_agent(agent, tenant))

    def nack(self, taken, agent="agent:store", reason="no time"):
        body = {"lease": taken["lease"], "reason": reason}
        return self.post(f"/v1/messages/{taken['message_id']}/nack", body, self.as_agent(agent))

    def of_type(self, kind, tenant="acme"):
        return [event for event in self.events(tenant=tenant) if event["type"] == kind]

    def inside(self, work):
        """Run `work(app)` on parts of our own, as a command does."""
        import asyncio

        from aegis.app import open_app
        from aegis.runtime.clock import Clock

        async def run():
            app = await open_app(self.settings, clock=Clock(self.hand))
            try:
                app.gate.clock.witness(await app.gate.store.latest())
                return await work(app)
            finally:
                await app.gate.store.close()

        return asyncio.run(run())

    def dead(self, tenant="acme"):
        return self.inside(lambda app: app.messages.letters.listed(tenant))


def until(look, seconds=15):
    """What `look` finds at last."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.1)
    raise AssertionError("nothing came")
