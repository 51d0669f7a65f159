"""Every token that we issue or take: names of claims, lifetimes, and what each type must hold.

    at+jwt          an agent's access token     signed by class `sts` of the tenant           at most 300 s
    delegation+jwt  a task handed down          as above (`aegis.identity.delegation`)        at most 300 s
    client-authentication+jwt  an agent at the token service, signed by its own key of class `workload`, at most 60 s
    override+jwt    the one use of an approval  signed by class `override` of the tenant      at most 60 s
    approval+jwt    a person's answer           signed by class `human`, owned by the person  at most 900 s
    person+jwt      a person who reads          signed by class `human`, owned by the person  at most 300 s

A token of one type is refused where another is expected. Times are whole seconds since 1970 (RFC 7519, section 2). The order of
checks is: type, key, signature, and only then what the claims say.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from aegis.crypto import jws
from aegis.crypto.jwk import PrivateKey
from aegis.crypto.jws import Jws
from aegis.errors import IdentityError
from aegis.identity import authz
from aegis.identity.claims import Claims, expect, spaced, span
from aegis.identity.epoch import LONG_AGO
from aegis.identity.keyset import KeyEntry, KeySet
from aegis.model.authority import Authority, Grant
from aegis.model.stated import NAMES

ACCESS, DELEGATION, OVERRIDE, APPROVAL, PERSON = "at+jwt", "delegation+jwt", "override+jwt", "approval+jwt", "person+jwt"
ASSERTION = "client-authentication+jwt"
LONGEST = {
    ACCESS: timedelta(seconds=300),
    DELEGATION: timedelta(seconds=300),
    ASSERTION: timedelta(seconds=60),
    OVERRIDE: timedelta(seconds=60),
    APPROVAL: timedelta(seconds=900),
    PERSON: timedelta(seconds=300),
}
KEY_CLASS = {ACCESS: "sts", DELEGATION: "sts", ASSERTION: "workload", OVERRIDE: "override", APPROVAL: "human", PERSON: "human"}
MAX_DEPTH = 8
_STATED = frozenset(NAMES)
_LARGEST = 2**53 - 1
_TIMES = frozenset({"iat", "nbf", "exp"})
_PARENT = frozenset({"agent_id", "request_id"})
_BUDGET = frozenset({"micros"})
_CNF = frozenset({"jkt"})
_KNOWN = {
    ACCESS: _TIMES | {
        "iss", "aud", "sub", "client_id", "tenant", "agent_id", "roles", "scope", "jti", "act", "depth", "max_depth", "parent",
        "txn", "task", "facts", "authz", "budget", "ancestors", "requests", "cnf", "prompt",
    },
    DELEGATION: _TIMES | {
        "iss", "aud", "tenant", "sub", "agent_id", "delegate", "scope", "chain", "max_depth", "jti", "parent", "txn", "task",
        "facts", "authz", "budget", "ancestors", "requests",
    },
    ASSERTION: _TIMES | {"iss", "sub", "aud", "jti", "prompt"},
    OVERRIDE: _TIMES | {"iss", "aud", "tenant", "agent_id", "approval_id", "request_hash", "jti"},
    APPROVAL: _TIMES | {"approval_id", "tenant", "request_hash", "decision", "shown", "approver", "reason"},
    PERSON: _TIMES | {"tenant", "sub", "aud"},
}  # fmt: skip


class Typed(Struct, frozen=True):
    """Claims together with the type of token that they make."""

    typ: str
    claims: dict[str, Any]


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


class Override(Struct, frozen=True, kw_only=True):
    """What an override token says: this agent may use this approval for exactly this request."""

    tenant: str
    agent_id: str
    approval_id: str
    request_hash: str
    token_id: str
    issued_at: datetime = LONG_AGO


class Statement(Struct, frozen=True, kw_only=True):
    """What a person signed about an approval. `shown` is the digest of the card that the person saw."""

    approval_id: str
    tenant: str
    request_hash: str
    approve: bool
    shown: str
    approver: str
    reason: str
    issued_at: datetime = LONG_AGO


class Person(Struct, frozen=True, kw_only=True):
    """A person who proved to hold their key."""

    tenant: str
    person: str
    issued_at: datetime = LONG_AGO


def issuer(tenant: str) -> str:
    """Who issues tokens in a tenant (RFC 9068, section 2.2: an identifier in the form of a URL; nothing is fetched from it)."""
    return f"https://aegis/{tenant}"


def mint(typed: Typed, key: PrivateKey) -> str:
    """The signed token."""
    return jws.sign(typed.typ, typed.claims, key)


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
    Claims(claims, _KNOWN[ACCESS]).numbers("facts", _STATED, _LARGEST)
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


def build_override(override: Override, *, now: datetime, ttl: timedelta, audience: str) -> Typed:
    """Claims of an override token; it is issued now, whatever `override.issued_at` says."""
    claims = {
        "iss": issuer(override.tenant),
        "aud": audience,
        "tenant": override.tenant,
        "agent_id": override.agent_id,
        "approval_id": override.approval_id,
        "request_hash": override.request_hash,
        "jti": override.token_id,
        **span(now, ttl, LONGEST[OVERRIDE]),
    }
    return Typed(OVERRIDE, claims)


def build_statement(
    *, approval_id: str, tenant: str, request_hash: str, approve: bool, shown: str, approver: str, reason: str, now: datetime
) -> Typed:
    """Claims of a person's answer to an approval."""
    claims = {
        "approval_id": approval_id,
        "tenant": tenant,
        "request_hash": request_hash,
        "shown": shown,
        "approver": approver,
        "decision": "approve" if approve else "deny",
        "reason": reason,
        **span(now, LONGEST[APPROVAL], LONGEST[APPROVAL]),
    }
    return Typed(APPROVAL, claims)


def build_person(*, tenant: str, person: str, audience: str, now: datetime) -> Typed:
    """Claims by which a person proves to hold their key."""
    return Typed(PERSON, {"tenant": tenant, "sub": person, "aud": audience, **span(now, LONGEST[PERSON], LONGEST[PERSON])})


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


def verify_override(token: Jws, keys: KeySet, *, audience: str, now: datetime) -> Override:
    """What an override token says, or `IdentityError`."""
    read, entry = verified(token, OVERRIDE, keys, now)
    check_issuer(read, entry, audience)
    return Override(
        tenant=entry.tenant,
        agent_id=read.name("agent_id"),
        approval_id=read.name("approval_id"),
        request_hash=read.name("request_hash"),
        token_id=read.name("jti"),
        issued_at=read.moment("iat"),
    )


def verify_statement(token: Jws, keys: KeySet, *, now: datetime) -> Statement:
    """What a person signed, or `IdentityError`."""
    read, entry = verified(token, APPROVAL, keys, now)
    expect(read.name("tenant") == entry.tenant, "wrong_tenant")
    expect(read.name("approver") == entry.owner, "wrong_owner")
    decision = read.name("decision")
    expect(decision in ("approve", "deny"), "malformed")
    return Statement(
        approval_id=read.name("approval_id"),
        tenant=entry.tenant,
        request_hash=read.name("request_hash"),
        approve=decision == "approve",
        shown=read.name("shown"),
        approver=entry.owner,
        reason=read.text("reason"),
        issued_at=read.moment("iat"),
    )


def verify_person(token: Jws, keys: KeySet, *, audience: str, now: datetime) -> Person:
    """Who proved to hold their key, or `IdentityError`."""
    read, entry = verified(token, PERSON, keys, now)
    expect(read.name("tenant") == entry.tenant, "wrong_tenant")
    expect(read.name("sub") == entry.owner, "wrong_owner")
    expect(read.name("aud") == audience, "wrong_audience")
    return Person(tenant=entry.tenant, person=entry.owner, issued_at=read.moment("iat"))


def verified(token: Jws, typ: str, keys: KeySet, now: datetime) -> tuple[Claims, KeyEntry]:
    """The claims of a token of this type, which a key of its class signed and whose time it is; nothing else is checked yet."""
    expect(token.typ == typ, "wrong_type")
    entry = keys.find(token.kid, KEY_CLASS[typ], now)
    if not entry.key.verify(token.signed, token.signature):
        raise IdentityError("bad_signature")
    read = Claims(token.claims(), _KNOWN[typ])
    read.check_span(LONGEST[typ], now)
    return read, entry


def check_issuer(read: Claims, entry: KeyEntry, audience: str) -> None:
    """Refuse a token of another tenant, issuer or audience."""
    # A key vouches for its own tenant only: what the claims say about the tenant must be what the key set says.
    expect(read.name("tenant") == entry.tenant, "wrong_tenant")
    expect(read.name("iss") == issuer(entry.tenant), "wrong_issuer")
    expect(read.name("aud") == audience, "wrong_audience")
