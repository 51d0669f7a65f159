"""Ed25519 keys as JSON Web Keys. Seeds come from the caller: nothing here draws randomness."""

import base64
import binascii
from typing import Any

from msgspec import Struct
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from aegis.crypto.canonical import canon
from aegis.crypto.digest import sha256_raw
from aegis.errors import IdentityError

SEED_BYTES = 32


class PublicKey(Struct, frozen=True):
    """A public key: `x` is its 32 bytes in base64url, `kid` its RFC 7638 thumbprint."""

    kid: str
    x: str

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether `signature` (64 bytes) is this key's over `message`."""
        try:
            VerifyKey(decode(self.x)).verify(message, signature)
        except (BadSignatureError, ValueError):
            return False
        return True


class PrivateKey(Struct, frozen=True):
    """A private key; its seed is never printed."""

    kid: str
    seed: bytes

    def __repr__(self) -> str:
        return f"PrivateKey(kid={self.kid!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """What a rich traceback may print: it asks this before `repr`, and the default would show the seed."""
        return [("kid", self.kid)]

    def sign(self, message: bytes) -> bytes:
        """The signature, 64 bytes; the same for the same message (RFC 8032)."""
        return bytes(SigningKey(self.seed).sign(message).signature)

    @property
    def public(self) -> PublicKey:
        """The public half."""
        return public_key(encode(bytes(SigningKey(self.seed).verify_key)))


def private_key(seed: bytes) -> PrivateKey:
    """The key of a seed of 32 bytes."""
    if len(seed) != SEED_BYTES:
        raise IdentityError("malformed", f"a seed has {SEED_BYTES} bytes")
    return PrivateKey(kid=thumbprint(encode(bytes(SigningKey(seed).verify_key))), seed=seed)


def public_key(x: str) -> PublicKey:
    """The public key whose bytes are `x` in base64url."""
    if len(decode(x)) != SEED_BYTES:
        raise IdentityError("malformed", "a public key has 32 bytes")
    return PublicKey(kid=thumbprint(x), x=x)


def thumbprint(x: str) -> str:
    """The key id of an Ed25519 public key.

    Source: RFC 7638, section 3; RFC 8037, section 2.
    """
    return encode(sha256_raw(canon({"crv": "Ed25519", "kty": "OKP", "x": x})))


def encode(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Strict base64url: no padding, no white space, and only the one text that encodes these bytes.

    Raises:
        IdentityError: `malformed`.
    """
    try:
        data = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError, ValueError):
        raise IdentityError("malformed", "not base64url") from None
    if encode(data) != text:  # padding, or trailing bits that are not zero: one token would have several texts
        raise IdentityError("malformed", "not the canonical base64url text")
    return data
