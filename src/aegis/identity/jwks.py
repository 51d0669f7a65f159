"""The key set of another issuer (RFC 7517): which key verifies which signature, and nothing else.

Every key is for one algorithm. What is not for verifying, of another kind, weak, or named twice is left out, so that one odd key
does not shut out the others; a document that is no key set at all is refused. A key may be without an id; it is then good only for
tokens that name none, and only when it is the only key (OpenID Connect Core 1.0, section 10.1).
"""

from typing import Any

from msgspec import Struct

from aegis.crypto import es256, ijson, jwk, rs256
from aegis.errors import IdentityError, InputError

ED25519 = "Ed25519"
SAME = {"EdDSA": ED25519}
"""Names of one algorithm: RFC 9864 renamed what most issuers still call by its older name."""
ALGORITHMS = (rs256.ALGORITHM, es256.ALGORITHM, "EdDSA", ED25519)
MAX_BYTES, MAX_KEYS, MAX_KID = 262_144, 100, 256
_CURVES = {("EC", "P-256"): es256.ALGORITHM, ("OKP", "Ed25519"): ED25519}


class Key(Struct, frozen=True):
    """A key of another issuer and the one algorithm that it is for, in the newer name."""

    algorithm: str
    key: rs256.PublicKey | es256.PublicKey | jwk.PublicKey


def canonical(algorithm: str) -> str:
    """The newer name of an algorithm."""
    return SAME.get(algorithm, algorithm)


def parse(data: bytes) -> dict[str, Key]:
    """The usable keys by their ids; the id of one without is empty.

    Raises:
        InputError: Not a key set.
    """
    found = ijson.parse(data, max_depth=8, max_size_bytes=MAX_BYTES)
    keys = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(keys, list) or len(keys) > MAX_KEYS:
        raise InputError(f"expected a key set: an object with at most {MAX_KEYS} `keys`")
    named: dict[str, list[dict[str, Any]]] = {}
    for each in keys:
        kid = each.get("kid", "") if isinstance(each, dict) else None
        if isinstance(kid, str) and len(kid) <= MAX_KID:
            named.setdefault(kid, []).append(each)
    read = {kid: _key(same[0]) for kid, same in named.items() if len(same) == 1}
    return {kid: key for kid, key in read.items() if key is not None}


def _key(found: dict[str, Any]) -> Key | None:
    algorithm = _algorithm(found)
    if not algorithm or "d" in found or not _verifies(found):
        return None
    if canonical(str(found.get("alg", algorithm))) != algorithm:
        return None
    try:
        return Key(algorithm, _public(algorithm, found))
    except (IdentityError, KeyError):
        return None


def _algorithm(found: dict[str, Any]) -> str:
    if found.get("kty") == "RSA":
        return rs256.ALGORITHM
    return _CURVES.get((str(found.get("kty")), str(found.get("crv"))), "")


def _verifies(found: dict[str, Any]) -> bool:
    uses = found.get("key_ops", ["verify"])
    return found.get("use", "sig") == "sig" and isinstance(uses, list) and "verify" in uses


def _public(algorithm: str, found: dict[str, Any]) -> rs256.PublicKey | es256.PublicKey | jwk.PublicKey:
    if algorithm == rs256.ALGORITHM:
        return rs256.public_key(_text(found, "n"), _text(found, "e"))
    if algorithm == es256.ALGORITHM:
        return es256.public_key(_text(found, "x"), _text(found, "y"))
    return jwk.public_key(_text(found, "x"))


def _text(found: dict[str, Any], name: str) -> str:
    value = found[name]
    if not isinstance(value, str):
        raise IdentityError("malformed", f"`{name}` is text")
    return value
