"""JSON Schema 2020-12, compiled once; nothing is ever fetched, and no message holds a value.

Patterns run in an engine without backtracking, so a schema cannot make a check slow. A reference that leads out of the schema is
refused when the schema is compiled: a tool's owner must not be able to make us call a URL or read a file. So is everything that
would check nothing without saying so: another dialect, an unknown keyword, an unknown format.
"""

from collections.abc import Iterable
from typing import Any, NoReturn

import jsonschema_rs
from msgspec import Struct

from aegis.crypto.canonical import canon_numbers
from aegis.crypto.digest import sha256
from aegis.crypto.ijson import check_depth, escape
from aegis.errors import CanonicalError, ConfigError, InputError
from aegis.model.keywords import Path, strange_words

MAX_SCHEMA_BYTES = 65_536
MAX_SCHEMA_DEPTH = 24
MAX_VIOLATIONS = 8
MAX_NAME = 64
MAX_TOLD = 4096


class SchemaError(ConfigError):
    """A schema is wrong; `path` leads to the place in it, as far as that is known."""

    def __init__(self, message: str, path: Path = ()) -> None:
        super().__init__(f"schema: {message}")
        self.path = path


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
            SchemaError: It is not a schema, refers to something outside itself, checks less than it seems to, or is too large
                or deep.
        """
        if not isinstance(source, dict | bool):
            raise SchemaError("expected a mapping, true or false")
        encoded = _bounded(source)
        for path, message in strange_words(source):
            raise SchemaError(message, path)
        try:
            self._validator = jsonschema_rs.Draft202012Validator(
                source,
                validate_formats=True,
                ignore_unknown_formats=False,
                retriever=_refuse,
                pattern_options=jsonschema_rs.RegexOptions(),
            )
        except jsonschema_rs.ValidationError as error:
            raise SchemaError(error.message[:200], tuple(error.instance_path)) from None
        except (jsonschema_rs.ReferencingError, ValueError) as error:
            raise SchemaError(str(error).splitlines()[0][:200]) from None
        self.source = source
        self.digest = sha256(encoded)

    def check(self, value: Any) -> tuple[Violation, ...]:
        """Where `value` breaks the schema, at most a handful of places; empty when it fits."""
        try:
            if self._validator.is_valid(value):
                return ()
        except ValueError:  # a lone surrogate, or a key that is not text: nothing that came through a JSON reader
            return (Violation(path="", keyword="type", text="not a JSON value"),)
        found = []
        for error in self._errors(value):
            found += _violations(error)
            if len(found) >= MAX_VIOLATIONS:
                break
        return tuple(sorted(found, key=lambda violation: (violation.path, violation.keyword))[:MAX_VIOLATIONS])

    def _errors(self, value: Any) -> Iterable[jsonschema_rs.ValidationError]:
        """What is wrong; of a wide value only the first, because the engine builds all errors before it gives one."""
        if not _wide(value):
            return self._validator.iter_errors(value)
        try:
            self._validator.validate(value)
        except jsonschema_rs.ValidationError as error:
            return (error,)
        raise AssertionError("the engine calls this value both valid and not valid")


def _wide(value: Any) -> bool:
    pending = [value]
    for _ in range(MAX_TOLD):
        if not pending:
            return False
        item = pending.pop()
        if isinstance(item, dict | list):
            pending += item.values() if isinstance(item, dict) else item
    return True


def _bounded(source: Any) -> bytes:
    """The canonical form of a schema, when it is neither too deep nor too large."""
    try:
        check_depth(source, MAX_SCHEMA_DEPTH)
        encoded = canon_numbers(source)
    except InputError:
        raise SchemaError(f"nested deeper than {MAX_SCHEMA_DEPTH} levels") from None
    except CanonicalError as error:
        raise SchemaError(str(error)) from None
    if len(encoded) > MAX_SCHEMA_BYTES:
        raise SchemaError(f"larger than {MAX_SCHEMA_BYTES} bytes")
    return encoded


def _violations(error: jsonschema_rs.ValidationError) -> list[Violation]:
    # Names of members can be the caller's text. They are the place, so they are told, but cut.
    path = "".join(f"/{_token(part)}" for part in error.instance_path)
    keyword = error.kind.name
    kind = error.kind.as_dict()
    if keyword in ("additionalProperties", "unevaluatedProperties"):
        unknown = kind["unexpected"][:MAX_VIOLATIONS]
        return [Violation(path=f"{path}/{_token(name)}", keyword=keyword, text="unknown member") for name in unknown]
    if keyword == "required":
        return [Violation(path=f"{path}/{_token(kind['property'])}", keyword=keyword, text="required member is missing")]
    limit = _limit(kind)
    return [Violation(path=path, keyword=keyword, text=_TEXTS.get(keyword, f"breaks `{keyword}`"), limit=limit)]


def _token(part: str | int) -> str:
    return escape(str(part)[:MAX_NAME])


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
