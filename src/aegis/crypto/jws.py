"""Compact JWS, one exact shape: Ed25519, three members in the header, one text for one token.

A header has `alg`, `typ` and `kid` and nothing else: no `crit`, no key or address of a key that a verifier could be talked into
using. `EdDSA` is refused (RFC 9864 names the algorithm `Ed25519`), and so is everything else.

`parse` takes a token apart and reads its header only. The claims are read by `Jws.claims`, which a verifier calls after it has
checked the signature: bytes that nobody signed never reach the JSON reader, and a flood of them stays cheap.
"""

from typing import Any

from msgspec import Struct

from aegis.crypto import ijson
from aegis.crypto.canonical import canon
from aegis.crypto.jwk import PrivateKey, decode, encode
from aegis.errors import IdentityError, InputError

MAX_TOKEN = 8192
MAX_HEADER = 512
MAX_DEPTH = 16
SIGNATURE_BYTES = 64
ALGORITHM = "Ed25519"


class Jws(Struct, frozen=True, kw_only=True):
    """A token, parsed and not yet verified. `payload` are the bytes of the claims, `signed` those that the signature covers."""

    typ: str
    kid: str
    payload: bytes
    signed: bytes
    signature: bytes

    def claims(self) -> dict[str, Any]:
        """The claims, read strictly; ask for them after the signature has been checked.

        Raises:
            IdentityError: `malformed`.
        """
        return json_object(self.payload)


def sign(typ: str, claims: dict[str, Any], key: PrivateKey) -> str:
    """The token over `claims`.

    Raises:
        IdentityError: `malformed`, because it would be longer than any verifier accepts.
        CanonicalError: A claim has no canonical form.
    """
    head = encode(canon({"alg": ALGORITHM, "typ": typ, "kid": key.kid}))
    signed = f"{head}.{encode(canon(claims))}"
    token = f"{signed}.{encode(key.sign(signed.encode()))}"
    if len(token) > MAX_TOKEN:
        raise IdentityError("malformed", f"a token has at most {MAX_TOKEN} characters, these claims make {len(token)}")
    return token


def parse(token: str) -> Jws:
    """Take a token apart, strictly; nothing in it may be believed before its signature has been checked.

    Raises:
        IdentityError: `malformed`, `bad_algorithm`, `bad_signature`.

    Source: RFC 7515, sections 3 and 5.2.
    """
    if len(token) > MAX_TOKEN or token.count(".") != 2:
        raise IdentityError("malformed", "not a compact JWS")
    head, body, signature = token.split(".")
    header = _header(head)
    raw = decode(signature)
    if len(raw) != SIGNATURE_BYTES:
        raise IdentityError("bad_signature")
    return Jws(typ=header["typ"], kid=header["kid"], payload=decode(body), signed=f"{head}.{body}".encode(), signature=raw)


def stated_type(token: str) -> str:
    """The type that a token claims to be of, to choose a verifier by; nothing is verified by this.

    Raises:
        IdentityError: `malformed`, `bad_algorithm`.
    """
    if len(token) > MAX_TOKEN:
        raise IdentityError("malformed", "not a compact JWS")
    return _header(token.partition(".")[0])["typ"]


def _header(part: str) -> dict[str, str]:
    if len(part) > MAX_HEADER:
        raise IdentityError("malformed", "the header is too long")
    header = json_object(decode(part))
    if header.get("alg") != ALGORITHM:
        raise IdentityError("bad_algorithm", f"expected `{ALGORITHM}`")
    if header.keys() != {"alg", "typ", "kid"} or not all(isinstance(value, str) for value in header.values()):
        raise IdentityError("malformed", "the header must hold `alg`, `typ` and `kid` and nothing else")
    return header


def json_object(
    data: bytes, *, max_depth: int = MAX_DEPTH, max_size_bytes: int = MAX_TOKEN, reason: str = "malformed"
) -> dict[str, Any]:
    """What was signed, or says by what, read strictly as one JSON object.

    Raises:
        IdentityError: `reason`.
    """
    try:
        value = ijson.parse(data, max_depth=max_depth, max_size_bytes=max_size_bytes)
    except InputError:
        raise IdentityError(reason, "not strict JSON") from None
    if not isinstance(value, dict):
        raise IdentityError(reason, "not a JSON object")
    return value
