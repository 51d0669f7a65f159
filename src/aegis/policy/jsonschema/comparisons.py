"""Schemas of conditions: which operators fit a place, and what stands to their right."""

from aegis.policy import conditions, past, toollines
from aegis.policy.ir import Kind, Op, Quantifier
from aegis.policy.jsonschema.parts import CHAIN, NAME, RANGE, Schema, array, closed, either, mapping, ref
from aegis.policy.operands import FITTING, STRINGS, WEEKDAYS
from aegis.policy.parsed import FIELDS
from aegis.policy.patterns import MAX_CHARACTERS
from aegis.policy.places import FIXED, OF_STRINGS

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


def condition() -> Schema:
    """A condition on a call: the places that every call has, those of arguments, and history."""
    fixed = {path: ref(_tests_of(path, kind)) for path, kind in FIXED.items()}
    parts = {rf"^parsed\.{NAME}\.{part}$": ref(f"tests-{kind}") for fields in FIELDS.values() for part, kind in fields.items()}
    argument = {"anyOf": [ref(f"tests-{kind}") for kind in map(Kind, toollines.ARGUMENT_KINDS)]}
    patterns = {rf"^args\.{NAME}$": argument, rf"^args\.{NAME}(\.[^.]+)+$": ref(f"tests-{Kind.ANY}")}
    return elements(fixed | {past.ROOT: ref("history")}, "condition", patterns | parts)


def elements(properties: Schema, itself: str, patterns: Schema) -> Schema:
    """Tests of places, joined by `all`, `any` and `not`."""
    joined = {word: ref(itself) if word == "not" else array(ref(itself)) for word in sorted(conditions.COMBINATORS)}
    found = closed(properties | joined) | {"minProperties": 1}
    # A place that is named like a word of the language is that word.
    free = {f"(?!^({'|'.join(joined)})$){pattern}": each for pattern, each in patterns.items()} if not properties else patterns
    return found | ({"patternProperties": free} if free else {})


def operators(kind: Kind, element: str, *, without: tuple[Op, ...] = ()) -> Schema:
    """The operators that fit a kind, with what may stand to their right."""
    fitting = [op for op in Op if op is Op.PRESENT or (kind in FITTING[op] and op not in without)]
    properties = {str(op): _operand(op, kind) | {"description": _TOLD[op]} for op in fitting}
    if element and kind in (Kind.ARRAY, Kind.ANY):
        properties |= {str(each): ref(element) | {"description": _TOLD[each]} for each in Quantifier}
    return closed(properties) | {"minProperties": 1}


def _tests_of(path: str, kind: Kind) -> str:
    if path == CHAIN:
        return "tests-chain"
    return "tests-names" if path in OF_STRINGS else f"tests-{kind}"


def _operand(op: Op, kind: Kind) -> Schema:
    if op is Op.PRESENT:
        return {"type": "boolean"}
    if op in (Op.BETWEEN, Op.OUTSIDE):
        bound = ref("time") if kind is Kind.TIME else either(_literal(op, kind))
        return {"type": "array", "items": bound, "minItems": 2, "maxItems": 2}
    if op in (Op.IN, Op.HOST_IN):
        return {"anyOf": [ref("list"), ref("ref"), *_members(op, kind)]}
    if op is Op.VERSION:
        return {"type": "string", "pattern": RANGE}
    if op is Op.MATCHES:
        return {"type": "string", "maxLength": MAX_CHARACTERS}
    return either(_literal(op, kind))


def _members(op: Op, kind: Kind) -> list[Schema]:
    if kind is Kind.WEEKDAY:
        return [array({"enum": list(WEEKDAYS)})]
    if op is Op.HOST_IN:
        return [array({"type": "string", "pattern": "^[^A-Z]+$"})]
    texts, numbers = array({"type": "string", "not": {"pattern": r"^\*\."}}), array({"type": "integer"})
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


def history() -> Schema:
    """The conditions over the past."""
    fields = {
        "event": ref("event"),
        "until": ref("event"),
        "unless_since": ref("event"),
        "same": array(ref("text")),
        "within": ref("duration"),
        "of": ref("text"),
        "immediately": {"type": "boolean"},
    } | {str(op): either({"type": "integer"}) for op in past.COMPARISONS}
    words = {}
    for word, keys in past._CONDITIONS.items():  # noqa: SLF001 - as above
        needed = [key for key in ("event", "within", "of") if key in keys]
        words[word] = closed({key: fields[str(key)] for key in map(str, keys)}, needed)
        if any(op in keys for op in past.COMPARISONS):
            words[word]["anyOf"] = [{"required": [str(op)]} for op in past.COMPARISONS]
    return closed(words) | {"minProperties": 1}


def event() -> Schema:
    """A kind of past call."""
    scalar = {"type": ["string", "integer"]}
    tests = closed({op: {"anyOf": [array(scalar), ref("list")]} if op == "in" else scalar for op in past.TESTS})
    fields = {"tool": ref("dotted"), "phase": {"enum": list(past.PHASES)}, "where": mapping(tests) | {"minProperties": 1}}
    return closed(fields, ("tool",))
