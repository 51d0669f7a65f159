"""RS256 (RSASSA-PKCS1-v1_5 with SHA-256), to verify only: most issuers of other people's tokens sign with it.

We never sign with it. A modulus has 2048 to 8192 bits and the exponent is 65537, so a key can be neither weak nor a burden.

Source: RFC 7518, sections 3.3 and 6.3.1.
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from msgspec import Struct

from aegis.crypto.jwk import decode
from aegis.errors import IdentityError

ALGORITHM = "RS256"
BITS = (2048, 8192)
EXPONENT = 65537


class PublicKey(Struct, frozen=True):
    """A public key: its modulus, big-endian without leading zeros, in base64url."""

    n: str

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether `signature` (as long as the modulus) is this key's over `message`."""
        try:
            _key(self.n).verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
        except (InvalidSignature, ValueError):
            return False
        return True


def public_key(n: str, e: str) -> PublicKey:
    """The public key of a modulus and an exponent.

    Raises:
        IdentityError: `malformed`: not such numbers, or a key that is too short, too long or of an unusual exponent.
    """
    modulus, exponent = decode(n), decode(e)
    if int.from_bytes(exponent) != EXPONENT or exponent[:1] == b"\0":
        raise IdentityError("malformed", f"the exponent of an RSA key is {EXPONENT}")
    if not modulus or modulus[0] == 0 or not BITS[0] <= int.from_bytes(modulus).bit_length() <= BITS[1]:
        raise IdentityError("malformed", f"an RSA key has {BITS[0]} to {BITS[1]} bits")
    try:
        _key(n)
    except ValueError:
        raise IdentityError("malformed", "not the modulus of an RSA key") from None
    return PublicKey(n)


def _key(n: str) -> rsa.RSAPublicKey:
    return rsa.RSAPublicNumbers(EXPONENT, int.from_bytes(decode(n))).public_key()
