"""Seal payloads with AES-256-GCM so that erasing a key erases what it sealed.

Keys and nonces come from the caller: nothing here draws randomness. A nonce is 12 random bytes and is never used twice under
one key; `context` (additional data) ties the ciphertext to its place, so that a row cannot be moved to another event.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aegis.errors import SealError

KEY_BYTES = 32
NONCE_BYTES = 12


def seal(key: bytes, nonce: bytes, plaintext: bytes, context: bytes) -> bytes:
    """Ciphertext with its 16-byte tag; both sizes follow NIST SP 800-38D."""
    if len(key) != KEY_BYTES or len(nonce) != NONCE_BYTES:
        raise SealError(f"expected a key of {KEY_BYTES} and a nonce of {NONCE_BYTES} bytes")
    return AESGCM(key).encrypt(nonce, plaintext, context)


def unseal(key: bytes, nonce: bytes, ciphertext: bytes, context: bytes) -> bytes:
    """The plaintext, or `SealError` when key, bytes or context are not those of the sealing."""
    try:
        return AESGCM(key).decrypt(nonce, ciphertext, context)
    except (InvalidTag, ValueError):
        raise SealError("the sealed bytes do not open with this key in this place") from None
