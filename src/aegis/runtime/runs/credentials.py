"""The credential of a task: an access token of the agent for just that task.

    run T:  starter -> workflow -> run_as  --enqueue-->  agent          the token's chain, nearest first
            live call of the run    live call `queue.NAME`              what the token stands on

It is good for at most five minutes and is renewed by heartbeats. It opens what the directory lets the agent do, within the budget
of the step, and is worth nothing from the moment at which the call that handed the task out is reported ended.
"""

from collections.abc import Callable
from datetime import datetime

from msgspec import Struct

from aegis.crypto.jwk import PrivateKey
from aegis.errors import IdentityError
from aegis.identity.access import Access, build_access
from aegis.identity.epoch import LONG_AGO
from aegis.identity.principal import principal
from aegis.identity.token import ACCESS, LONGEST, mint
from aegis.identity.verify import Verifier
from aegis.model.principal import Principal
from aegis.runtime.runs.queued import Stand
from aegis.runtime.tenant import Tenant

RENEWED = LONGEST[ACCESS] / 2
"""A credential that is good for less is exchanged for a new one by the next heartbeat."""


class Credential(Struct, frozen=True, kw_only=True):
    """A token, until when it is good, and the parent that its holder names in calls."""

    token: str
    expires_at: datetime
    parent: tuple[str, str]
    token_id: str


def stand(who: Principal, agent_id: str, enqueue: str, token_id: str, budget_micros: int | None) -> Stand:
    """What a task of `agent_id` stands on: `who` hands it out by the call `enqueue`. No agent is twice in a chain."""
    above = tuple(link.agent_id for link in who.chain if link.agent_id != agent_id)
    requests = ((who.agent_id, enqueue), *((each.agent_id, each.request_id) for each in who.requests))
    if agent_id == who.agent_id:
        parent = (who.parent.agent_id, who.parent.request_id) if who.parent else ("", "")
    else:
        parent, above = requests[0], (who.agent_id, *above)
    return Stand(
        agent_id=agent_id,
        subject=who.subject,
        run=who.txn,
        node=who.task,
        token_id=token_id,
        parent=parent,
        chain=above if parent[0] else (),
        requests=requests,
        budget_micros=budget_micros,
    )


def holder(tenant: Tenant, found: Stand) -> Principal:
    """Who works on the task, held against the directory of today.

    Raises:
        IdentityError: `unknown_agent`, `agent_disabled`, `unknown_ancestor`, `delegation_not_granted`.
    """
    entry = tenant.directory.agents.get(found.agent_id)
    if entry is None:
        raise IdentityError("unknown_agent")
    access = Access(
        tenant=tenant.name, agent_id=found.agent_id, subject=found.subject, roles=entry.roles, scopes=entry.scopes,
        token_id=found.token_id, kid="", not_before=LONG_AGO, expires_at=LONG_AGO, chain=found.chain,
        parent=found.parent if found.parent[0] else None, txn=found.run, task=found.node, budget_micros=found.budget_micros,
        requests=found.requests,
    )  # fmt: skip
    return principal(access, tenant.directory)


class TaskCredentials:
    """Signs them. `signer` gives the key that signs tokens of a tenant now."""

    def __init__(self, verifier: Verifier, audience: str, signer: Callable[[str, datetime], PrivateKey]) -> None:
        self._verifier = verifier
        self._audience = audience
        self._signer = signer

    def issue(self, tenant: Tenant, found: Stand, now: datetime, *, jkt: str = "", prompt: str = "") -> Credential:
        """A credential, verified as a gateway will verify it.

        `jkt` binds it to the key by which the worker showed itself, `prompt` are the instructions that it showed to work by.

        Raises:
            IdentityError: The agent could not use it: see `holder`, and `no_signing_key` where this host signs no tokens,
                `pop_required` when the directory wants its tokens bound to a key.
        """
        who = holder(tenant, found)
        if tenant.directory.agents[found.agent_id].proof_required and not jkt:
            raise IdentityError("pop_required", "tokens of this agent are bound to a key: lease with a `DPoP` proof")
        claims = build_access(
            tenant=tenant.name, agent_id=who.agent_id, subject=who.subject, roles=who.roles, scopes=who.scopes,
            audience=self._audience, now=now, token_id=found.token_id, parent=found.parent if found.parent[0] else None,
            chain=found.chain, txn=found.run, task=found.node, budget_micros=found.budget_micros, requests=found.requests,
            jkt=jkt, prompt=prompt,
        )  # fmt: skip
        token = mint(claims, self._signer(tenant.name, now))
        access = self._verifier.access(token, now=now)
        return Credential(token=token, expires_at=access.expires_at, parent=found.parent, token_id=found.token_id)
