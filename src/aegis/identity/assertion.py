"""How an agent says who it is at the token service: a statement signed with its own key, for one use.

    client-authentication+jwt   signed by class `workload`, owned by the agent   at most 60 s

Source: RFC 7523, section 3, with the type of draft-ietf-oauth-rfc7523bis; the audience is the issuer and nothing else.
"""

from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from aegis.crypto.jws import Jws
from aegis.identity.claims import expect, span
from aegis.identity.epoch import LONG_AGO
from aegis.identity.keyset import KeySet
from aegis.identity.token import ASSERTION, LONGEST, Typed, issuer, verified


class Assertion(Struct, frozen=True, kw_only=True):
    """An agent that proved to hold its key. `prompt` is the digest of the instructions that it says it works by."""

    tenant: str
    agent_id: str
    token_id: str
    kid: str
    expires_at: datetime
    issued_at: datetime = LONG_AGO
    prompt: str = ""


def build_assertion(
    *, tenant: str, agent_id: str, token_id: str, now: datetime, prompt: str = "", ttl: timedelta = LONGEST[ASSERTION]
) -> Typed:
    """Claims of an assertion."""
    claims: dict[str, Any] = {"iss": agent_id, "sub": agent_id, "aud": issuer(tenant), "jti": token_id}
    claims |= {"prompt": prompt} if prompt else {}
    return Typed(ASSERTION, {**claims, **span(now, ttl, LONGEST[ASSERTION])})


def verify_assertion(token: Jws, keys: KeySet, *, now: datetime) -> Assertion:
    """Which agent signed this, or `IdentityError`. That it is used once only, the journal says."""
    read, entry = verified(token, ASSERTION, keys, now)
    expect(read.name("iss") == read.name("sub") == entry.owner, "wrong_owner")
    expect(read.name("aud") == issuer(entry.tenant), "wrong_audience")
    return Assertion(
        tenant=entry.tenant,
        agent_id=entry.owner,
        token_id=read.name("jti"),
        kid=entry.kid,
        expires_at=read.moment("exp"),
        issued_at=read.moment("iat"),
        prompt=read.optional_name("prompt"),
    )
