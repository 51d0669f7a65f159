"""Parse JSON from outside so that no two readers can understand it differently.

The accepted domain is I-JSON (RFC 7493): UTF-8 without a byte order mark, no duplicate keys, no lone surrogates, no NaN or
infinity, no number of 2^53 or more and none so small that it would become zero. Depth and size are bounded. Everything else is
refused, with the place where it is known, and never repaired: a gateway that reads `{"amount": 1, "amount": 9}` as 1 while the tool
reads 9 protects nothing.
"""

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any, NoReturn

import orjson

from aegis.errors import InputError

MAX_DEPTH = 32
MAX_SIZE_BYTES = 1_048_576
MAX_INTEGER = 2**53 - 1


def parse(data: bytes, *, max_depth: int = MAX_DEPTH, max_size_bytes: int = MAX_SIZE_BYTES) -> Any:
    """Parse `data` as one strict JSON value.

    Raises:
        InputError: With the JSON Pointer of the place where one is known.

    Source: RFC 7493; RFC 8259.
    """
    if len(data) > max_size_bytes:
        raise InputError(f"larger than {max_size_bytes} bytes")
    try:
        value = json.loads(
            data.decode("utf-8", "strict"),
            object_pairs_hook=_object,
            parse_constant=_constant,
            parse_int=_integer,
            parse_float=_number,
        )
    except InputError:
        raise
    except UnicodeDecodeError:
        raise InputError("not valid UTF-8") from None
    except RecursionError:
        raise InputError(f"nested deeper than {max_depth} levels") from None
    except ValueError as error:
        position = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"not valid JSON{position}") from None
    check_depth(value, max_depth)
    try:
        orjson.dumps(value)  # the cheapest complete search for lone surrogates, which escapes can smuggle in
    except (TypeError, RecursionError):
        raise InputError("holds a lone surrogate, which is not a character") from None
    return value


def check_depth(value: Any, max_depth: int = MAX_DEPTH) -> None:
    """Refuse `value` when containers nest deeper than `max_depth`; a scalar has depth 0."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(max_depth):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, dict | list)
        ]
        if not level:
            return
    if level:
        raise InputError(f"nested deeper than {max_depth} levels")


def escape(token: str) -> str:
    """One reference token of a JSON Pointer (RFC 6901, section 3)."""
    return token.replace("~", "~0").replace("/", "~1")


def members(value: Any, allowed: Mapping[str, type | tuple[type, ...]], required: frozenset[str], path: str = "") -> dict[str, Any]:
    """Check that `value` is an object with only `allowed` members of these types, and all `required` ones."""
    if not isinstance(value, dict):
        raise InputError("expected an object", path)
    for name, member in value.items():
        if name not in allowed:
            raise InputError(f"unknown member; expected one of {', '.join(sorted(allowed))}", f"{path}/{escape(name)}")
        kinds = _each(allowed[name])
        if not isinstance(member, kinds) or (isinstance(member, bool) and bool not in kinds):  # in Python a boolean is an integer
            raise InputError(f"expected {' or '.join(_WORDS.get(kind, 'null') for kind in kinds)}", f"{path}/{escape(name)}")
    for name in sorted(required - value.keys()):
        raise InputError("required member is missing", f"{path}/{escape(name)}")
    return value


_WORDS = {dict: "an object", list: "an array", str: "a string", int: "an integer", float: "a number", bool: "a boolean"}


def _each(kinds: type | tuple[type, ...]) -> tuple[type, ...]:
    return kinds if isinstance(kinds, tuple) else (kinds,)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InputError("an object names a member twice")
    return found


def _constant(_: str) -> NoReturn:
    raise InputError("NaN and infinity are not JSON numbers")


def _integer(text: str) -> int:
    if len(text) > 17 or abs(number := int(text)) > MAX_INTEGER:
        raise InputError("an integer is beyond 2^53 - 1")
    return number if text != "-0" else 0


def _number(text: str) -> float:
    number = float(text)
    if not isfinite(number) or abs(number) > MAX_INTEGER:
        raise InputError("a number is beyond 2^53 - 1")
    # Digits were lost: another reader would see a number that is not zero.
    if number == 0 and text.lower().partition("e")[0].strip("-0."):
        raise InputError("a number is too small to be told from zero")
    return number
