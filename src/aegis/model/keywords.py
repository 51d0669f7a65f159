"""The words of JSON Schema 2020-12, so that a misspelt one is refused instead of checking nothing.

The specification lets a reader ignore a keyword that it does not know. In a contract that would turn `maximun: 100` into no
limit at all. Words that start with `x-` are notes and stay allowed.
"""

from collections.abc import Iterator
from typing import Any

from aegis.model.node import choices, nearest

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_ONE = frozenset({
    "additionalProperties", "propertyNames", "items", "contains", "not", "if", "then", "else", "unevaluatedItems",
    "unevaluatedProperties", "contentSchema",
})  # fmt: skip
_NAMED = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs"})
_LISTED = frozenset({"prefixItems", "allOf", "anyOf", "oneOf"})
_PLAIN = frozenset({
    "$schema", "$id", "$ref", "$anchor", "$dynamicRef", "$dynamicAnchor", "$vocabulary", "$comment",
    "type", "enum", "const", "multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum", "maxLength", "minLength",
    "pattern", "maxItems", "minItems", "uniqueItems", "maxContains", "minContains", "maxProperties", "minProperties", "required",
    "dependentRequired", "format", "contentEncoding", "contentMediaType", "title", "description", "default", "deprecated",
    "readOnly", "writeOnly", "examples",
})  # fmt: skip
_KNOWN = _ONE | _NAMED | _LISTED | _PLAIN
_FORMATS = frozenset({
    "date", "date-time", "time", "duration", "email", "idn-email", "hostname", "idn-hostname", "ipv4", "ipv6", "uri",
    "uri-reference", "iri", "iri-reference", "uuid", "uri-template", "json-pointer", "relative-json-pointer", "regex",
})  # fmt: skip
Path = tuple[str | int, ...]


def strange_words(schema: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Where `schema` uses a word that checks nothing, and what to say about it."""
    if not isinstance(schema, dict):
        return
    for word, value in schema.items():
        at = (*path, word)
        if word not in _KNOWN and not word.startswith("x-"):
            yield at, f"unknown keyword `{word}`, which would check nothing{nearest(word, _KNOWN)}"
        elif word == "$schema" and value != DIALECT:
            yield at, f"expected `{DIALECT}`, or no `$schema`"
        elif word == "format" and value not in _FORMATS:
            yield at, f"unknown format, which would check nothing; expected {choices(_FORMATS)}"
        elif word in _ONE:
            yield from strange_words(value, at)
        elif word in _NAMED and isinstance(value, dict):
            for name, child in value.items():
                yield from strange_words(child, (*at, name))
        elif word in _LISTED and isinstance(value, list):
            for index, child in enumerate(value):
                yield from strange_words(child, (*at, index))
