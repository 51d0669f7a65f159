"""Compact JWS, one exact shape: Ed25519, three members in the header, one text for one token.

A header has `alg`, `typ` and `kid` and nothing else: no `crit`, no key or address of a key that a verifier could be talked into
using. `EdDSA` is refused (RFC 9864 names the algorithm `Ed25519`), and so is everything else.
"""

from typing import Any

from msgspec import Struct

from aegis.crypto import ijson
from aegis.crypto.canonical import canon
from aegis.crypto.jwk import PrivateKey, decode, encode
from aegis.errors import IdentityError, InputError

MAX_TOKEN = 8192
ALGORITHM = "Ed25519"


class Jws(Struct, frozen=True, kw_only=True):
    """A token, parsed and not yet verified."""

    typ: str
    kid: str
    claims: dict[str, Any]
    signed: bytes
    signature: bytes


def sign(typ: str, claims: dict[str, Any], key: PrivateKey) -> str:
    """The token over `claims`."""
    head = encode(canon({"alg": ALGORITHM, "typ": typ, "kid": key.kid}))
    signed = f"{head}.{encode(canon(claims))}"
    return f"{signed}.{encode(key.sign(signed.encode()))}"


def parse(token: str) -> Jws:
    """Take a token apart, strictly; nothing in it may be believed before its signature has been checked.

    Raises:
        IdentityError: `malformed`, `bad_algorithm`.

    Source: RFC 7515, sections 3 and 5.2.
    """
    if len(token) > MAX_TOKEN or token.count(".") != 2:
        raise IdentityError("malformed", "not a compact JWS")
    head, body, signature = token.split(".")
    header = _object(head)
    if header.get("alg") != ALGORITHM:
        raise IdentityError("bad_algorithm", f"expected `{ALGORITHM}`")
    if header.keys() != {"alg", "typ", "kid"} or not all(isinstance(value, str) for value in header.values()):
        raise IdentityError("malformed", "the header must hold `alg`, `typ` and `kid` and nothing else")
    raw = decode(signature)
    if len(raw) != 64:
        raise IdentityError("bad_signature")
    return Jws(typ=header["typ"], kid=header["kid"], claims=_object(body), signed=f"{head}.{body}".encode(), signature=raw)


def _object(part: str) -> dict[str, Any]:
    try:
        value = ijson.parse(decode(part), max_depth=12, max_size_bytes=MAX_TOKEN)
    except InputError:
        raise IdentityError("malformed", "not strict JSON") from None
    if not isinstance(value, dict):
        raise IdentityError("malformed", "not a JSON object")
    return value
