"""An agent that shows who it is by its own key: it gets short tokens by itself, hands tasks down, and takes up those handed to it.

    planner = Agent("http://127.0.0.1:8420", "agent:planner", tenant="acme", key="keys/planner.jwk.json")
    most = {"tool": "payments.transfer", "limits": {"amount_minor": {"max": 500000}}, "calls": 1}
    handed = planner.delegate("agent:payer", tools=[most])
    ...                                       # send `handed.delegation` to the payer, with the task
    task = payer.take_up(handed.delegation)
    with Client(url, task) as client:
        client.call("payments.transfer", {...}, key="invoice-17")
    planner.end(handed)                       # the task is over, and with it everything below

An `Agent` is what a `Client` takes for a token. A token that was taken back, or whose key was, is replaced by a fresh one at once.
With `bound=True` its tokens are bound to a key that never leaves this process, and each request carries a proof of it (RFC 9449): a
token that is stolen on the way is worth nothing.
"""

import http.client
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import orjson
from msgspec import Struct

from aegis.crypto.digest import sha256
from aegis.crypto.jwk import PrivateKey, decode, private_key
from aegis.errors import ConfigError, GatewayError, IdentityError
from aegis.identity.assertion import build_assertion
from aegis.identity.possession import prove
from aegis.identity.token import mint
from aegis.sdk import exchange
from aegis.sdk.exchange import Message

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
DELEGATION = "urn:aegis:params:oauth:token-type:delegation"
EARLY_SECONDS = 20.0
TIMEOUT_SECONDS = 30.0


class Handed(Struct, frozen=True, kw_only=True):
    """A task that was handed down: `delegation` goes to the agent `to`, `request_id` ends it."""

    delegation: str
    request_id: str
    to: str
    expires_in: int
    task: str = ""


class _Token(Struct, frozen=True):
    text: str
    until: float
    parent: tuple[str, str] | None


class Agent:
    """One agent with its key. It may be used from several threads.

    `key` is a private JWK: its path (of a directory the newest file in it), its text, or the key itself. `scopes`, `tools` and
    `task` narrow the tokens that it gets for itself; `prompt` are the instructions that it works by, where the directory pins
    them: the `Path` of the file, or its digest (`sha256:...`).
    """

    def __init__(
        self,
        url: str,
        agent_id: str,
        *,
        tenant: str,
        key: PrivateKey | Path | str,
        bound: bool = False,
        scopes: Sequence[str] = (),
        tools: Sequence[Mapping[str, Any]] | None = None,
        budget_micros: int | None = None,
        task: str = "",
        prompt: Path | str = "",
        delegation: str = "",
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ConfigError("url: expected `http://HOST:PORT` or `https://HOST`")
        self.url = f"{parts.scheme}://{parts.netloc}"
        self.agent_id = agent_id
        self.tenant = tenant
        self._key = _read(key)
        self._prompt = prompt if isinstance(prompt, str) else _digest(prompt)
        self._delegation = delegation
        self._proof = private_key(secrets.token_bytes(32)) if bound else None
        self._wanted = _wanted(scopes, tools, budget_micros) | ({"task": task} if task else {})
        self._lock = threading.Lock()
        self._token: _Token | None = None

    @property
    def parent(self) -> tuple[str, str] | None:
        """Whose request this agent works under, and which; `None` when it works for itself."""
        return self._fresh().parent

    def headers(self, method: str, path: str) -> dict[str, str]:
        """The headers that prove who asks, for one request; a token that is about to end is replaced first."""
        token = self._fresh().text
        if self._proof is None:
            return {"authorization": f"Bearer {token}"}
        return {"authorization": f"DPoP {token}", "dpop": self._proven(method, path, token)}

    def renew(self, headers: Mapping[str, str]) -> None:
        """Do not show the token of these headers again: it was refused."""
        with self._lock:
            if self._token is not None and headers["authorization"].endswith(f" {self._token.text}"):
                self._token = None

    def delegate(
        self,
        to: str = "",
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        scopes: Sequence[str] | None = None,
        budget_micros: int | None = None,
        task: str = "",
        ttl: timedelta = timedelta(minutes=5),
        max_depth: int | None = None,
    ) -> Handed:
        """Hand a task down to the agent `to`, or to oneself for a credential that is good for one task.

        Raises:
            PolicyViolation: It asks for more than this agent holds, or the directory does not let it.
        """
        body: dict[str, Any] = {
            "to": to or self.agent_id,
            "task": task,
            "ttl_seconds": int(ttl.total_seconds()),
        }
        body |= {} if scopes is None else {"scopes": list(scopes)}
        body |= {} if tools is None else {"tools": [dict(each) for each in tools]}
        body |= {} if budget_micros is None else {"budget_micros": budget_micros}
        body |= {} if max_depth is None else {"max_depth": max_depth}
        found = self._post(exchange.ask("/v1/delegations", body, parent=self.parent))
        return Handed(
            delegation=found["delegation"],
            request_id=found["request_id"],
            to=found["to"],
            expires_in=found["expires_in"],
            task=found.get("task", ""),
        )

    def end(self, handed: Handed | str) -> None:
        """The task is over: everything below it is refused from now on."""
        request_id = handed if isinstance(handed, str) else handed.request_id
        self._post(exchange.ask(f"/v1/delegations/{request_id}/end", {}))

    def take_up(self, delegation: str) -> "Agent":
        """This agent as it works on a task that was handed to it."""
        found = Agent(
            self.url,
            self.agent_id,
            tenant=self.tenant,
            key=self._key,
            bound=self._proof is not None,
            prompt=self._prompt,
            delegation=delegation,
        )
        found.headers("GET", "/v1/tools")  # gets the token now, so that a delegation that is refused is noticed here
        return found

    def _fresh(self) -> _Token:
        with self._lock:
            if self._token is None or time.monotonic() >= self._token.until:
                self._token = self._asked()
            return self._token

    def _asked(self) -> _Token:
        form = {"client_assertion_type": ASSERTION, "client_assertion": self._assertion(), **self._grant()}
        headers = {"content-type": "application/x-www-form-urlencoded"}
        if self._proof is not None:
            headers["dpop"] = self._proven("POST", "/v1/token", "")
        asked = Message(method="POST", path="/v1/token", headers=headers, body=urlencode(form).encode())
        found = exchange.understood(*self._answered(asked, {}))
        lasts = float(found["expires_in"])
        parent = (found["parent_agent_id"], found["parent_request_id"]) if found.get("parent_agent_id") else None
        return _Token(found["access_token"], time.monotonic() + max(lasts - EARLY_SECONDS, lasts / 2), parent)

    def _grant(self) -> dict[str, str]:
        if not self._delegation:
            return {"grant_type": "client_credentials", **self._wanted}
        return {"grant_type": EXCHANGE, "subject_token": self._delegation, "subject_token_type": DELEGATION}

    def _assertion(self) -> str:
        found = build_assertion(
            tenant=self.tenant, agent_id=self.agent_id, token_id=secrets.token_hex(16), now=datetime.now(UTC), prompt=self._prompt
        )
        return mint(found, self._key)

    def _proven(self, method: str, path: str, token: str) -> str:
        assert self._proof is not None
        return prove(
            self._proof, method=method, url=self.url + path, now=datetime.now(UTC), proof_id=secrets.token_hex(16), token=token
        )

    def _post(self, message: Message) -> dict[str, Any]:
        proof = self.headers(message.method, message.path)
        status, body = self._answered(message, proof)
        if exchange.over(status, body):
            self.renew(proof)
            status, body = self._answered(message, self.headers(message.method, message.path))
        return exchange.understood(status, body)

    def _answered(self, message: Message, more: Mapping[str, str]) -> tuple[int, bytes]:
        parts = urlsplit(self.url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.netloc, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(message.method, message.path, body=message.body, headers={**message.headers, **more})
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise GatewayError(f"the gateway at {self.url} did not answer: {type(error).__name__}") from None
        finally:
            connection.close()


def _read(key: PrivateKey | Path | str) -> PrivateKey:
    """The private key of a JWK, of which only the seed is taken.

    Raises:
        ConfigError: There is no Ed25519 private key; the message never tells what was there.
    """
    if isinstance(key, PrivateKey):
        return key
    text = key if isinstance(key, str) and key.lstrip().startswith("{") else None
    try:
        content = orjson.loads(text if text is not None else _file(Path(key)).read_bytes())
        return private_key(decode(content["d"]))
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError, AttributeError, IdentityError):
        place = "the text" if text is not None else f"`{key}`"
        raise ConfigError(f"key: {place} holds no Ed25519 private key as a JWK; `aegis keys new workload` makes one") from None


def _digest(prompt: Path) -> str:
    """The digest of the instructions in a file, as the directory's side makes it."""
    try:
        return sha256(prompt.read_bytes())
    except OSError:
        raise ConfigError(f"prompt: `{prompt}` cannot be read") from None


def _file(path: Path) -> Path:
    """The file, or the newest key in a directory such as `keys/workload/acme/agent-planner`."""
    found = path.glob("*.jwk.json") if path.is_dir() else ()
    return max(found, key=lambda each: each.stat().st_mtime_ns, default=path)


def _wanted(scopes: Sequence[str], tools: Sequence[Mapping[str, Any]] | None, budget_micros: int | None) -> dict[str, str]:
    found = {"scope": " ".join(scopes)} if scopes else {}
    found |= {} if tools is None else {"authorization_details": orjson.dumps([dict(each) for each in tools]).decode()}
    return found | ({} if budget_micros is None else {"budget_micros": str(budget_micros)})
