"""A decision of the past, put together again from its event and its sealed arguments: to be explained, or decided anew."""

from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from aegis.crypto import ijson
from aegis.errors import ErasedError, InputError, SealError
from aegis.journal.store import Store
from aegis.model.decision import Decision, Outcome, PolicyRef, Reason, Redaction, Stage
from aegis.model.event import Stored
from aegis.model.facts import Facts
from aegis.model.principal import Link, Parent, Principal
from aegis.model.proposal import Proposal
from aegis.runtime.vault import Vault

PAGE = 1000


class Recorded(Struct, frozen=True, kw_only=True):
    """What was proposed, what was known, what was decided."""

    proposal: Proposal
    facts: Facts
    decision: Decision


class Lost(Struct, frozen=True, kw_only=True):
    """A decision whose arguments cannot be had: `erased` with their key, never `kept`, or `unreadable`."""

    why: str


async def events_of(store: Store, tenant: str, request_id: str) -> tuple[Stored, ...]:
    """The events of a request, oldest first: all but those in the midst of very many.

    An agent may name any request id, so refusals can be laid over a decision by the thousand: it is told wherever it lies.
    """
    first = await store.events(tenant, request_id=request_id, limit=PAGE)
    if len(first) < PAGE:
        return first
    newest = await store.events(tenant, request_id=request_id, limit=PAGE, newest_first=True)
    decision = await store.event(tenant, f"decision:{request_id}:0")
    by_seq = {each.seq: each for each in (*first, *newest, *([decision] if decision else []))}
    return tuple(each for _, each in sorted(by_seq.items()))


async def recorded(store: Store, vault: Vault, tenant: str, request_id: str) -> Recorded | None:
    """The newest decision on a request; `None` when there is none, or when its arguments were not kept or were erased."""
    found = await newest(store, vault, tenant, request_id)
    return found if isinstance(found, Recorded) else None


async def newest(store: Store, vault: Vault, tenant: str, request_id: str) -> Recorded | Lost | None:
    """The newest decision on a request, or why its arguments cannot be had; `None` when nothing was decided."""
    told = await store.events(tenant, request_id=request_id, limit=100_000)
    events = [event for event in told if event.type in ("decision", "delegation", "plan_submitted")]
    return await recall(vault, events[-1]) if events else None


async def recall(vault: Vault, event: Stored) -> Recorded | Lost:
    """The decision of one event; or why its arguments cannot be had."""
    body = msgspec.json.decode(event.body)
    try:
        plain = await vault.read(event.tenant, event.id, "arguments")
        arguments = ijson.parse(plain, max_size_bytes=len(plain)) if plain is not None else None
    except ErasedError:
        return Lost(why="erased")
    except (SealError, InputError):
        return Lost(why="unreadable")
    if not isinstance(arguments, dict):
        return Lost(why="not kept")
    return Recorded(proposal=_proposal(body, event.tenant, arguments), facts=_facts(body), decision=_decision(body))


def _proposal(body: dict[str, Any], tenant: str, arguments: dict[str, Any]) -> Proposal:
    agent = body["agent"]
    parent = body.get("parent_request_id", "")
    principal = Principal(
        tenant=tenant,
        agent_id=body["agent_id"],
        subject=body["actor"]["sub"],
        roles=tuple(agent["roles"]),
        scopes=tuple(agent["scopes"]),
        trust=agent["trust"],
        chain=tuple(Link(agent_id=link["id"], trust=link["trust"]) for link in agent["chain"]),
        parent=Parent(agent_id=body["parent_agent_id"], request_id=parent) if parent else None,
        token_id=body["token_jti"],
        txn=agent["txn"],
        task=agent["task"],
    )
    return Proposal(
        principal=principal,
        tool=body["tool"]["name"],
        arguments=arguments,
        tool_version=body["tool"]["version"],
        tool_digest=body["tool"]["digest"],
        environment=body["environment"],
        idempotency_key=body["idempotency_key"],
        request_id=body["request_id"],
        request_hash=body["request_hash"],
    )


def _facts(body: dict[str, Any]) -> Facts:
    """What rules could read then. A call that belongs to no run had no labels of a run to know."""
    read = body.get("facts", {})
    return Facts(
        now=datetime.fromisoformat(body["time"]),
        environment=body["environment"],
        history=read.get("history", {}),
        run_labels=tuple(read.get("run_labels", ())) if body["agent"]["txn"] else None,
        stated=read.get("stated", {}),
    )


def _decision(body: dict[str, Any]) -> Decision:
    policy = body["policy"]
    return Decision(
        outcome=Outcome(body["decision"]),
        rules=tuple(body["rules"]),
        matched=tuple(body["matched"]),
        reasons=tuple(
            Reason(rule=r["rule"], text=r.get("text", ""), field=r.get("field", ""), limit=r.get("limit")) for r in body["reasons"]
        ),
        redactions=tuple(Redaction(stage=Stage(r["stage"]), path=r["path"], form=r["form"]) for r in body.get("redactions", ())),
        approval_id=body["approval_id"],
        policy=PolicyRef(name=policy["bundle"], version=policy["version"], digest=policy["digest"]),
    )
