"""ES256 (ECDSA over P-256 with SHA-256): the one algorithm that we share with Open Policy Agent, for the signatures of bundles.

Signing is deterministic (RFC 6979): the same bundle gets the same bytes, and nothing here draws randomness. A signature is `r` and
`s`, 32 bytes each (RFC 7518, section 3.4), never DER.
"""

from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from msgspec import Struct

from aegis.crypto.canonical import canon
from aegis.crypto.digest import sha256_raw
from aegis.crypto.jwk import decode, encode
from aegis.errors import IdentityError

ALGORITHM = "ES256"
SCALAR_BYTES = 32
SIGNATURE_BYTES = 64
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_CURVE = ec.SECP256R1()


class PublicKey(Struct, frozen=True):
    """A public key: the coordinates of its point (32 bytes each) in base64url; `kid` is its RFC 7638 thumbprint."""

    kid: str
    x: str
    y: str

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether `signature` (64 bytes) is this key's over `message`."""
        if len(signature) != SIGNATURE_BYTES:
            return False
        r, s = int.from_bytes(signature[:SCALAR_BYTES]), int.from_bytes(signature[SCALAR_BYTES:])
        try:
            _point(self.x, self.y).verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
        except (InvalidSignature, IdentityError, ValueError):
            return False
        return True

    @property
    def pem(self) -> str:
        """The key as SubjectPublicKeyInfo in PEM, which `opa run --verification-key` reads."""
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return _point(self.x, self.y).public_bytes(serialization.Encoding.PEM, form).decode()


class PrivateKey(Struct, frozen=True):
    """A private key; its scalar is never printed."""

    kid: str
    scalar: bytes

    def __repr__(self) -> str:
        return f"PrivateKey(kid={self.kid!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """What a rich traceback may print."""
        return [("kid", self.kid)]

    def sign(self, message: bytes) -> bytes:
        """The signature, 64 bytes; the same for the same message."""
        found = _private(self.scalar).sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
        r, s = decode_dss_signature(found)
        return r.to_bytes(SCALAR_BYTES) + s.to_bytes(SCALAR_BYTES)

    @property
    def public(self) -> PublicKey:
        """The public half."""
        numbers = _private(self.scalar).public_key().public_numbers()
        return public_key(encode(numbers.x.to_bytes(SCALAR_BYTES)), encode(numbers.y.to_bytes(SCALAR_BYTES)))


def private_key(scalar: bytes) -> PrivateKey:
    """The key of a scalar of 32 bytes.

    Raises:
        IdentityError: `malformed`: another length, or outside 1 .. n - 1 (of random bytes, less than one in 2^31 is).
    """
    if len(scalar) != SCALAR_BYTES or not 0 < int.from_bytes(scalar) < _ORDER:
        raise IdentityError("malformed", f"a P-256 scalar has {SCALAR_BYTES} bytes and lies below the order of the curve")
    numbers = _private(scalar).public_key().public_numbers()
    kid = thumbprint(encode(numbers.x.to_bytes(SCALAR_BYTES)), encode(numbers.y.to_bytes(SCALAR_BYTES)))
    return PrivateKey(kid=kid, scalar=scalar)


def public_key(x: str, y: str) -> PublicKey:
    """The public key of a point.

    Raises:
        IdentityError: `malformed`: a coordinate of another length, or a point that is not on the curve.
    """
    _point(x, y)
    return PublicKey(kid=thumbprint(x, y), x=x, y=y)


def thumbprint(x: str, y: str) -> str:
    """The key id of a P-256 public key.

    Source: RFC 7638, section 3.2.
    """
    return encode(sha256_raw(canon({"crv": "P-256", "kty": "EC", "x": x, "y": y})))


def _private(scalar: bytes) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(scalar), _CURVE)


def _point(x: str, y: str) -> ec.EllipticCurvePublicKey:
    left, right = decode(x), decode(y)
    if len(left) != SCALAR_BYTES or len(right) != SCALAR_BYTES:
        raise IdentityError("malformed", f"a coordinate has {SCALAR_BYTES} bytes")
    try:
        return ec.EllipticCurvePublicNumbers(int.from_bytes(left), int.from_bytes(right), _CURVE).public_key()
    except ValueError:
        raise IdentityError("malformed", "the point is not on the curve P-256") from None
