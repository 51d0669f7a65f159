"""Agents of a world with keys of their own: they get tokens at the token service and hand tasks down over real HTTP."""

import json
import secrets
from datetime import timedelta
from typing import Any

import httpx

from aegis.adapters import keyfiles
from aegis.crypto.jwk import PrivateKey, private_key
from aegis.identity.assertion import build_assertion
from aegis.identity.possession import prove
from aegis.identity.token import mint
from aegis.surfaces.gateway.tokens import ASSERTION, DELEGATION
from gateway.world import TENANTS, World

AGENTS = ("agent:payer", "agent:other", "agent:reader", "agent:desk", "agent:planner", "agent:remote")


def with_keys(world: World) -> None:
    """Give every agent of every tenant a key; call it before the gateway starts."""
    for tenant in TENANTS:
        for agent in AGENTS:
            keyfiles.create(world.keys, "workload", tenant, agent, now=world.hand() - timedelta(minutes=1))


class Bot:
    """One agent with its key. `bound` makes it prove possession of a key of its own with every request."""

    def __init__(self, w: World, agent_id: str, tenant: str = "acme", *, bound: bool = False, prompt: str = "") -> None:
        self.w = w
        self.agent_id = agent_id
        self.tenant = tenant
        self.prompt = prompt
        self.key: PrivateKey | None = private_key(secrets.token_bytes(32)) if bound else None
        self.access = ""
        self.parent: tuple[str, str] | None = None

    def assertion(self, *, key: PrivateKey | None = None, **change: Any) -> str:
        found = {
            "tenant": self.tenant,
            "agent_id": self.agent_id,
            "token_id": secrets.token_hex(8),
            "now": self.w.hand(),
            "prompt": self.prompt,
        }
        made = build_assertion(**(found | change))
        return mint(made, key or keyfiles.load_private(self.w.keys, "workload", self.tenant, self.agent_id))

    def proof(self, method: str, path: str, *, token: str = "", key: PrivateKey | None = None, **change: Any) -> str:
        assert key or self.key
        found = {"method": method, "url": self.w.url + path, "now": self.w.hand(), "proof_id": secrets.token_hex(8), "token": token}
        return prove(key or self.key, **(found | change))  # type: ignore[arg-type]

    def ask(
        self, *, delegation: str = "", assertion: str | None = None, headers: dict[str, str] | None = None, **form: str
    ) -> httpx.Response:
        """`POST /v1/token`."""
        fields = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION,
            "client_assertion": assertion or self.assertion(),
        }
        if delegation:
            fields |= {
                "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
                "subject_token": delegation,
                "subject_token_type": DELEGATION,
            }
        more = {"dpop": self.proof("POST", "/v1/token")} if self.key and headers is None else headers or {}
        return httpx.post(self.w.url + "/v1/token", data={**fields, **form}, headers=more, timeout=30)

    def get(self, **asked: Any) -> "Bot":
        """A token, or the test ends."""
        told = self.ask(**asked)
        assert told.status_code == 200, told.text
        self.take(told.json())
        return self

    def take(self, view: dict[str, Any]) -> None:
        self.access = view["access_token"]
        self.parent = (view["parent_agent_id"], view["parent_request_id"]) if view.get("parent_agent_id") else None

    def hand(self, to: str = "", **wanted: Any) -> httpx.Response:
        """`POST /v1/delegations`."""
        return self.post("/v1/delegations", {"to": to, **self.named(), **wanted})

    def delegated(self, to: str, **wanted: Any) -> dict[str, Any]:
        """What was handed down, or the test ends."""
        told = self.hand(to, **wanted)
        assert told.status_code == 200, told.text
        found: dict[str, Any] = told.json()
        return found

    def named(self) -> dict[str, str]:
        return {"parent_agent_id": self.parent[0], "parent_request_id": self.parent[1]} if self.parent else {}

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        given = {"content-type": "application/json", **self.auth("POST", path)}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        return httpx.post(self.w.url + path, content=json.dumps(body).encode(), headers=given, timeout=30)

    def auth(self, method: str, path: str) -> dict[str, str]:
        if self.key is None:
            return {"authorization": f"Bearer {self.access}"}
        return {"authorization": f"DPoP {self.access}", "dpop": self.proof(method, path, token=self.access)}

    def call(self, tool: str, arguments: dict[str, Any], key: str = "", **more: Any) -> httpx.Response:
        headers = {"idempotency_key": key} if key else {}
        return self.post(f"/v1/tools/{tool}/call", {"arguments": arguments, **self.named(), **more}, **headers)

    def end(self, request_id: str) -> httpx.Response:
        return self.post(f"/v1/delegations/{request_id}/end", {})


def child_of(parent: Bot, to: str, *, bound: bool = False, **wanted: Any) -> tuple[Bot, str]:
    """The child with its token, and the request that its task stands on."""
    handed = parent.delegated(to, **wanted)
    return Bot(parent.w, to, parent.tenant, bound=bound).get(delegation=handed["delegation"]), handed["request_id"]
