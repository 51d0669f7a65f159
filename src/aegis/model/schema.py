"""JSON Schema 2020-12, compiled once; nothing is ever fetched, and no message holds a value.

Patterns run in an engine without backtracking, so a schema cannot make a check slow. A reference that leads out of the schema is
refused when the schema is compiled: a tool's owner must not be able to make us call a URL or read a file.
"""

from typing import Any, NoReturn

import jsonschema_rs
from msgspec import Struct

from aegis.crypto.canonical import canon_numbers
from aegis.crypto.digest import sha256
from aegis.crypto.ijson import check_depth, escape
from aegis.errors import ConfigError, InputError

MAX_SCHEMA_BYTES = 65_536
MAX_SCHEMA_DEPTH = 24
MAX_VIOLATIONS = 8


class Violation(Struct, frozen=True, kw_only=True):
    """One place where a value breaks its schema: a JSON Pointer, the rule that it breaks, and the limit of that rule."""

    path: str
    keyword: str
    text: str
    limit: Any = None


class Schema:
    """A compiled schema."""

    def __init__(self, source: Any) -> None:
        """Compile `source` (already parsed JSON or YAML).

        Raises:
            ConfigError: It is not a schema, refers to something outside itself, or is too large or deep.
        """
        try:
            encoded = canon_numbers(source)
            check_depth(source, MAX_SCHEMA_DEPTH)
        except InputError:
            raise ConfigError(f"schema: nested deeper than {MAX_SCHEMA_DEPTH} levels") from None
        if len(encoded) > MAX_SCHEMA_BYTES:
            raise ConfigError(f"schema: larger than {MAX_SCHEMA_BYTES} bytes")
        try:
            self._validator = jsonschema_rs.Draft202012Validator(
                source, validate_formats=True, retriever=_refuse, pattern_options=jsonschema_rs.RegexOptions()
            )
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
            first = str(error).splitlines()[0]
            raise ConfigError(f"schema: {first[:200]}") from None
        self.source = source
        self.digest = sha256(encoded)

    def check(self, value: Any) -> tuple[Violation, ...]:
        """Where `value` breaks the schema, at most a handful of places; empty when it fits."""
        if self._validator.is_valid(value):
            return ()
        found = []
        for error in self._validator.iter_errors(value):
            found += _violations(error)
            if len(found) >= MAX_VIOLATIONS:
                break
        return tuple(sorted(found, key=lambda violation: (violation.path, violation.keyword))[:MAX_VIOLATIONS])


def _violations(error: jsonschema_rs.ValidationError) -> list[Violation]:
    path = "".join(f"/{escape(str(part))}" for part in error.instance_path)
    keyword = error.kind.name
    kind = error.kind.as_dict()
    if keyword in ("additionalProperties", "unevaluatedProperties"):
        # The name of an unknown member is the caller's text: it is the place, and it is cut there.
        return [
            Violation(path=f"{path}/{escape(str(name))[:64]}", keyword=keyword, text="unknown member")
            for name in kind["unexpected"]
        ]
    if keyword == "required":
        return [Violation(path=f"{path}/{escape(str(kind['property']))}", keyword=keyword, text="required member is missing")]
    limit = _limit(kind)
    return [Violation(path=path, keyword=keyword, text=_TEXTS.get(keyword, f"breaks `{keyword}`"), limit=limit)]


def _limit(kind: dict[str, Any]) -> Any:
    for name in ("limit", "types", "options", "pattern", "format", "multiple_of"):
        if name in kind and isinstance(kind[name], bool | int | float | str | list | tuple):
            return kind[name]
    return None


_TEXTS = {
    "type": "wrong type",
    "minimum": "too small",
    "maximum": "too large",
    "exclusiveMinimum": "too small",
    "exclusiveMaximum": "too large",
    "minLength": "too short",
    "maxLength": "too long",
    "minItems": "too few elements",
    "maxItems": "too many elements",
    "pattern": "does not match the pattern",
    "format": "is not in the format",
    "enum": "not one of the allowed values",
    "const": "not the one allowed value",
    "uniqueItems": "elements are not unique",
}


def _refuse(uri: str) -> NoReturn:
    raise ValueError(f"references out of the schema are not followed: {uri[:120]}")
