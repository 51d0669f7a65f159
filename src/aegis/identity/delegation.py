"""A task handed down: a parent's token and what it asks for, made into a delegation that one child can redeem.

    delegation+jwt   signed by class `sts` of the tenant   at most 300 s, and never longer than the parent's token

A delegation opens nothing by itself: it is addressed to one agent (`delegate`), who redeems it at the token service with a proof of
its own key. So no agent ever holds another one's access token. What the child gets is the parent's authority, narrowed; the chain,
the ids of the tokens above, the requests that all of it stands on, and the run are taken over from the parent and cannot be chosen.

An agent may also delegate to itself. The chain then stays as it is: the token is a credential for one task, narrower than the one
that it was made from, and dead when the task's request ends.
"""

from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from aegis.crypto.jws import Jws
from aegis.errors import IdentityError
from aegis.identity.access import (
    MAX_DEPTH,
    Access,
    build_access,
    narrowed_claims,
    read_budget,
    read_grants,
    read_parent,
    read_requests,
    read_stated,
)
from aegis.identity.claims import expect, spaced
from aegis.identity.epoch import LONG_AGO
from aegis.identity.keyset import KeySet
from aegis.identity.narrow import narrow
from aegis.identity.token import ACCESS, DELEGATION, LONGEST, Typed, check_issuer, issuer, verified
from aegis.model.authority import Authority


class Delegation(Struct, frozen=True, kw_only=True):
    """What a delegation says: `agent_id` hands the task to `to`. The members are those of `Access`, as the child will have them."""

    tenant: str
    agent_id: str
    to: str
    subject: str
    authority: Authority
    token_id: str
    expires_at: datetime
    chain: tuple[str, ...] = ()
    max_depth: int = MAX_DEPTH
    parent: tuple[str, str] | None = None
    ancestors: tuple[str, ...] = ()
    requests: tuple[tuple[str, str], ...] = ()
    txn: str = ""
    task: str = ""
    stated: tuple[tuple[str, int], ...] = ()
    issued_at: datetime = LONG_AGO


class Wanted(Struct, frozen=True, kw_only=True):
    """What a parent asks to hand down: to whom, which authority at most, for how long, for which task."""

    to: str
    authority: Authority
    ttl: timedelta = LONGEST[ACCESS]
    task: str = ""
    max_depth: int = MAX_DEPTH


def hand_down(held: Access, wanted: Wanted, *, request_id: str, token_id: str, now: datetime) -> Delegation:
    """The delegation that a parent who holds the token `held` may make. `request_id` is the request that it will stand on.

    Raises:
        IdentityError: `scope_widening`; `depth_exceeded`, also for an agent that would stand twice in its own chain;
            `task_mismatch` when the parent's token is for another task; `too_long_lived`; `expired`.
    """
    authority = narrow(held.authority, wanted.authority)
    expect(timedelta(seconds=1) <= wanted.ttl <= LONGEST[DELEGATION], "too_long_lived")
    start = now.replace(microsecond=0)
    expect(start < held.expires_at, "expired")
    own = wanted.to == held.agent_id
    chain = held.chain if own else (held.agent_id, *held.chain)
    max_depth = min(held.max_depth, wanted.max_depth)
    if len(chain) > max_depth:
        raise IdentityError("depth_exceeded", f"expected at most {max_depth} agents above another")
    if wanted.to in chain:
        raise IdentityError("depth_exceeded", f"`{wanted.to}` stands in the chain already: a delegation never comes back")
    if own and held.task and wanted.task not in ("", held.task):
        raise IdentityError("task_mismatch", "a token for one task is not made into one for another")
    here = (held.agent_id, request_id)
    return Delegation(
        tenant=held.tenant,
        agent_id=held.agent_id,
        to=wanted.to,
        subject=held.subject,
        authority=authority,
        token_id=token_id,
        expires_at=min(held.expires_at, start + wanted.ttl),
        chain=chain,
        max_depth=max_depth,
        parent=held.parent if own else here,
        ancestors=(held.token_id, *held.ancestors),
        requests=(here, *held.requests),
        txn=held.txn or request_id,
        task=wanted.task or (held.task if own else ""),
        stated=held.stated,
    )


def build_delegation(made: Delegation, *, audience: str, now: datetime) -> Typed:
    """Claims of a delegation."""
    start = int(now.timestamp())
    claims: dict[str, Any] = {
        "iss": issuer(made.tenant),
        "aud": audience,
        "tenant": made.tenant,
        "sub": made.subject,
        "agent_id": made.agent_id,
        "delegate": made.to,
        "scope": spaced(made.authority.scopes),
        "chain": list(made.chain),
        "max_depth": made.max_depth,
        "jti": made.token_id,
        "iat": start,
        "nbf": start,
        "exp": int(made.expires_at.timestamp()),
        **narrowed_claims(made.authority.grants, made.authority.budget_micros, made.ancestors, made.requests),
    }
    if made.parent:
        claims["parent"] = {"agent_id": made.parent[0], "request_id": made.parent[1]}
    optional = (("txn", made.txn), ("task", made.task), ("facts", dict(made.stated)))
    claims |= {name: value for name, value in optional if value}
    return Typed(DELEGATION, claims)


def verify_delegation(token: Jws, keys: KeySet, *, audience: str, now: datetime) -> Delegation:
    """What a delegation says, or `IdentityError`. Whether it is still worth anything the caller asks the journal."""
    read, entry = verified(token, DELEGATION, keys, now)
    check_issuer(read, entry, audience)
    return Delegation(
        tenant=entry.tenant,
        agent_id=read.name("agent_id"),
        to=read.name("delegate"),
        subject=read.name("sub"),
        authority=Authority(scopes=read.words("scope"), grants=read_grants(read), budget_micros=read_budget(read)),
        token_id=read.name("jti"),
        expires_at=read.moment("exp"),
        chain=read.names("chain"),
        max_depth=read.whole("max_depth", MAX_DEPTH),
        parent=read_parent(read),
        ancestors=read.names("ancestors"),
        requests=read_requests(read),
        txn=read.optional_name("txn"),
        task=read.optional_name("task"),
        stated=read_stated(read),
        issued_at=read.moment("iat"),
    )


def redeemed(
    made: Delegation, *, roles: tuple[str, ...], audience: str, token_id: str, now: datetime, jkt: str = "", prompt: str = ""
) -> Typed:
    """Claims of the child's own access token: exactly what was handed down, until the delegation ends."""
    left = made.expires_at - now.replace(microsecond=0)
    return build_access(
        tenant=made.tenant,
        agent_id=made.to,
        subject=made.subject,
        roles=roles,
        scopes=made.authority.scopes,
        audience=audience,
        now=now,
        token_id=token_id,
        ttl=min(left, LONGEST[ACCESS]),
        parent=made.parent,
        chain=made.chain,
        max_depth=made.max_depth,
        txn=made.txn,
        task=made.task,
        stated=dict(made.stated),
        grants=made.authority.grants,
        budget_micros=made.authority.budget_micros,
        ancestors=(made.token_id, *made.ancestors),
        requests=made.requests,
        jkt=jkt,
        prompt=prompt,
    )
