"""Tokens of other issuers: taken apart strictly, verified by the issuer's keys, and mapped to what they stand for here.

The header may say which key, which algorithm, which type, and the thumbprint of a certificate; anything else (`crit`, `jwk`, `jku`,
`x5c`, `x5u`, `b64` ...) is refused, so a token can neither bring its key nor name an address. The algorithm must be one that the
tenant allows this issuer, and the one that the key is for. There is one text for one token here as well: base64url without padding
and stray bits, JSON without duplicate members.

A token counts for the time that it was made for, and no longer than the tenant's `max_age` after it was issued.
"""

from datetime import datetime
from typing import Any

from msgspec import Struct

from aegis.crypto.jwk import decode
from aegis.crypto.jws import json_object
from aegis.errors import IdentityError
from aegis.identity.claims import check_times, expect, instant
from aegis.identity.issuers import Condition, Issuer, Mapping, claim
from aegis.identity.jwks import ALGORITHMS, MAX_KID, Key, canonical

MAX_TOKEN = 16_384
MAX_HEADER = 1_024
MAX_SUBJECT = 256
_HEADER = frozenset({"alg", "kid", "typ", "x5t", "x5t#S256"})
_LAST_SECOND = 1 << 37


class Foreign(Struct, frozen=True, kw_only=True):
    """A token, taken apart and not yet verified: nothing in it may be believed. `kid` is empty when it names no key."""

    algorithm: str
    kid: str
    typ: str
    signed: bytes
    signature: bytes
    claims: dict[str, Any]

    @property
    def issuer(self) -> str:
        """Who it says has issued it, to choose the keys by."""
        name = self.claims.get("iss")
        return name if isinstance(name, str) else ""


class Mapped(Struct, frozen=True, kw_only=True):
    """What another issuer's token stands for in a tenant: an agent, or (`agent_id` empty) a person for whom agents act.

    `scopes` and `roles` are the most that it may hold; `None` is all that the directory grants. `token_id` names the token.
    """

    subject: str
    token_id: str
    expires_at: datetime
    agent_id: str = ""
    scopes: tuple[str, ...] | None = None
    roles: tuple[str, ...] | None = None


def parse(token: str) -> Foreign:
    """Take a token apart.

    Raises:
        IdentityError: `malformed`, `bad_algorithm`.

    Source: RFC 7515, section 5.2; RFC 8725, section 3.
    """
    if len(token) > MAX_TOKEN or token.count(".") != 2:
        raise IdentityError("malformed", "not a compact JWS")
    head, body, signature = token.split(".")
    if len(head) > MAX_HEADER:
        raise IdentityError("malformed", "the header is too long")
    header = json_object(decode(head), max_size_bytes=MAX_TOKEN)
    if header.get("alg") not in ALGORITHMS:
        raise IdentityError("bad_algorithm", f"expected one of {', '.join(ALGORITHMS)}")
    kid, typ = header.get("kid", ""), header.get("typ", "JWT")
    if not header.keys() <= _HEADER or not isinstance(kid, str) or len(kid) > MAX_KID or not isinstance(typ, str):
        raise IdentityError("malformed", "the header holds `alg`, may hold `kid` and `typ`, and brings no key of its own")
    return Foreign(
        algorithm=canonical(header["alg"]),
        kid=kid,
        typ=typ.lower().removeprefix("application/"),
        signed=f"{head}.{body}".encode(),
        signature=decode(signature),
        claims=json_object(decode(body), max_size_bytes=MAX_TOKEN),
    )


def verify(token: Foreign, issuer: Issuer, key: Key, now: datetime) -> datetime:
    """Check everything about a token of this issuer; until when it counts.

    Raises:
        IdentityError: `wrong_type`, `bad_algorithm`, `bad_signature`, `malformed`, `wrong_issuer`, `wrong_audience`, `expired`,
            `not_yet_valid`, `too_old`, `pop_required`.
    """
    expect(token.typ in issuer.types, "wrong_type")
    expect(token.algorithm in issuer.algorithms and token.algorithm == key.algorithm, "bad_algorithm")
    expect(key.key.verify(token.signed, token.signature), "bad_signature")
    expect(token.issuer == issuer.issuer, "wrong_issuer")
    expect(issuer.audience in _audiences(token.claims.get("aud")), "wrong_audience")
    if "cnf" in token.claims:
        raise IdentityError("pop_required", "the token is bound to a key, and nothing here proves who holds it")
    issued, end = _moment(token.claims, "iat"), _moment(token.claims, "exp")
    expect(issued < end, "malformed")
    start = _moment(token.claims, "nbf") if "nbf" in token.claims else issued
    check_times(max(start, issued), end, now)
    expect(now < issued + issuer.max_age, "too_old")
    return min(end, issued + issuer.max_age)


def mapped(token: Foreign, issuer: Issuer, expires_at: datetime) -> Mapped:
    """What a verified token stands for.

    Raises:
        IdentityError: `not_mapped`: no mapping fits, or the subject is no identifier; `ambiguous`: more than one fits.
    """
    fitting = [each for each in issuer.mappings if all(_meets(token.claims, condition) for condition in each.when)]
    if len(fitting) != 1:
        raise IdentityError("ambiguous" if fitting else "not_mapped")
    (found,) = fitting
    name = token.claims.get("jti")
    return Mapped(
        subject=_subject(token.claims, found),
        token_id=name if isinstance(name, str) else "",
        expires_at=expires_at,
        agent_id=found.agent,
        scopes=found.scopes,
        roles=found.roles,
    )


def _subject(claims: dict[str, Any], found: Mapping) -> str:
    if not found.subject:
        return found.agent
    text = claim(claims, found.subject)
    if not isinstance(text, str) or not text:
        raise IdentityError("not_mapped", "the claim that names the subject is missing")
    subject = found.prefix + text
    if len(subject) > MAX_SUBJECT or not all("!" <= char <= "~" for char in subject):
        raise IdentityError("not_mapped", "the claim that names the subject is no identifier")
    return subject


def _meets(claims: dict[str, Any], condition: Condition) -> bool:
    value = claim(claims, condition.path)
    if condition.test == "has":
        return isinstance(value, list) and any(_same(each, condition.among[0]) for each in value)
    return any(_same(value, each) for each in condition.among)


def _same(one: Any, other: Any) -> bool:
    """Equal and of one type: `true` is not 1."""
    return type(one) is type(other) and bool(one == other)


def _audiences(value: Any) -> tuple[str, ...]:
    """The audiences of a token: one text, or a list of texts (RFC 7519, section 4.1.3)."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return tuple(value)
    raise IdentityError("malformed")


def _moment(claims: dict[str, Any], name: str) -> datetime:
    value = claims.get(name)
    if type(value) is not int or not 0 <= value <= _LAST_SECOND:
        raise IdentityError("malformed", f"`{name}` is a whole number of seconds")
    return instant(value)
