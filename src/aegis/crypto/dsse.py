"""DSSE envelopes with Ed25519 signatures: what was signed and of which type it is cannot be told apart from the signature.

A signature covers the type, so an envelope of one type never passes for another. There are two readers:

verify             Statements of our own, with exactly one signature. An envelope is one canonical text for one content: no second
                   signature, no other member, base64 only in its canonical form.
verify_threshold   Statements that several sign, perhaps with other tools. It reads what the protocol allows: both alphabets of
                   base64, key ids that are missing (they are hints and decide nothing), members that it does not know. What
                   counts is how many of the trusted owners have a key that verifies: the same key twice is one, and so are two
                   keys of one owner.

Source: DSSE v1.0.2, protocol and envelope.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from aegis.crypto.canonical import canon
from aegis.crypto.jwk import PrivateKey, PublicKey
from aegis.crypto.jws import json_object
from aegis.errors import IdentityError

MAX_ENVELOPE = 65_536
MAX_SIGNATURES = 16


class Signed(Struct, frozen=True, kw_only=True):
    """The bytes that were signed, and by which of the trusted keys; perhaps by none."""

    payload: bytes
    kids: tuple[str, ...]


def pae(payload_type: str, payload: bytes) -> bytes:
    """The bytes that a signature covers (pre-authentication encoding)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def sign(payload_type: str, content: dict[str, Any], key: PrivateKey) -> bytes:
    """The envelope over the canonical bytes of `content`.

    Raises:
        CanonicalError: The content has no canonical form.
    """
    payload = canon(content)
    return _envelope(payload_type, payload, [_signature(payload_type, payload, key)])


def add(envelope: bytes, payload_type: str, key: PrivateKey) -> bytes:
    """The same envelope with the signature of `key` too; what others have signed stays, what `key` signed before is replaced.

    The caller has read the payload and means it: nothing is verified by this.

    Raises:
        IdentityError: `malformed`, `wrong_type`.
    """
    payload, signatures = _several(envelope, payload_type)
    others = [each for each in signatures if each.get("keyid") != key.kid]
    if len(others) >= MAX_SIGNATURES:
        raise IdentityError("malformed", f"an envelope holds at most {MAX_SIGNATURES} signatures")
    return _envelope(payload_type, payload, [*others, _signature(payload_type, payload, key)])


def key_id(envelope: bytes) -> str:
    """The key that an envelope claims to be signed with, to look it up by; nothing is verified by this.

    Raises:
        IdentityError: `malformed`.
    """
    return str(_taken_apart(envelope)["signatures"][0]["keyid"])


def verify(envelope: bytes, payload_type: str, key: PublicKey) -> dict[str, Any]:
    """The content, which `key` has signed as being of this type.

    Raises:
        IdentityError: `malformed`, `wrong_type`, `unknown_kid`, `bad_signature`.
    """
    found = _taken_apart(envelope)
    if found["payloadType"] != payload_type:
        raise IdentityError("wrong_type", f"expected an envelope of type `{payload_type}`")
    if found["signatures"][0]["keyid"] != key.kid:
        raise IdentityError("unknown_kid")
    payload = _decode(found["payload"])
    if not key.verify(pae(payload_type, payload), _decode(found["signatures"][0]["sig"])):
        raise IdentityError("bad_signature")
    return _object(payload)


def signed(envelope: bytes, payload_type: str, keys: Iterable[PublicKey]) -> Signed:
    """What an envelope holds, and which of `keys` have signed it as being of this type. That may be none: count before believing.

    Raises:
        IdentityError: `malformed`, `wrong_type`.
    """
    payload, signatures = _several(envelope, payload_type)
    message, trusted = pae(payload_type, payload), {key.x: key for key in keys}
    # A key id only says where to look first (DSSE, protocol: "MUST NOT be used for security decisions").
    found = {
        key.kid
        for each in signatures
        for key in trusted.values()
        if _hinted(each, trusted.values(), key) and key.verify(message, _either(each["sig"]))
    }
    return Signed(payload=payload, kids=tuple(sorted(found)))


def verify_threshold(
    envelope: bytes, payload_type: str, keys: Iterable[PublicKey], threshold: int, owners: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """The content, which at least `threshold` owners of `keys` have signed as being of this type.

    `owners` tells by kid who holds a key; keys with the same owner count once. Without it, each key is its own owner.

    Raises:
        IdentityError: `malformed`, `wrong_type`, `too_few_signatures`.
    """
    if threshold < 1:
        raise IdentityError("too_few_signatures", "expected a threshold of at least 1: of nobody, nothing is known")
    found = signed(envelope, payload_type, keys)
    if len(distinct(found.kids, owners)) < threshold:
        raise IdentityError("too_few_signatures", f"expected signatures of {threshold}, found {len(distinct(found.kids, owners))}")
    return content_of(found.payload)


def distinct(kids: Iterable[str], owners: Mapping[str, str] | None = None) -> frozenset[str]:
    """Who stands behind these keys."""
    return frozenset(owners[kid] if owners is not None else kid for kid in kids)


def content_of(payload: bytes) -> dict[str, Any]:
    """The JSON object that was signed.

    Raises:
        IdentityError: `malformed`.
    """
    return _object(payload)


def _several(envelope: bytes, payload_type: str) -> tuple[bytes, list[dict[str, Any]]]:
    """Payload and signatures of an envelope as the protocol allows it."""
    found = _object(envelope)
    if found.get("payloadType") != payload_type:
        raise IdentityError("wrong_type", f"expected an envelope of type `{payload_type}`")
    signatures = found.get("signatures")
    if not isinstance(signatures, list) or not 1 <= len(signatures) <= MAX_SIGNATURES:
        raise IdentityError("malformed", f"an envelope holds 1 to {MAX_SIGNATURES} signatures")
    if not all(isinstance(each, dict) and _texts(each.get("sig"), each.get("keyid", "")) for each in signatures):
        raise IdentityError("malformed", "a signature holds `sig` and perhaps `keyid`, both texts")
    return _either(found.get("payload", "")), signatures


def _hinted(signature: dict[str, Any], trusted: Iterable[PublicKey], key: PublicKey) -> bool:
    hint = signature.get("keyid", "")
    return hint == key.kid or all(hint != other.kid for other in trusted)


def _signature(payload_type: str, payload: bytes, key: PrivateKey) -> dict[str, Any]:
    return {"keyid": key.kid, "sig": _encode(key.sign(pae(payload_type, payload)))}


def _envelope(payload_type: str, payload: bytes, signatures: list[dict[str, Any]]) -> bytes:
    return canon({"payload": _encode(payload), "payloadType": payload_type, "signatures": signatures})


def _taken_apart(envelope: bytes) -> dict[str, Any]:
    found = _object(envelope)
    if found.keys() != {"payload", "payloadType", "signatures"} or not _texts(found["payload"], found["payloadType"]):
        raise IdentityError("malformed", "an envelope holds `payload`, `payloadType` and `signatures` and nothing else")
    signatures = found["signatures"]
    if not isinstance(signatures, list) or len(signatures) != 1 or not isinstance(signatures[0], dict):
        raise IdentityError("malformed", "an envelope holds exactly one signature")
    if signatures[0].keys() != {"keyid", "sig"} or not _texts(*signatures[0].values()):
        raise IdentityError("malformed", "a signature holds `keyid` and `sig` and nothing else")
    return found


def _texts(*values: Any) -> bool:
    return all(isinstance(value, str) for value in values)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _either(text: Any) -> bytes:
    """Bytes of either alphabet of base64, as both are allowed where several sign."""
    if not isinstance(text, str) or (("-" in text or "_" in text) and ("+" in text or "/" in text)):
        raise IdentityError("malformed", "not base64")
    return _decode(text.replace("-", "+").replace("_", "/"))


def _decode(text: str) -> bytes:
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError, ValueError):
        raise IdentityError("malformed", "not base64") from None
    if _encode(data) != text:
        raise IdentityError("malformed", "not the canonical base64 text")
    return data


def _object(data: bytes) -> dict[str, Any]:
    return json_object(data, max_depth=8, max_size_bytes=MAX_ENVELOPE)
