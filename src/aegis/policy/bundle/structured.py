"""The JSON of a bundle in the one form whose bytes Open Policy Agent hashes.

OPA does not hash `.manifest` and `data.json` as they are: it parses them and hashes its own rendering (sorted keys, no white space,
no HTML escapes, U+2028 and U+2029 escaped, numbers as they are written). We write exactly that rendering and take no other, so the
hash of the bytes is the hash of the meaning.

Source: OPA 1.20, v1/bundle/hash.go.
"""

import json
from typing import Any

from aegis.crypto import ijson
from aegis.errors import BundleError, InputError

MAX_DEPTH = 64


def render(value: Any) -> bytes:
    """The bytes of a JSON value.

    Raises:
        BundleError: `json`: it holds what JSON or UTF-8 cannot.
    """
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").encode()
    except (TypeError, ValueError, RecursionError):
        raise BundleError("json", "a document of a bundle holds what JSON cannot") from None


def read(name: str, data: bytes, *, limit: int) -> dict[str, Any]:
    """The object in `data`, which must be what `render` writes.

    Raises:
        BundleError: `json`.
    """
    try:
        value = ijson.parse(data, max_depth=MAX_DEPTH, max_size_bytes=limit)
    except InputError:
        raise BundleError("json", f"`{name}` is not strict JSON") from None
    if not isinstance(value, dict):
        raise BundleError("json", f"`{name}`: expected an object")
    if render(value) != data:
        raise BundleError("json", f"`{name}` is not written in the one form that is hashed")
    return value
