"""The cast: agents with good tokens, and strangers with bad ones."""

import json
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from aegis.adapters import keyfiles
from aegis.app import directory_of
from aegis.crypto.jwk import private_key
from aegis.identity.access import build_access
from aegis.identity.token import mint
from aegis.runtime import ids
from aegis.sdk.client import Client
from aegis.settings import load
from aegis.surfaces.cli.demo.stage import TENANT, Agent, Stage


class Cast:
    """Hands out agent processes."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._settings = load(stage.home)
        self._directory = directory_of(self._settings, TENANT)
        self._agents: dict[str, Agent] = {}

    def agent(self, agent_id: str, *, fresh: bool = False) -> Agent:
        """The process of an agent of the directory; `fresh` makes another one of the same agent."""
        if fresh:
            return self._stage.agent(self._token(agent_id))
        if agent_id not in self._agents:
            self._agents[agent_id] = self._stage.agent(self._token(agent_id))
        return self._agents[agent_id]

    def run(self, agent_id: str, run: str) -> dict[str, Any]:
        """A run as this agent, who has started it, sees it."""
        with Client(self._stage.url, self._token(agent_id)) as client:
            found: dict[str, Any] = client.run(run)["run"]
            return found

    def delegated(self, agent_id: str, parent: tuple[str, str]) -> Agent:
        """An agent with a delegated token, which names a parent request."""
        return self._stage.agent(self._token(agent_id, parent=parent))

    def stranger(self) -> Agent:
        """Somebody with a key of its own, signing for an agent that no directory holds."""
        claims = self._claims("agent:mallory", datetime.now(UTC), roles=("treasury",), scopes=("*",))
        return self._stage.agent(mint(claims, private_key(secrets.token_bytes(32))))

    def expired(self) -> Agent:
        """The treasurer, with the token of ten minutes ago."""
        known = self._directory.agents["agent:treasurer"]
        claims = self._claims(known.id, datetime.now(UTC) - timedelta(minutes=10), roles=known.roles, scopes=known.scopes)
        return self._stage.agent(mint(claims, keyfiles.load_private(self._settings.keys, "sts", TENANT, "")))

    def tampered(self) -> Agent:
        """The treasurer, with one character of the signature changed."""
        token = self._token("agent:treasurer")
        place = token.rindex(".") + 10
        return self._stage.agent(token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :])

    def journal(self) -> list[dict[str, Any]]:
        """Every event of the tenant, read by `aegis audit tail` in a process of its own."""
        told = self._stage.command("--json", "audit", "tail", "-n", "100000")
        return [json.loads(line) for line in told.stdout.splitlines()]

    def _token(self, agent_id: str, parent: tuple[str, str] | None = None) -> str:
        known = self._directory.agents[agent_id]
        claims = self._claims(agent_id, datetime.now(UTC), roles=known.roles, scopes=known.scopes, parent=parent)
        return mint(claims, keyfiles.load_private(self._settings.keys, "sts", TENANT, ""))

    def _claims(
        self,
        agent_id: str,
        now: datetime,
        *,
        roles: tuple[str, ...],
        scopes: tuple[str, ...],
        parent: tuple[str, str] | None = None,
    ) -> Any:
        return build_access(
            tenant=TENANT,
            agent_id=agent_id,
            subject="user:nora",
            roles=roles,
            scopes=scopes,
            audience=self._settings.gateway.audience,
            now=now,
            ttl=timedelta(minutes=5),
            token_id=ids.new("tok", now),
            parent=parent,
        )
