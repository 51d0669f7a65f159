"""An agent's access token: what it says, from the scopes that it opens to everything that it stands on.

    at+jwt   signed by class `sts` of the tenant   at most 300 s

Delegations carry the same claims about authority and lineage (`aegis.identity.delegation`), so their readers and writers are here.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from aegis.crypto.jws import Jws
from aegis.identity import authz
from aegis.identity.claims import Claims, expect, spaced, span
from aegis.identity.epoch import LONG_AGO
from aegis.identity.keyset import KeySet
from aegis.identity.token import ACCESS, LONGEST, Typed, check_issuer, issuer, verified
from aegis.model.authority import Authority, Grant
from aegis.model.stated import NAMES

MAX_DEPTH = 8
_STATED = frozenset(NAMES)
_LARGEST = 2**53 - 1
_PARENT = frozenset({"agent_id", "request_id"})
_BUDGET = frozenset({"micros"})
_CNF = frozenset({"jkt"})


class Access(Struct, frozen=True, kw_only=True):
    """What an access token says. `chain` lists the ancestors, nearest parent first; `parent` is (agent id, request id).

    `ancestors` are the ids of the tokens that it was narrowed from, `requests` all that it stands on, as `parent`, nearest first.
    `jkt` is the thumbprint of the key whose possession must be proven with each use; empty for a bearer token.
    """

    tenant: str
    agent_id: str
    subject: str
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    token_id: str
    kid: str
    not_before: datetime
    expires_at: datetime
    issued_at: datetime = LONG_AGO
    chain: tuple[str, ...] = ()
    max_depth: int = MAX_DEPTH
    parent: tuple[str, str] | None = None
    txn: str = ""
    task: str = ""
    stated: tuple[tuple[str, int], ...] = ()
    grants: tuple[Grant, ...] | None = None
    budget_micros: int | None = None
    ancestors: tuple[str, ...] = ()
    requests: tuple[tuple[str, str], ...] = ()
    jkt: str = ""
    prompt: str = ""

    @property
    def authority(self) -> Authority:
        """What the token opens at most."""
        return Authority(scopes=self.scopes, grants=self.grants, budget_micros=self.budget_micros)


def build_access(
    *,
    tenant: str,
    agent_id: str,
    subject: str,
    roles: tuple[str, ...],
    scopes: tuple[str, ...],
    audience: str,
    now: datetime,
    token_id: str,
    ttl: timedelta = LONGEST[ACCESS],
    parent: tuple[str, str] | None = None,
    chain: tuple[str, ...] = (),
    max_depth: int = MAX_DEPTH,
    txn: str = "",
    task: str = "",
    stated: Mapping[str, int] | None = None,
    grants: tuple[Grant, ...] | None = None,
    budget_micros: int | None = None,
    ancestors: tuple[str, ...] = (),
    requests: tuple[tuple[str, str], ...] = (),
    jkt: str = "",
    prompt: str = "",
) -> Typed:
    """Claims of an access token.

    `parent` makes it delegated: its agent is the nearest ancestor, and the only one unless `chain` names them all. `stated` are
    numbers for rules to read, under names of `aegis.model.stated`. The rest is as in `Access`.

    Raises:
        IdentityError: `too_long_lived`, `depth_exceeded`, `malformed` for a scope that is no identifier.
    """
    above = chain or ((parent[0],) if parent else ())
    expect(len(above) <= max_depth <= MAX_DEPTH, "depth_exceeded")
    act: dict[str, Any] = {"sub": agent_id}
    innermost = act
    for ancestor in above:  # RFC 8693, section 4.1: the outermost `act` is the current actor, older ones nest inside
        innermost["act"] = {"sub": ancestor}
        innermost = innermost["act"]
    claims: dict[str, Any] = {
        "iss": issuer(tenant),
        "aud": audience,
        "sub": subject,
        "client_id": agent_id,
        "tenant": tenant,
        "agent_id": agent_id,
        "roles": list(roles),
        "scope": spaced(scopes),
        "jti": token_id,
        "act": act,
        "depth": len(above),
        "max_depth": max_depth,
        **span(now, ttl, LONGEST[ACCESS]),
    }
    if parent:
        claims["parent"] = {"agent_id": parent[0], "request_id": parent[1]}
    claims |= narrowed_claims(grants, budget_micros, ancestors, requests)
    claims |= {"cnf": {"jkt": jkt}} if jkt else {}
    optional = (("txn", txn), ("task", task), ("facts", dict(stated or {})), ("prompt", prompt))
    claims |= {name: value for name, value in optional if value}
    Claims(claims, frozenset(claims)).numbers("facts", _STATED, _LARGEST)
    return Typed(ACCESS, claims)


def narrowed_claims(
    grants: tuple[Grant, ...] | None,
    budget_micros: int | None,
    ancestors: tuple[str, ...],
    requests: tuple[tuple[str, str], ...],
) -> dict[str, Any]:
    """The claims of tokens that were narrowed from others; those that say nothing are left out."""
    claims: dict[str, Any] = {} if grants is None else {"authz": authz.written(grants)}
    claims |= {} if budget_micros is None else {"budget": {"micros": budget_micros}}
    claims |= {"ancestors": list(ancestors)} if ancestors else {}
    if requests:
        claims["requests"] = [{"agent_id": who, "request_id": which} for who, which in requests]
    return claims


def verify_access(token: Jws, keys: KeySet, *, audience: str, now: datetime) -> Access:
    """What an access token says, or `IdentityError` with the reason."""
    read, entry = verified(token, ACCESS, keys, now)
    agent_id = read.name("agent_id")
    check_issuer(read, entry, audience)
    expect(read.name("client_id") == agent_id, "malformed")
    actors = read.nested("sub", "act")
    chain = actors[1:]
    expect(actors[0] == agent_id and read.whole("depth", len(chain)) == len(chain), "malformed")
    max_depth = read.whole("max_depth", MAX_DEPTH)
    expect(len(chain) <= max_depth, "depth_exceeded")
    parent = read_parent(read)
    requests = read_requests(read) or ((parent,) if parent else ())
    expect(parent is None or parent in requests, "malformed")
    return Access(
        tenant=entry.tenant,
        agent_id=agent_id,
        subject=read.name("sub"),
        roles=read.names("roles"),
        scopes=read.words("scope"),
        token_id=read.name("jti"),
        kid=entry.kid,
        not_before=read.moment("nbf"),
        expires_at=read.moment("exp"),
        issued_at=read.moment("iat"),
        chain=chain,
        max_depth=max_depth,
        parent=parent,
        txn=read.optional_name("txn"),
        task=read.optional_name("task"),
        stated=read_stated(read),
        grants=read_grants(read),
        budget_micros=read_budget(read),
        ancestors=read.names("ancestors") if read.has("ancestors") else (),
        requests=requests,
        jkt=bound.name("jkt") if (bound := read.inner("cnf", _CNF)) else "",
        prompt=read.optional_name("prompt"),
    )


def read_parent(read: Claims) -> tuple[str, str] | None:
    """The claim `parent`: whose request, and which."""
    found = read.inner("parent", _PARENT)
    return (found.name("agent_id"), found.name("request_id")) if found else None


def read_requests(read: Claims) -> tuple[tuple[str, str], ...]:
    """The claim `requests`: all that the token stands on, nearest first."""
    return tuple((each.name("agent_id"), each.name("request_id")) for each in read.objects("requests", _PARENT))


def read_grants(read: Claims) -> tuple[Grant, ...] | None:
    """The claim `authz`; `None` when there is none."""
    return authz.read(read.raw("authz")) if read.has("authz") else None


def read_budget(read: Claims) -> int | None:
    """The claim `budget`, in millionths; `None` when there is none."""
    found = read.inner("budget", _BUDGET)
    return found.whole("micros", _LARGEST) if found else None


def read_stated(read: Claims) -> tuple[tuple[str, int], ...]:
    """The claim `facts`."""
    return read.numbers("facts", _STATED, _LARGEST)
