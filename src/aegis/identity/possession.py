"""Proof of possession: with each use of a bound token, a statement about exactly this request, signed by the key it is bound to.

The proof names method and address of the request, the token by its hash, and itself by an id that is used once. Its header carries
the public key, which is compared with the token's `cnf.jkt`: the only place where a token of ours has a key in its header.

Source: RFC 9449, sections 4.2 and 4.3. Only Ed25519 is taken.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from aegis.crypto.canonical import canon
from aegis.crypto.jwk import PrivateKey, decode, encode, public_key
from aegis.crypto.jws import json_object
from aegis.errors import IdentityError
from aegis.identity.claims import Claims, instant

TYPE = "dpop+jwt"
FRESH = timedelta(seconds=60)
MAX_PROOF = 4096
_CLAIMS = frozenset({"jti", "htm", "htu", "iat", "ath", "nonce"})
_INVALID = "pop_invalid"


class Proof(Struct, frozen=True, kw_only=True):
    """A proof whose signature holds. `once` names it: whoever shows it again repeats a request."""

    jkt: str
    once: str
    at: datetime


def prove(key: PrivateKey, *, method: str, url: str, now: datetime, proof_id: str, token: str = "") -> str:
    """The proof for one request; `token` is the access token that is sent with it."""
    public = key.public
    head = {"typ": TYPE, "alg": "Ed25519", "jwk": {"kty": "OKP", "crv": "Ed25519", "x": public.x}}
    claims: dict[str, Any] = {"jti": proof_id, "htm": method, "htu": url, "iat": int(now.timestamp())}
    claims |= {"ath": token_hash(token)} if token else {}
    signed = f"{encode(canon(head))}.{encode(canon(claims))}"
    return f"{signed}.{encode(key.sign(signed.encode()))}"


def verify_proof(text: str, *, method: str, url: str, now: datetime, token: str = "") -> Proof:
    """The proof, if it is about this request and, where one is sent, about this access token.

    Raises:
        IdentityError: `pop_invalid`, with what is wrong; `pop_stale` when it is not of this minute.
    """
    if len(text) > MAX_PROOF or text.count(".") != 2:
        raise IdentityError(_INVALID, "not a compact JWS")
    try:
        return _verified(text, method, url, now, token)
    except IdentityError as error:
        if error.reason in (_INVALID, "pop_stale"):
            raise
        raise IdentityError(_INVALID, error.reason) from None


def token_hash(token: str) -> str:
    """The claim `ath`: the hash of an access token."""
    return encode(hashlib.sha256(token.encode("ascii", "replace")).digest())


def _verified(text: str, method: str, url: str, now: datetime, token: str) -> Proof:
    head, body, signature = text.split(".")
    key = public_key(_key_of(json_object(decode(head), max_depth=4, max_size_bytes=MAX_PROOF, reason=_INVALID)))
    if not key.verify(f"{head}.{body}".encode(), decode(signature)):
        raise IdentityError(_INVALID, "the signature does not hold")
    claims = json_object(decode(body), max_depth=4, max_size_bytes=MAX_PROOF, reason=_INVALID)
    read = Claims(claims, _CLAIMS)
    _expect(read.name("htm") == method, "another method")
    _expect(_same_address(read.name("htu"), url), "another address")
    _expect(read.has("ath") == bool(token) and (not token or read.name("ath") == token_hash(token)), "another access token")
    at = read.moment("iat")
    if not now - FRESH <= at <= now + FRESH:
        raise IdentityError("pop_stale", "the proof is not of this minute")
    # The time stands first, so that what is too old to matter can be found and forgotten; it is signed, so one proof has one name.
    named = hashlib.sha256(f"{key.kid}.{read.name('jti')}".encode()).hexdigest()
    return Proof(jkt=key.kid, once=f"{at:%Y%m%dT%H%M%S}-{named[:40]}", at=at)


def _key_of(head: dict[str, Any]) -> str:
    _expect(head.keys() == {"typ", "alg", "jwk"} and head["typ"] == TYPE and head["alg"] == "Ed25519", "expected typ, alg and jwk")
    jwk = head["jwk"]
    good = isinstance(jwk, dict) and jwk.keys() == {"kty", "crv", "x"} and (jwk["kty"], jwk["crv"]) == ("OKP", "Ed25519")
    _expect(good and isinstance(jwk["x"], str), "expected the public Ed25519 key and nothing else in `jwk`")
    return str(jwk["x"])


def _same_address(stated: str, url: str) -> bool:
    """Whether two addresses name the same resource: scheme and host in any case, no query, no fragment."""
    try:
        one, other = urlsplit(stated), urlsplit(url)
    except ValueError:  # brackets that hold no address, or characters that another reader takes for separators
        return False
    return (one.scheme.lower(), one.netloc.lower(), one.path) == (other.scheme.lower(), other.netloc.lower(), other.path)


def _expect(holds: bool, detail: str) -> None:
    if not holds:
        raise IdentityError(_INVALID, detail)


def expected_key(jkt: str, proof: Proof) -> None:
    """Refuse a proof by another key than the token is bound to.

    Raises:
        IdentityError: `pop_invalid`.
    """
    _expect(proof.jkt == jkt, "signed by another key than the token is bound to")


def too_old(now: datetime) -> datetime:
    """Proofs from before this are refused by their time, so that nobody has to remember them."""
    return instant(int(now.timestamp())) - 2 * FRESH
