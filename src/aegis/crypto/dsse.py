"""DSSE envelopes with one Ed25519 signature: what was signed and of which type it is cannot be told apart from the signature.

The signature covers the type, so an envelope of one type never passes for another. An envelope is one canonical text for one
content: no second signature, no other member, base64 only in its canonical form.

Source: DSSE v1.0.2, protocol and envelope.
"""

import base64
import binascii
from typing import Any

from aegis.crypto import ijson
from aegis.crypto.canonical import canon
from aegis.crypto.jwk import PrivateKey, PublicKey
from aegis.errors import IdentityError, InputError

MAX_ENVELOPE = 65_536


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
    signature = {"keyid": key.kid, "sig": _encode(key.sign(pae(payload_type, payload)))}
    return canon({"payload": _encode(payload), "payloadType": payload_type, "signatures": [signature]})


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


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = ijson.parse(data, max_depth=8, max_size_bytes=MAX_ENVELOPE)
    except InputError:
        raise IdentityError("malformed", "not strict JSON") from None
    if not isinstance(value, dict):
        raise IdentityError("malformed", "not a JSON object")
    return value


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decode(text: str) -> bytes:
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError, ValueError):
        raise IdentityError("malformed", "not base64") from None
    if _encode(data) != text:
        raise IdentityError("malformed", "not the canonical base64 text")
    return data
