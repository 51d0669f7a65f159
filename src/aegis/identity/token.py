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

from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from aegis.crypto import jws
from aegis.crypto.jwk import PrivateKey
from aegis.crypto.jws import Jws
from aegis.errors import IdentityError
from aegis.identity.claims import Claims, expect, span
from aegis.identity.epoch import LONG_AGO
from aegis.identity.keyset import KeyEntry, KeySet

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
_TIMES = frozenset({"iat", "nbf", "exp"})
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
