"""A world with a bank: a real tool server that notices when two writes to one account are at work at once."""

import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from gateway.world import World

TOOL = """
apiVersion: aegis.tool/v1
kind: Tool
metadata: {{name: {name}, version: 1.0.0, tenant: {tenant}, owner: o@{tenant}.example}}
spec:
  description: Moves money.
  effect: write
  resource: "account/{{account}}"
  conflicts: {conflicts}
  interrupt: {interrupt}
  upstream: {{url: "http://127.0.0.1:{port}", timeout_seconds: 1, connect_timeout_seconds: 1}}
  operations:
    call: {{method: POST, path: /{name}, body: all}}
  input:
    type: object
    required: [account, amount]
    properties: {{account: {{type: string, maxLength: 200}}, amount: {{type: integer}}}}
"""
TOOLS = {
    "bank.move": ("serialise", "honours_key"),
    "bank.close": ("refuse", "honours_key"),
    "bank.wire": ("serialise", "neither"),
}
RULES = "".join(f'    {name}: {{version: ">=1.0.0 <2.0.0", args: {{account: string, amount: integer}}}}\n' for name in TOOLS)
ALLOW = f"    - {{id: bank.allow, effect: allow, tools: [{', '.join(TOOLS)}]}}\n"
LEAD = """    - id: bank.lead
      effect: approval_needed
      tools: [bank.move]
      when: {args.amount: {gte: 1000}}
      approval: {approvers: ["role:lead"], quorum: 1, ttl: 10m, not_requester: true}
"""


class Ledger:
    """What the bank did. `pause` is how long a write is at work, `slow` how long some are; `overlaps` are accounts that two writes were at work on at once."""

    def __init__(self) -> None:
        self.pause = 0.0
        self.slow = 0.0
        self.broken = False
        self.overlaps: list[str] = []
        self.done: list[tuple[str, str]] = []
        self.at_work: Counter[str] = Counter()
        self.arrived = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def work(self, account: str, key: str) -> None:
        """One write; those of one key are one, as far as a tool that honours keys is concerned."""
        with self._lock:
            others = any(name == account and count and held != key for (name, held), count in self._running().items())
            self.at_work[f"{account}\0{key}"] += 1
            if others:
                self.overlaps.append(account)
        self.arrived.set()
        time.sleep(self.slow if self.slow and len(self.done) % 4 == 0 else self.pause)
        self.gate.wait(20)
        with self._lock:
            self.at_work[f"{account}\0{key}"] -= 1
            self.done.append((account, key))

    def _running(self) -> dict[tuple[str, str], int]:
        return {tuple(name.split("\0")): count for name, count in self.at_work.items()}

    def _handler(ledger) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 10

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                ledger.work(body["account"], self.headers.get("idempotency-key", ""))
                content = b'{"ok":true}'
                try:
                    self.send_response(500 if ledger.broken else 200)
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                except OSError:
                    self.close_connection = True

            def log_message(self, *args: object) -> None:
                pass

        return Handler


class Bank(World):
    """A world whose agents also may move money."""

    def __init__(self, root, store_url):
        self.ledger = Ledger()
        super().__init__(root, store_url)

    def _write(self, tenant):
        super()._write(tenant)
        home = self.root / "tenants" / tenant
        for name, (conflicts, interrupt) in TOOLS.items():
            text = TOOL.format(name=name, tenant=tenant, conflicts=conflicts, interrupt=interrupt, port=self.ledger.port)
            (home / "tools" / f"{name}.yaml").write_text(text)
        path = home / "policy.yaml"
        path.write_text(path.read_text().replace("  rules:\n", f"{RULES}  rules:\n{ALLOW}{LEAD}"))

    def close(self):
        self.ledger.gate.set()
        super().close()
        self.ledger.close()

    def rows(self, tenant="acme"):
        """The rows of resources, read by a store of our own."""
        import asyncio

        from aegis.app import open_store
        from aegis.runtime.clock import Clock

        async def read():
            store = await open_store(self.settings, Clock(self.hand))
            try:
                return await store.find(tenant, "resource", limit=1000)
            finally:
                await store.close()

        return asyncio.run(read())
