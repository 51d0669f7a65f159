"""The JSON Schema (2020-12) of the language, for editors: made from the tables that the parser reads by.

Every document that loads is valid under it. The converse does not hold: names that must exist, types behind `args.*`, patterns of
RE2 and canonical hosts are known to the parser only, which has the last word.
"""

from collections.abc import Iterable
from typing import Any

from aegis.model.decision import Outcome, Stage
from aegis.policy import cases, conditions, language, obligations, past, rules, toollines
from aegis.policy.ir import ANY_TOOL, DEFAULT_DENY, SHADOW_REVISION, SHADOW_SET, Kind, Op, Quantifier
from aegis.policy.operands import FITTING, SHAPES, STRINGS, WEEKDAYS
from aegis.policy.parsed import FIELDS
from aegis.policy.patterns import MAX_CHARACTERS
from aegis.policy.places import FIXED, LINK, OF_STRINGS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]

_NAME = "[A-Za-z_][A-Za-z0-9_-]*"
_DOTTED = rf"^{_NAME}(\.{_NAME})*$"
_VERSION = r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2}"
_RANGE = rf"^(>=|<=|>|<|=){_VERSION}( (>=|<=|>|<|=){_VERSION})*$"
_RESERVED = (DEFAULT_DENY, SHADOW_SET, SHADOW_REVISION)
_CHAIN = "chain"
_TOLD: dict[str, str] = {
    Op.EQ: "Equal, code point by code point.",
    Op.NE: "Different.",
    Op.GT: "Greater.",
    Op.GTE: "Greater or equal.",
    Op.LT: "Less.",
    Op.LTE: "Less or equal.",
    Op.BETWEEN: "From low on, below high; times may wrap midnight.",
    Op.OUTSIDE: "Not between.",
    Op.IN: "A member of a list.",
    Op.CONTAINS: "The array has this member.",
    Op.STARTS_WITH: "The text begins so.",
    Op.ENDS_WITH: "The text ends so.",
    Op.MATCHES: "RE2 finds the pattern; where a match permits, it must be anchored.",
    Op.HOST_IN: "The host is listed, or lies below a `*.` entry.",
    Op.LONGER_THAN: "More code points or elements.",
    Op.SHORTER_THAN: "Fewer code points or elements.",
    Op.PRESENT: "Something stands there; never unknown.",
    Op.VERSION: "Inside a range such as `>=1.2.0 <2.0.0`.",
    Quantifier.ANY: "Some element meets the condition.",
    Quantifier.EVERY: "There are elements and each meets the condition.",
    Quantifier.NONE: "No element meets the condition.",
}


def schema() -> Schema:
    """The schema of a policy document."""
    return {
        "$schema": DIALECT,
        "title": f"Policy set of Aegis ({language.API_VERSION})",
        **_object(
            {
                "apiVersion": {"const": language.API_VERSION},
                "kind": {"const": language.KIND},
                "metadata": _object({"name": _ref("dotted"), "tenant": _ref("dotted"), "owner": _ref("text")}, all_of_them=True),
                "spec": _object(_SPEC, ("tools", "rules")),
            },
            all_of_them=True,
        ),
        "$defs": _definitions(),
    }


def _definitions() -> Schema:
    kinds = {f"tests-{kind}": _tests(kind, "element") for kind in Kind}
    return {
        "text": {"type": "string", "minLength": 1},
        "dotted": {"type": "string", "pattern": _DOTTED, "maxLength": 256},
        "duration": {"type": "string", "pattern": "^[1-9][0-9]{0,6}[smhd]$"},
        "time": {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"},
        "ref": _object({"ref": {"type": "string", "pattern": rf"^tenant(\.{_NAME})+$"}}, all_of_them=True),
        "list": _object({"list": {"type": "string"}}, all_of_them=True),
        "shape": _map({"anyOf": [{"enum": list(SHAPES)}, _ref("shape")]}, named=True),
        "tool": _tool(),
        "rule": _rule(),
        "approval": _approval(),
        "redaction": _redaction(),
        "condition": _condition(),
        "element": _elements({}, "element", {r"^[^.]+(\.[^.]+)*$": _ref(f"tests-{Kind.ANY}")}),
        "link": _elements({name: _ref(f"tests-{kind}") for name, kind in LINK.items()}, "link", {}),
        **kinds,
        "tests-chain": _tests(Kind.ARRAY, "link", without=(Op.CONTAINS,)),
        "tests-names": _tests(Kind.ARRAY, ""),
        "history": _history(),
        "event": _event(),
        "case": _case(),
    }


def _tool() -> Schema:
    argument = {"type": "string", "pattern": f"^({'|'.join(toollines.ARGUMENT_KINDS)})[?]?$"}
    labels = _object({"emits": _list(_ref("text")), "sink": _ref("text"), "source": _ref("text"), "region": _ref("text")})
    found = _object(
        {
            "contract": _ref("text"),
            "version": {"type": "string", "pattern": _RANGE},
            "critical": {"type": "boolean"},
            "args": _map(argument, named=True),
            "labels": labels,
            "history": {"type": "array", "items": _ref("text")},
        }
    )
    assert found["properties"].keys() == set(toollines._FIELDS), "the parser and the schema know the same keys"  # noqa: SLF001 - its tables are read here
    return found | {"oneOf": [{"required": ["args"]}, {"required": ["contract"], "properties": {"version": False}}]}


def _rule() -> Schema:
    found = _object(
        {
            "id": _ref("dotted") | {"not": {"enum": list(_RESERVED)}},
            "effect": {"enum": list(rules.EFFECTS)},
            "tools": {"anyOf": [{"const": [ANY_TOOL]}, _list(_ref("dotted")) | {"uniqueItems": True}]},
            "when": _ref("condition"),
            "reason": _ref("text"),
            "mode": {"enum": ["enforce", "shadow"]},
            "stage": {"enum": list(map(str, Stage))},
            "redact": _list(_ref("redaction")),
            "approval": _ref("approval"),
        },
        ("id", "effect", "tools"),
    )
    assert found["properties"].keys() == set(rules._FIELDS), "the parser and the schema know the same keys"  # noqa: SLF001 - as above
    owned = {Outcome.SANITIZE: (("redact", "stage"), "redact"), Outcome.APPROVAL_NEEDED: (("approval",), "approval")}
    return found | {"allOf": [_owned(str(effect), keys, needed) for effect, (keys, needed) in owned.items()]}


def _owned(effect: str, keys: Iterable[str], needed: str) -> Schema:
    """Keys that belong to one effect, one of which it needs."""
    return {
        "if": {"properties": {"effect": {"const": effect}}},
        "then": {"required": [needed]},
        "else": {"properties": dict.fromkeys(keys, False)},
    }


def _approval() -> Schema:
    return _object(
        {
            "approvers": _list({"type": "string", "pattern": "^(role|person):."}),
            "quorum": {"type": "integer", "minimum": 1, "maximum": rules.MAX_QUORUM},
            "ttl": _ref("duration"),
            "not_requester": {"type": "boolean"},
        },
        ("approvers",),
    )


def _redaction() -> Schema:
    roots = "|".join(obligations.ROOTS.values())
    form = {"anyOf": [{"enum": list(obligations.FORMS)}, {"type": "string", "pattern": f"^{obligations.REGEX}."}]}
    return _object({"path": {"type": "string", "pattern": f"^/({roots})(/|$)"}, "with": form}, all_of_them=True)


def _condition() -> Schema:
    """A condition on a call: the places that every call has, those of arguments, and history."""
    fixed = {path: _ref(_tests_of(path, kind)) for path, kind in FIXED.items()}
    parts = {rf"^parsed\.{_NAME}\.{part}$": _ref(f"tests-{kind}") for fields in FIELDS.values() for part, kind in fields.items()}
    argument = {"anyOf": [_ref(f"tests-{kind}") for kind in map(Kind, toollines.ARGUMENT_KINDS)]}
    patterns = {rf"^args\.{_NAME}$": argument, rf"^args\.{_NAME}(\.[^.]+)+$": _ref(f"tests-{Kind.ANY}")}
    return _elements(fixed | {past.ROOT: _ref("history")}, "condition", patterns | parts)


def _tests_of(path: str, kind: Kind) -> str:
    if path == _CHAIN:
        return "tests-chain"
    return "tests-names" if path in OF_STRINGS else f"tests-{kind}"


def _elements(properties: Schema, itself: str, patterns: Schema) -> Schema:
    """Tests of places, joined by `all`, `any` and `not`."""
    joined = {word: _ref(itself) if word == "not" else _list(_ref(itself)) for word in sorted(conditions.COMBINATORS)}
    found = _object(properties | joined) | {"minProperties": 1}
    # A place that is named like a word of the language is that word.
    free = {f"(?!^({'|'.join(joined)})$){pattern}": each for pattern, each in patterns.items()} if not properties else patterns
    return found | ({"patternProperties": free} if free else {})


def _tests(kind: Kind, element: str, *, without: tuple[Op, ...] = ()) -> Schema:
    """The operators that fit a kind, with what may stand to their right."""
    fitting = [op for op in Op if op is Op.PRESENT or (kind in FITTING[op] and op not in without)]
    properties = {str(op): _operand(op, kind) | {"description": _TOLD[op]} for op in fitting}
    if element and kind in (Kind.ARRAY, Kind.ANY):
        properties |= {str(each): _ref(element) | {"description": _TOLD[each]} for each in Quantifier}
    return _object(properties) | {"minProperties": 1}


def _operand(op: Op, kind: Kind) -> Schema:
    if op is Op.PRESENT:
        return {"type": "boolean"}
    if op in (Op.BETWEEN, Op.OUTSIDE):
        bound = _ref("time") if kind is Kind.TIME else _either(_literal(op, kind))
        return {"type": "array", "items": bound, "minItems": 2, "maxItems": 2}
    if op in (Op.IN, Op.HOST_IN):
        return {"anyOf": [_ref("list"), _ref("ref"), *_members(op, kind)]}
    if op is Op.VERSION:
        return {"type": "string", "pattern": _RANGE}
    if op is Op.MATCHES:
        return {"type": "string", "maxLength": MAX_CHARACTERS}
    return _either(_literal(op, kind))


def _members(op: Op, kind: Kind) -> list[Schema]:
    if kind is Kind.WEEKDAY:
        return [_list({"enum": list(WEEKDAYS)})]
    if op is Op.HOST_IN:
        return [_list({"type": "string", "pattern": "^[^A-Z]+$"})]
    texts, numbers = _list({"type": "string", "not": {"pattern": r"^\*\."}}), _list({"type": "integer"})
    return [texts, numbers] if kind is Kind.ANY else [numbers] if kind is Kind.INTEGER else [texts]


def _literal(op: Op, kind: Kind) -> Schema:
    if op in (Op.LONGER_THAN, Op.SHORTER_THAN):
        return {"type": "integer", "minimum": 0}
    if op in (Op.STARTS_WITH, Op.ENDS_WITH):
        return {"type": "string", "minLength": 1}
    if kind is Kind.WEEKDAY:
        return {"enum": list(WEEKDAYS)}
    if kind in STRINGS:
        return {"type": "string"}
    if kind in (Kind.INTEGER, Kind.NUMBER, Kind.BOOLEAN):
        return {"type": str(kind)}
    compares = op in (Op.GT, Op.GTE, Op.LT, Op.LTE, Op.BETWEEN, Op.OUTSIDE)
    return {"type": "integer"} if compares else {"type": ["string", "integer", "boolean"]}


def _history() -> Schema:
    fields = {
        "event": _ref("event"),
        "until": _ref("event"),
        "unless_since": _ref("event"),
        "same": _list(_ref("text")),
        "within": _ref("duration"),
        "of": _ref("text"),
        "immediately": {"type": "boolean"},
    } | {str(op): _either({"type": "integer"}) for op in past.COMPARISONS}
    words = {}
    for word, keys in past._CONDITIONS.items():  # noqa: SLF001 - as above
        needed = [key for key in ("event", "within", "of") if key in keys]
        words[word] = _object({key: fields[str(key)] for key in map(str, keys)}, needed)
        if any(op in keys for op in past.COMPARISONS):
            words[word]["anyOf"] = [{"required": [str(op)]} for op in past.COMPARISONS]
    return _object(words) | {"minProperties": 1}


def _event() -> Schema:
    scalar = {"type": ["string", "integer"]}
    tests = _object({op: {"anyOf": [_list(scalar), _ref("list")]} if op == "in" else scalar for op in past.TESTS})
    fields = {"tool": _ref("dotted"), "phase": {"enum": list(past.PHASES)}, "where": _map(tests) | {"minProperties": 1}}
    return _object(fields, ("tool",))


def _case() -> Schema:
    fixed = {path: _value(path, kind) for path, kind in FIXED.items()}
    given = _object(fixed | {cases.PAST: {"type": "array", "items": {"type": "object", "required": ["tool"]}}}, ("tool",))
    given["patternProperties"] = {r"^args\.[^.]*$": True, rf"^tenant(\.{_NAME})+$": True}
    outcome, ids = {"enum": list(map(str, Outcome))}, {"type": "array", "items": {"type": "string"}}
    expect = _object({key: outcome if key in ("outcome", "would_be") else ids for key in cases._EXPECT})  # noqa: SLF001 - as above
    return _object({"name": _ref("text"), "input": given, "expect": expect | {"minProperties": 1}}, all_of_them=True)


def _value(path: str, kind: Kind) -> Schema:
    if path == _CHAIN:
        link = _object({"id": _ref("text"), "trust": {"type": "integer", "minimum": 0, "maximum": 5}}, all_of_them=True)
        return {"type": "array", "items": link}
    if kind is Kind.ARRAY:
        return {"type": "array", "items": _ref("text")}
    if kind is Kind.TIME:
        return _ref("time")
    if kind is Kind.WEEKDAY:
        return {"enum": list(WEEKDAYS)}
    return {"type": "integer" if kind is Kind.INTEGER else "string"}


def _either(literal: Schema) -> Schema:
    return {"anyOf": [literal, _ref("ref")]}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/$defs/{name}"}


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item, "minItems": 1}


def _map(value: Schema, *, named: bool = False) -> Schema:
    names: Schema = {"propertyNames": {"pattern": f"^{_NAME}$", "maxLength": 128}} if named else {}
    return {"type": "object", "additionalProperties": value} | names


def _object(properties: Schema, required: Iterable[str] = (), *, all_of_them: bool = False) -> Schema:
    needed = list(properties) if all_of_them else list(required)
    found: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return found | ({"required": needed} if needed else {})


_SPEC: Schema = {
    "mode": {"enum": ["enforce", "shadow"]},
    "timezone": _ref("text"),
    "lists": _map({"anyOf": [{"type": "array", "items": {"type": kind}} for kind in ("string", "integer")]}, named=True),
    "tenant": _ref("shape"),
    "history": _object({"cap": _ref("duration")}, all_of_them=True),
    "tools": _map(_ref("tool")) | {"minProperties": 1, "propertyNames": {"pattern": _DOTTED}},
    "rules": {"type": "array", "items": _ref("rule"), "maxItems": language.MAX_RULES},
    "rego": {
        "type": "array",
        "items": _object(
            {"file": {"type": "string", "pattern": r"^[^./\\][^/\\]*(/[^./\\][^/\\]*)*\.rego$"}, "tools": _list(_ref("dotted"))},
            all_of_them=True,
        ),
    },
    "tests": {"type": "array", "items": _ref("case")},
}
assert _SPEC.keys() == set(language.SPEC), "the parser and the schema know the same keys"
