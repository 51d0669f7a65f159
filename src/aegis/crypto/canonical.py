"""The one byte form of a value: RFC 8785 over I-JSON.

Everything that is hashed or signed goes through `canon`. Our own documents never hold floats, so `1` and `1.0` cannot stand
for each other; arguments that a contract declares `number` use `canon_numbers`, which follows the number rules of RFC 8785.
"""

from typing import Any

import orjson
import rfc8785

from aegis.crypto.ijson import MAX_INTEGER
from aegis.errors import CanonicalError

# Beyond this character, UTF-16 order (which RFC 8785 sorts by) and code point order differ.
_UTF16_DIFFERS = "\ue000"
_REASONS: dict[type[Exception], str] = {
    rfc8785.IntegerDomainError: "an integer beyond 2^53 - 1",
    rfc8785.FloatDomainError: "NaN or infinity",
    UnicodeEncodeError: "a lone surrogate in a name",
    RecursionError: "nested too deeply",
}


def canon(value: Any) -> bytes:
    """Canonical bytes of `value`: null, booleans, integers with abs(n) < 2^53, strings, arrays, objects.

    Raises:
        CanonicalError: A float, a larger integer, a lone surrogate, or a type that JSON does not have.

    Source: RFC 8785, section 3.
    """
    if _plain(value):
        try:
            return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
        except (TypeError, RecursionError):
            raise CanonicalError("no canonical form: a lone surrogate, or nested too deeply") from None
    return _slow(value)


def canon_numbers(value: Any) -> bytes:
    """As `canon`, and numbers take the shortest form of RFC 8785, section 3.2.2.3 (so `1.0` and `1` are one value)."""
    return _slow(value)


def _slow(value: Any) -> bytes:
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError, TypeError) as error:
        # The library writes the number itself into its message, so only the kind of error may leave here.
        raise CanonicalError(
            f"no canonical form: {_REASONS.get(type(error), 'a lone surrogate, or a type that JSON does not have')}"
        ) from None


def _plain(value: Any) -> bool:
    """Whether orjson's sorted output equals RFC 8785 for `value`; raises on what no canonical form may hold."""
    plain = True
    stack = [value]
    while stack:
        item = stack.pop()
        kind = type(item)
        if kind is dict:
            for key in item:
                if type(key) is not str:
                    raise CanonicalError("object keys must be strings")
                if key >= _UTF16_DIFFERS or not (key.isascii() or max(key) < _UTF16_DIFFERS):
                    plain = False
            stack.extend(item.values())
        elif kind is list or kind is tuple:
            stack.extend(item)
        elif kind is int:
            if not -MAX_INTEGER <= item <= MAX_INTEGER:
                raise CanonicalError("integer beyond 2^53 - 1")
        elif kind is not str and kind is not bool and item is not None:
            raise CanonicalError(f"`{kind.__name__}` has no canonical form here")
    return plain
