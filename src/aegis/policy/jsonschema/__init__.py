"""The JSON Schema (2020-12) of the language, for editors: made from the tables that the parser reads by.

Every document that loads is valid under it. The converse does not hold: names that must exist, types behind `args.*`, patterns of
RE2 and canonical hosts are known to the parser only, which has the last word.
"""

from collections.abc import Iterable

from aegis.model.decision import Outcome, Stage
from aegis.policy import cases, language, obligations, rules, toollines
from aegis.policy.ir import ANY_TOOL, DEFAULT_DENY, SHADOW_REVISION, SHADOW_SET, Kind, Op
from aegis.policy.jsonschema.comparisons import condition, elements, event, history, operators
from aegis.policy.jsonschema.parts import CHAIN, DOTTED, NAME, RANGE, Schema, array, closed, mapping, ref
from aegis.policy.operands import SHAPES, WEEKDAYS
from aegis.policy.places import FIXED, LINK

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_RESERVED = (DEFAULT_DENY, SHADOW_SET, SHADOW_REVISION)


def schema() -> Schema:
    """The schema of a policy document."""
    return {
        "$schema": DIALECT,
        "title": f"Policy set of Aegis ({language.API_VERSION})",
        **closed(
            {
                "apiVersion": {"const": language.API_VERSION},
                "kind": {"const": language.KIND},
                "metadata": closed({"name": ref("dotted"), "tenant": ref("dotted"), "owner": ref("text")}, all_of_them=True),
                "spec": closed(_SPEC, ("tools", "rules")),
            },
            all_of_them=True,
        ),
        "$defs": _definitions(),
    }


def _definitions() -> Schema:
    kinds = {f"tests-{kind}": operators(kind, "element") for kind in Kind}
    return {
        "text": {"type": "string", "minLength": 1},
        "dotted": {"type": "string", "pattern": DOTTED, "maxLength": 256},
        "duration": {"type": "string", "pattern": "^[1-9][0-9]{0,6}[smhd]$"},
        "time": {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"},
        "ref": closed({"ref": {"type": "string", "pattern": rf"^tenant(\.{NAME})+$"}}, all_of_them=True),
        "list": closed({"list": {"type": "string"}}, all_of_them=True),
        "shape": mapping({"anyOf": [{"enum": list(SHAPES)}, ref("shape")]}, named=True),
        "tool": _tool(),
        "rule": _rule(),
        "approval": _approval(),
        "redaction": _redaction(),
        "condition": condition(),
        "element": elements({}, "element", {r"^[^.]+(\.[^.]+)*$": ref(f"tests-{Kind.ANY}")}),
        "link": elements({name: ref(f"tests-{kind}") for name, kind in LINK.items()}, "link", {}),
        **kinds,
        "tests-chain": operators(Kind.ARRAY, "link", without=(Op.CONTAINS,)),
        "tests-names": operators(Kind.ARRAY, ""),
        "history": history(),
        "event": event(),
        "case": _case(),
    }


def _tool() -> Schema:
    argument = {"type": "string", "pattern": f"^({'|'.join(toollines.ARGUMENT_KINDS)})[?]?$"}
    labels = closed({"emits": array(ref("text")), "sink": ref("text"), "source": ref("text"), "region": ref("text")})
    found = closed(
        {
            "contract": ref("text"),
            "version": {"type": "string", "pattern": RANGE},
            "critical": {"type": "boolean"},
            "args": mapping(argument, named=True),
            "labels": labels,
            "history": {"type": "array", "items": ref("text")},
        }
    )
    assert found["properties"].keys() == set(toollines._FIELDS), "the parser and the schema know the same keys"  # noqa: SLF001 - its tables are read here
    return found | {"oneOf": [{"required": ["args"]}, {"required": ["contract"], "properties": {"version": False}}]}


def _rule() -> Schema:
    found = closed(
        {
            "id": ref("dotted") | {"not": {"enum": list(_RESERVED)}},
            "effect": {"enum": list(rules.EFFECTS)},
            "tools": {"anyOf": [{"const": [ANY_TOOL]}, array(ref("dotted")) | {"uniqueItems": True}]},
            "when": ref("condition"),
            "reason": ref("text"),
            "mode": {"enum": ["enforce", "shadow"]},
            "stage": {"enum": list(map(str, Stage))},
            "redact": array(ref("redaction")),
            "approval": ref("approval"),
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
    return closed(
        {
            "approvers": array({"type": "string", "pattern": "^(role|person):."}),
            "quorum": {"type": "integer", "minimum": 1, "maximum": rules.MAX_QUORUM},
            "ttl": ref("duration"),
            "not_requester": {"type": "boolean"},
        },
        ("approvers",),
    )


def _redaction() -> Schema:
    roots = "|".join(obligations.ROOTS.values())
    form = {"anyOf": [{"enum": list(obligations.FORMS)}, {"type": "string", "pattern": f"^{obligations.REGEX}."}]}
    return closed({"path": {"type": "string", "pattern": f"^/({roots})(/|$)"}, "with": form}, all_of_them=True)


def _case() -> Schema:
    fixed = {path: _value(path, kind) for path, kind in FIXED.items()}
    given = closed(fixed | {cases.PAST: {"type": "array", "items": {"type": "object", "required": ["tool"]}}}, ("tool",))
    given["patternProperties"] = {r"^args\.[^.]*$": True, rf"^tenant(\.{NAME})+$": True}
    outcome, ids = {"enum": list(map(str, Outcome))}, {"type": "array", "items": {"type": "string"}}
    expect = closed({key: outcome if key in ("outcome", "would_be") else ids for key in cases._EXPECT})  # noqa: SLF001 - as above
    return closed({"name": ref("text"), "input": given, "expect": expect | {"minProperties": 1}}, all_of_them=True)


def _value(path: str, kind: Kind) -> Schema:
    if path == CHAIN:
        link = closed({"id": ref("text"), "trust": {"type": "integer", "minimum": 0, "maximum": 5}}, all_of_them=True)
        return {"type": "array", "items": link}
    if kind is Kind.ARRAY:
        return {"type": "array", "items": ref("text")}
    if kind is Kind.TIME:
        return ref("time")
    if kind is Kind.WEEKDAY:
        return {"enum": list(WEEKDAYS)}
    return {"type": "integer" if kind is Kind.INTEGER else "string"}


_SPEC: Schema = {
    "mode": {"enum": ["enforce", "shadow"]},
    "timezone": ref("text"),
    "lists": mapping({"anyOf": [{"type": "array", "items": {"type": kind}} for kind in ("string", "integer")]}, named=True),
    "tenant": ref("shape"),
    "history": closed({"cap": ref("duration")}, all_of_them=True),
    "tools": mapping(ref("tool")) | {"minProperties": 1, "propertyNames": {"pattern": DOTTED}},
    "rules": {"type": "array", "items": ref("rule"), "maxItems": language.MAX_RULES},
    "rego": {
        "type": "array",
        "items": closed(
            {"file": {"type": "string", "pattern": r"^[^./\\][^/\\]*(/[^./\\][^/\\]*)*\.rego$"}, "tools": array(ref("dotted"))},
            all_of_them=True,
        ),
    },
    "tests": {"type": "array", "items": ref("case")},
}
