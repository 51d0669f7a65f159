"""Digests in the form that we write them: `sha256:` and 64 hexadecimal digits."""

import hashlib
import hmac


def sha256(*parts: bytes) -> str:
    """Digest over the concatenation of `parts`; prefix a domain tag that ends in NUL when the input is a message."""
    state = hashlib.sha256()
    for part in parts:
        state.update(part)
    return "sha256:" + state.hexdigest()


def sha256_raw(data: bytes) -> bytes:
    """The 32 bytes of the digest, for formats that want them."""
    return hashlib.sha256(data).digest()


def keyed(key: bytes, message: bytes) -> str:
    """HMAC-SHA-256: a digest that only holders of `key` can recompute, for values that could be guessed."""
    return "hmac:" + hmac.new(key, message, hashlib.sha256).hexdigest()
