"""Every token that we issue or take: names of claims, lifetimes, and what each type must hold.

    at+jwt        an agent's access token       signed by class `sts` of the tenant           at most 300 s
    override+jwt  the one use of an approval    signed by class `override` of the tenant      at most 60 s
    approval+jwt  a person's answer             signed by class `human`, owned by the person  at most 900 s
    person+jwt    a person who reads            signed by class `human`, owned by the person  at most 300 s

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
from aegis.identity.claims import Claims, expect, spaced, span
from aegis.identity.epoch import LONG_AGO
from aegis.identity.keyset import KeyEntry, KeySet
from aegis.model.stated import NAMES

ACCESS, OVERRIDE, APPROVAL, PERSON = "at+jwt", "override+jwt", "approval+jwt", "person+jwt"
LONGEST = {
    ACCESS: timedelta(seconds=300),
    OVERRIDE: timedelta(seconds=60),
    APPROVAL: timedelta(seconds=900),
    PERSON: timedelta(seconds=300),
}
KEY_CLASS = {ACCESS: "sts", OVERRIDE: "override", APPROVAL: "human", PERSON: "human"}
MAX_DEPTH = 8
_STATED = frozenset(NAMES)
_LARGEST = 2**53 - 1
_TIMES = frozenset({"iat", "nbf", "exp"})
_PARENT = frozenset({"agent_id", "request_id"})
_KNOWN = {
    ACCESS: _TIMES | {
        "iss", "aud", "sub", "client_id", "tenant", "agent_id", "roles", "scope", "jti", "act", "depth", "max_depth", "parent",
        "txn", "task", "facts",
    },
    OVERRIDE: _TIMES | {"iss", "aud", "tenant", "agent_id", "approval_id", "request_hash", "jti"},
    APPROVAL: _TIMES | {"approval_id", "tenant", "request_hash", "decision", "shown", "approver", "reason"},
    PERSON: _TIMES | {"tenant", "sub", "aud"},
}  # fmt: skip


class Typed(Struct, frozen=True):
    """Claims together with the type of token that they make."""

    typ: str
    claims: dict[str, Any]


class Access(Struct, frozen=True, kw_only=True):
    """What an access token says. `chain` lists the ancestors, nearest parent first; `parent` is (agent id, request id)."""

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
) -> Typed:
    """Claims of an access token.

    `parent` makes it delegated: its agent is the nearest ancestor, and the only one unless `chain` names them all. `stated` are
    numbers for rules to read, under names of `aegis.model.stated`.

    Raises:
        IdentityError: `too_long_lived`, `depth_exceeded`, `malformed` for a scope that is no identifier.
    """
    ancestors = chain or ((parent[0],) if parent else ())
    expect(len(ancestors) <= max_depth <= MAX_DEPTH, "depth_exceeded")
    act: dict[str, Any] = {"sub": agent_id}
    innermost = act
    for ancestor in ancestors:  # RFC 8693, section 4.1: the outermost `act` is the current actor, older ones nest inside
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
        "depth": len(ancestors),
        "max_depth": max_depth,
        **span(now, ttl, LONGEST[ACCESS]),
    }
    if parent:
        claims["parent"] = {"agent_id": parent[0], "request_id": parent[1]}
    claims |= {name: value for name, value in (("txn", txn), ("task", task), ("facts", dict(stated or {}))) if value}
    Claims(claims, _KNOWN[ACCESS]).numbers("facts", _STATED, _LARGEST)
    return Typed(ACCESS, claims)


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
    read, entry = _verified(token, ACCESS, keys, now)
    agent_id = read.name("agent_id")
    _check_issuer(read, entry, audience)
    expect(read.name("client_id") == agent_id, "malformed")
    actors = read.nested("sub", "act")
    chain = actors[1:]
    expect(actors[0] == agent_id and read.whole("depth", len(chain)) == len(chain), "malformed")
    max_depth = read.whole("max_depth", MAX_DEPTH)
    expect(len(chain) <= max_depth, "depth_exceeded")
    parent = read.inner("parent", _PARENT)
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
        parent=(parent.name("agent_id"), parent.name("request_id")) if parent else None,
        txn=read.optional_name("txn"),
        task=read.optional_name("task"),
        stated=read.numbers("facts", _STATED, _LARGEST),
    )


def verify_override(token: Jws, keys: KeySet, *, audience: str, now: datetime) -> Override:
    """What an override token says, or `IdentityError`."""
    read, entry = _verified(token, OVERRIDE, keys, now)
    _check_issuer(read, entry, audience)
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
    read, entry = _verified(token, APPROVAL, keys, now)
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
    read, entry = _verified(token, PERSON, keys, now)
    expect(read.name("tenant") == entry.tenant, "wrong_tenant")
    expect(read.name("sub") == entry.owner, "wrong_owner")
    expect(read.name("aud") == audience, "wrong_audience")
    return Person(tenant=entry.tenant, person=entry.owner, issued_at=read.moment("iat"))


def _verified(token: Jws, typ: str, keys: KeySet, now: datetime) -> tuple[Claims, KeyEntry]:
    expect(token.typ == typ, "wrong_type")
    entry = keys.find(token.kid, KEY_CLASS[typ], now)
    if not entry.key.verify(token.signed, token.signature):
        raise IdentityError("bad_signature")
    read = Claims(token.claims(), _KNOWN[typ])
    read.check_span(LONGEST[typ], now)
    return read, entry


def _check_issuer(read: Claims, entry: KeyEntry, audience: str) -> None:
    # A key vouches for its own tenant only: what the claims say about the tenant must be what the key set says.
    expect(read.name("tenant") == entry.tenant, "wrong_tenant")
    expect(read.name("iss") == issuer(entry.tenant), "wrong_issuer")
    expect(read.name("aud") == audience, "wrong_audience")
