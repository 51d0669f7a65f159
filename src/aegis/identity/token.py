"""Every token that we issue or take: names of claims, lifetimes, and what each type must hold.

    at+jwt        an agent's access token       signed by class `sts` of the tenant           at most 300 s
    override+jwt  the one use of an approval    signed by class `override` of the tenant      at most 60 s
    approval+jwt  a person's answer             signed by class `human`, owned by the person  at most 900 s
    person+jwt    a person who reads            signed by class `human`, owned by the person  at most 300 s

A token of one type is refused where another is expected. Times are whole seconds since 1970 (RFC 7519, section 2).
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct

from aegis.crypto import jws
from aegis.crypto.jwk import PrivateKey
from aegis.crypto.jws import Jws
from aegis.errors import IdentityError
from aegis.identity.keyset import KeyEntry, KeySet

ACCESS, OVERRIDE, APPROVAL, PERSON = "at+jwt", "override+jwt", "approval+jwt", "person+jwt"
LONGEST = {
    ACCESS: timedelta(seconds=300), OVERRIDE: timedelta(seconds=60), APPROVAL: timedelta(seconds=900),
    PERSON: timedelta(seconds=300),
}  # fmt: skip
KEY_CLASS = {ACCESS: "sts", OVERRIDE: "override", APPROVAL: "human", PERSON: "human"}
SKEW = timedelta(seconds=30)
MAX_DEPTH = 8
MAX_TEXT = 256


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
    chain: tuple[str, ...] = ()
    parent: tuple[str, str] | None = None
    txn: str = ""
    task: str = ""


class Override(Struct, frozen=True, kw_only=True):
    """What an override token says: this agent may use this approval for exactly this request."""

    tenant: str
    agent_id: str
    approval_id: str
    request_hash: str
    token_id: str


class Statement(Struct, frozen=True, kw_only=True):
    """What a person signed about an approval. `shown` is the digest of the card that the person saw."""

    approval_id: str
    tenant: str
    request_hash: str
    approve: bool
    shown: str
    approver: str
    reason: str


class Person(Struct, frozen=True, kw_only=True):
    """A person who proved to hold their key."""

    tenant: str
    person: str


def issuer(tenant: str) -> str:
    """Who issues tokens in a tenant."""
    return f"aegis:{tenant}"


def mint(typed: Typed, key: PrivateKey) -> str:
    """The signed token."""
    return jws.sign(typed.typ, typed.claims, key)


def build_access(
    *, tenant: str, agent_id: str, subject: str, roles: tuple[str, ...], scopes: tuple[str, ...], audience: str, now: datetime,
    token_id: str, ttl: timedelta = LONGEST[ACCESS], parent: tuple[str, str] | None = None, chain: tuple[str, ...] = (),
    txn: str = "", task: str = "",
) -> Typed:  # fmt: skip
    """Claims of an access token. `parent` makes it delegated: its agent becomes the nearest ancestor unless `chain` names them all."""
    ancestors = chain or ((parent[0],) if parent else ())
    act: dict[str, Any] = {"sub": agent_id}
    innermost = act
    for ancestor in ancestors:  # RFC 8693, section 4.1: the outermost `act` is the current actor, older ones nest inside
        innermost["act"] = {"sub": ancestor}
        innermost = innermost["act"]
    claims = {
        "iss": issuer(tenant), "aud": audience, "sub": subject, "client_id": agent_id, "tenant": tenant, "agent_id": agent_id,
        "roles": list(roles), "scope": " ".join(scopes), "jti": token_id, "act": act, "depth": len(ancestors),
        **_times(now, ttl, ACCESS),
    }  # fmt: skip
    if parent:
        claims["parent"] = {"agent_id": parent[0], "request_id": parent[1]}
    claims |= {name: value for name, value in (("txn", txn), ("task", task)) if value}
    return Typed(ACCESS, claims)


def build_override(override: Override, *, now: datetime, ttl: timedelta, audience: str) -> Typed:
    """Claims of an override token."""
    return Typed(OVERRIDE, {
        "iss": issuer(override.tenant), "aud": audience, "tenant": override.tenant, "agent_id": override.agent_id,
        "approval_id": override.approval_id, "request_hash": override.request_hash, "jti": override.token_id,
        **_times(now, ttl, OVERRIDE),
    })  # fmt: skip


def build_statement(
    *, approval_id: str, tenant: str, request_hash: str, approve: bool, shown: str, approver: str, reason: str, now: datetime
) -> Typed:
    """Claims of a person's answer to an approval."""
    return Typed(APPROVAL, {
        "approval_id": approval_id, "tenant": tenant, "request_hash": request_hash, "shown": shown, "approver": approver,
        "decision": "approve" if approve else "deny", "reason": reason, **_times(now, LONGEST[APPROVAL], APPROVAL),
    })  # fmt: skip


def build_person(*, tenant: str, person: str, audience: str, now: datetime) -> Typed:
    """Claims by which a person proves to hold their key."""
    return Typed(PERSON, {"tenant": tenant, "sub": person, "aud": audience, **_times(now, LONGEST[PERSON], PERSON)})


def verify_access(token: Jws, keys: KeySet, *, audience: str, now: datetime) -> Access:
    """What an access token says, or `IdentityError` with the reason."""
    claims, entry = _verified(token, ACCESS, keys, now)
    read = _Reader(claims, {
        "iss", "aud", "sub", "client_id", "tenant", "agent_id", "roles", "scope", "jti", "act", "depth", "parent", "txn", "task",
        "iat", "nbf", "exp",
    })  # fmt: skip
    tenant, agent_id = read.text("tenant"), read.text("agent_id")
    _expect(tenant == entry.tenant, "wrong_tenant")
    _expect(read.text("iss") == issuer(tenant), "wrong_issuer")
    _expect(read.text("aud") == audience, "wrong_audience")
    _expect(read.text("client_id") == agent_id, "malformed")
    chain = _chain(claims.get("act"), agent_id)
    _expect(type(claims.get("depth")) is int and claims["depth"] == len(chain), "malformed")
    _expect(len(chain) <= MAX_DEPTH, "depth_exceeded")
    return Access(
        tenant=tenant, agent_id=agent_id, subject=read.text("sub"), roles=read.texts("roles"), kid=entry.kid,
        scopes=tuple(read.text("scope", empty=True).split()), token_id=read.text("jti"), chain=chain,
        parent=read.parent(), txn=read.text("txn", missing=""), task=read.text("task", missing=""),
        not_before=_instant(claims["nbf"]), expires_at=_instant(claims["exp"]),
    )  # fmt: skip


def verify_override(token: Jws, keys: KeySet, *, audience: str, now: datetime) -> Override:
    """What an override token says, or `IdentityError`."""
    claims, entry = _verified(token, OVERRIDE, keys, now)
    read = _Reader(claims, {
        "iss", "aud", "tenant", "agent_id", "approval_id", "request_hash", "jti", "iat", "nbf", "exp",
    })  # fmt: skip
    tenant = read.text("tenant")
    _expect(tenant == entry.tenant, "wrong_tenant")
    _expect(read.text("iss") == issuer(tenant), "wrong_issuer")
    _expect(read.text("aud") == audience, "wrong_audience")
    return Override(
        tenant=tenant, agent_id=read.text("agent_id"), approval_id=read.text("approval_id"),
        request_hash=read.text("request_hash"), token_id=read.text("jti"),
    )  # fmt: skip


def verify_statement(token: Jws, keys: KeySet, *, now: datetime) -> Statement:
    """What a person signed, or `IdentityError`."""
    claims, entry = _verified(token, APPROVAL, keys, now)
    read = _Reader(claims, {
        "approval_id", "tenant", "request_hash", "decision", "shown", "approver", "reason", "iat", "nbf", "exp",
    })  # fmt: skip
    _expect(read.text("tenant") == entry.tenant, "wrong_tenant")
    _expect(read.text("approver") == entry.owner, "wrong_owner")
    decision = read.text("decision")
    _expect(decision in ("approve", "deny"), "malformed")
    return Statement(
        approval_id=read.text("approval_id"), tenant=entry.tenant, request_hash=read.text("request_hash"),
        approve=decision == "approve", shown=read.text("shown"), approver=entry.owner, reason=read.text("reason", empty=True),
    )  # fmt: skip


def verify_person(token: Jws, keys: KeySet, *, audience: str, now: datetime) -> Person:
    """Who proved to hold their key, or `IdentityError`."""
    claims, entry = _verified(token, PERSON, keys, now)
    read = _Reader(claims, {"tenant", "sub", "aud", "iat", "nbf", "exp"})
    _expect(read.text("tenant") == entry.tenant, "wrong_tenant")
    _expect(read.text("sub") == entry.owner, "wrong_owner")
    _expect(read.text("aud") == audience, "wrong_audience")
    return Person(tenant=entry.tenant, person=entry.owner)


def check_times(not_before: datetime, expires_at: datetime, now: datetime) -> None:
    """Refuse a token outside its time: not before its start less the skew, not at or after its end."""
    _expect(now < expires_at, "expired")
    _expect(now >= not_before - SKEW, "not_yet_valid")


def _verified(token: Jws, typ: str, keys: KeySet, now: datetime) -> tuple[dict[str, Any], KeyEntry]:
    _expect(token.typ == typ, "wrong_type")
    entry = keys.find(token.kid, KEY_CLASS[typ], now)
    _expect(entry.key.verify(token.signed, token.signature), "bad_signature")
    claims = token.claims
    for name in ("iat", "nbf", "exp"):
        _expect(type(claims.get(name)) is int and 0 <= claims[name] < 1 << 40, "malformed")
    _expect(claims["iat"] <= claims["nbf"] < claims["exp"], "malformed")
    _expect(claims["exp"] - claims["iat"] <= LONGEST[typ].total_seconds(), "too_long_lived")
    check_times(_instant(claims["nbf"]), _instant(claims["exp"]), now)
    return claims, entry


def _expect(holds: bool, reason: str) -> None:
    if not holds:
        raise IdentityError(reason)


def _instant(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _times(now: datetime, ttl: timedelta, typ: str) -> dict[str, int]:
    if not timedelta(seconds=1) <= ttl <= LONGEST[typ]:
        raise IdentityError("too_long_lived", f"a token of type `{typ}` lives 1 to {LONGEST[typ].total_seconds():.0f} s")
    start = int(now.timestamp())
    return {"iat": start, "nbf": start, "exp": start + int(ttl.total_seconds())}


def _chain(act: Any, agent_id: str) -> tuple[str, ...]:
    """The ancestors in `act`, nearest first; the outermost actor must be the agent itself."""
    chain: list[str] = []
    while act is not None:
        if not isinstance(act, dict) or not act.keys() <= {"sub", "act"} or not isinstance(act.get("sub"), str) or not act["sub"]:
            raise IdentityError("malformed")
        chain.append(act["sub"])
        act = act.get("act")
    _expect(bool(chain) and chain[0] == agent_id, "malformed")
    return tuple(chain[1:])


class _Reader:
    """Reads claims of known names and types; anything else is malformed."""

    def __init__(self, claims: dict[str, Any], known: set[str]) -> None:
        _expect(claims.keys() <= known, "malformed")
        self._claims = claims

    def text(self, name: str, *, missing: str | None = None, empty: bool = False) -> str:
        value = self._claims.get(name, missing)
        _expect(isinstance(value, str) and len(value) <= MAX_TEXT * 8 and (bool(value) or empty or missing == ""), "malformed")
        assert isinstance(value, str), "checked above"
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        value = self._claims.get(name)
        _expect(isinstance(value, list) and all(isinstance(item, str) and item for item in value), "malformed")
        return tuple(value or ())

    def parent(self) -> tuple[str, str] | None:
        value = self._claims.get("parent")
        if value is None:
            return None
        _expect(isinstance(value, dict) and value.keys() == {"agent_id", "request_id"}, "malformed")
        found = _Reader(value, {"agent_id", "request_id"})
        return found.text("agent_id"), found.text("request_id")
