"""`.signatures.json`: one JWT that lists every file of the bundle with its digest, as Open Policy Agent verifies it.

The verifier is told algorithm, keys and scope by its own configuration. The header of the JWT is compared with the one that such a
key would have written and decides nothing. There is no second signature, no other claim and no time: the same files under the same
key have the same signature. The scope is the tenant, so a bundle of one tenant does not verify as that of another.

Source: OPA documentation, management of bundles, section "Signing"; RFC 7515.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from aegis.crypto.canonical import canon
from aegis.crypto.digest import sha256_raw
from aegis.crypto.es256 import ALGORITHM, PrivateKey, PublicKey
from aegis.crypto.jwk import decode, encode
from aegis.errors import BundleError, IdentityError
from aegis.policy.bundle import structured

FILE = ".signatures.json"
ISSUER = "aegis"
MAX_BYTES = 4 * 1024 * 1024


def sign(files: Mapping[str, bytes], scope: str, key: PrivateKey) -> bytes:
    """The file that signs `files`, all of them, for a scope."""
    signed = f"{_header(key.kid)}.{encode(structured.render(_claims(files, scope)))}"
    return structured.render({"signatures": [f"{signed}.{encode(key.sign(signed.encode()))}"]})


def verify(files: Mapping[str, bytes], scope: str, keys: Iterable[PublicKey]) -> str:
    """Check that one of `keys` has signed exactly these files for this scope; its kid. The signature itself is among `files`.

    Raises:
        BundleError: `unsigned`, `signature`, `key`, `scope`, `files`, `json`.
    """
    if FILE not in files:
        raise BundleError("unsigned", f"the bundle has no `{FILE}`")
    head, body, signature = _parts(structured.read(FILE, files[FILE], limit=MAX_BYTES))
    found = next((key for key in keys if _header(key.kid) == head), None)
    if found is None:
        raise BundleError("key", "the signature is not by a key that is trusted with bundles of this tenant")
    if not found.verify(f"{head}.{body}".encode(), _decoded(signature)):
        raise BundleError("signature", "the signature does not verify")
    claims = structured.read("the claims of the signature", _decoded(body), limit=MAX_BYTES)
    if claims.get("scope") != scope:
        raise BundleError("scope", f"the signature is not for tenant `{scope}`")
    _compare(claims, {name: content for name, content in files.items() if name != FILE}, scope)
    return found.kid


def _compare(claims: dict[str, Any], files: Mapping[str, bytes], scope: str) -> None:
    wanted = _claims(files, scope)
    if claims == wanted:
        return
    listed, there = _digests(claims), _digests(wanted)
    for name in sorted(there.keys() - listed.keys()):
        raise BundleError("files", f"`{name}` is in the bundle, but the signature does not list it")
    for name in sorted(listed.keys() - there.keys()):
        raise BundleError("files", f"`{name}` is listed by the signature, but is not in the bundle")
    for name in sorted(name for name in there if there[name] != listed[name]):
        raise BundleError("files", f"`{name}` is not what was signed")
    raise BundleError("files", "the signature lists the files in another form than `aegis policy build` writes")


def _digests(claims: Mapping[str, Any]) -> dict[str, str]:
    """Digest by name, as far as the claims say; what is strange is left out and differs."""
    listed = claims.get("files")
    entries = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    return {str(each.get("name")): str(each.get("hash")) for each in entries}


def _claims(files: Mapping[str, bytes], scope: str) -> dict[str, Any]:
    listed = [{"name": name, "hash": sha256_raw(files[name]).hex(), "algorithm": "SHA-256"} for name in sorted(files)]
    return {"files": listed, "iss": ISSUER, "scope": scope}


def _header(kid: str) -> str:
    return encode(canon({"alg": ALGORITHM, "kid": kid}))


def _parts(document: dict[str, Any]) -> list[str]:
    signatures = document.get("signatures")
    if document.keys() != {"signatures"} or not isinstance(signatures, list) or len(signatures) != 1:
        raise BundleError("signature", "expected exactly one signature and nothing else")
    parts = signatures[0].split(".") if isinstance(signatures[0], str) else []
    if len(parts) != 3:
        raise BundleError("signature", "the signature is not a compact JWS")
    return parts


def _decoded(text: str) -> bytes:
    try:
        return decode(text)
    except IdentityError:
        raise BundleError("signature", "a part of the signature is not base64url") from None
