"""How one version of a contract differs from an earlier one, and whether its version number says so.

A change *breaks* when a call that fitted no longer fits, when a result may look as no caller of the old version expects, or when
the tool does more, or can be repeated less safely, than it said. Then the major version must rise. What only adds raises the minor
one.

Who sends a message and who reads it change at different times, so its data is held against both: a producer of the old version may
not need more, and a consumer of the old version may not miss what it could count on, nor meet a value that it never met. A consumer
passes over members that it does not know; so a new optional member adds, and little else does.

Schemas are compared keyword by keyword. Where that cannot show that a change is harmless (a pattern that reads otherwise, `anyOf`
rearranged, a word with no order to it), it counts as breaking: what nobody can show to be safe is not called so.
"""

import json
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any

from msgspec import Struct

from aegis.model.contract import Contract
from aegis.model.message import MessageContract
from aegis.model.workflow_contract import WorkflowContract

_EFFECTS = ("read", "write", "dangerous")
_REPEATS = ("honours_key", "ask", "neither")
_WORDS = frozenset({"title", "description", "default", "examples", "deprecated", "$comment", "$schema", "readOnly", "writeOnly"})
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_REST = (("patternProperties", "additionalProperties"), ("prefixItems", "items"))
_NAMES = frozenset({"$id", "$anchor", "$dynamicAnchor"})
_SWAYING = frozenset({"not", "if", "oneOf", "maxContains", "unevaluatedItems", "unevaluatedProperties"})
_TYPES = frozenset({"string", "integer", "number", "boolean", "object", "array", "null"})


class Weight(StrEnum):
    """What a change asks of the version number."""

    BREAKING = "breaking"
    ADDING = "adding"


class Change(Struct, frozen=True, kw_only=True, order=True):
    """One difference: where (`input.properties.amount.maximum`), and what it means for callers."""

    weight: Weight
    place: str
    text: str


def changes(old: Contract, new: Contract) -> tuple[Change, ...]:
    """Every difference that a caller could notice, breaking ones first."""
    found = [*_conduct(old, new)]
    if isinstance(old, MessageContract) and isinstance(new, MessageContract):
        found += [*_parties(old, new), *_carried(old, new)]
    else:
        found += _compared("input", old.input_schema, new.input_schema, "a call that fitted no longer fits", "more calls fit")
        if _gives(old) is not None or _gives(new) is not None:
            before, after = _or_any(_gives(old)), _or_any(_gives(new))
            found += _compared("output", after, before, "results may look as they never did", "results are narrower")
    order = list(Weight)
    return tuple(sorted(set(found), key=lambda change: (order.index(change.weight), change.place, change.text)))


def misfits(place: str, given: Any, wanted: Any) -> list[tuple[str, str]]:
    """Where a value that fits the schema `given` may not fit `wanted`: the places, and what `wanted` says there.

    Whoever gives gives what its schema names, and whoever reads passes over members that it does not know.
    """
    return list(_narrower(place, _shut(given), _opened(wanted)))


def complaint(old: Contract, new: Contract) -> str:
    """What is wrong with the version of `new`, which comes after `old`; empty when it says what has changed."""
    before, after = old.numbers, new.numbers
    if after <= before:
        return f"version {new.version} does not come after {old.version}"
    found = changes(old, new)
    breaking = [change for change in found if change.weight is Weight.BREAKING]
    if breaking and after[0] == before[0]:
        first = breaking[0]
        more = f" (and {len(breaking) - 1} more)" if len(breaking) > 1 else ""
        return f"`{first.place}`: {first.text}{more}; that needs version {before[0] + 1}.0.0, found {new.version}"
    if found and not breaking and after[:2] == before[:2]:
        return f"`{found[0].place}`: {found[0].text}; that needs version {before[0]}.{before[1] + 1}.0, found {new.version}"
    return ""


def _conduct(old: Contract, new: Contract) -> Iterator[Change]:
    """What the tool does, and what becomes of an interrupted call."""
    if old.name != new.name:
        yield Change(weight=Weight.BREAKING, place="metadata.name", text=f"`{new.name}` is another tool than `{old.name}`")
    for place, order, before, after in (
        ("spec.effect", _EFFECTS, old.effect, new.effect),
        ("spec.interrupt", _REPEATS, old.interrupt, new.interrupt),
    ):
        if before != after:
            worse = order.index(after) > order.index(before)
            text = f"was `{before}`, is `{after}`"
            yield Change(weight=Weight.BREAKING if worse else Weight.ADDING, place=place, text=text)


def _parties(old: MessageContract, new: MessageContract) -> Iterator[Change]:
    """Who sends a message, who gets it, and under which conditions."""
    for place, before, after in (("kind", old.kind, new.kind), ("spec.idempotency", old.keyed, new.keyed)):
        if before != after:
            yield Change(weight=Weight.BREAKING, place=place, text=f"was `{before}`, is `{after}`")
    for place, senders, now in (("spec.from", old.senders, new.senders), ("spec.to", old.addressees, new.addressees)):
        yield from (Change(weight=Weight.BREAKING, place=place, text=f"`{each}` is gone") for each in senders if each not in now)
        yield from (Change(weight=Weight.ADDING, place=place, text=f"`{each}` is new") for each in now if each not in senders)
    if new.kind == "Message" and len(old.addressees) == 1 < len(new.addressees):
        yield Change(weight=Weight.BREAKING, place="spec.to", text="there is a choice now: a message must name its addressee")
    if old.wait_seconds != new.wait_seconds:
        weight = Weight.BREAKING if new.wait_seconds < old.wait_seconds else Weight.ADDING
        text = f"was {old.wait_seconds} seconds, is {new.wait_seconds}"
        yield Change(weight=weight, place="spec.timeout", text=text)


def _carried(old: MessageContract, new: MessageContract) -> list[Change]:
    """What the data may hold, as producers and as consumers of the old version see it."""
    found = _compared(
        "data", old.data, new.data, "what a producer of the old version sends no longer fits", "producers may send more"
    )
    broken = {change.place for change in found if change.weight is Weight.BREAKING}
    for place, text in _narrower("data", _opened(new.data), _opened(old.data)):
        if place not in broken:
            why = "a consumer of the old version may miss or meet what it does not expect"
            turned = f"the old version says: {text}" if text else "reads otherwise"
            found.append(Change(weight=Weight.BREAKING, place=place, text=f"{turned}: {why}"))
    hurt = {change.place for change in found if change.weight is Weight.BREAKING}
    return [change for change in found if change.weight is Weight.BREAKING or change.place not in hurt]


def _opened(schema: Any, *, named: bool = False) -> Any:
    """The schema as a consumer holds it, who passes over members that it does not know."""
    if isinstance(schema, list):
        return [_opened(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        word: _opened(value, named=not named and word in ("properties", "$defs", "patternProperties"))
        for word, value in schema.items()
        if named or word != "additionalProperties" or value is not False
    }


def _shut(schema: Any, *, named: bool = False) -> Any:
    """The schema as a producer keeps it, who gives no members but those that it names."""
    if isinstance(schema, list):
        return [_shut(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {
        word: _shut(value, named=not named and word in ("properties", "$defs", "patternProperties"))
        for word, value in schema.items()
    }
    closes = not named and isinstance(schema.get("properties"), dict) and "patternProperties" not in schema
    return {**({"additionalProperties": False} if closes else {} if named else _enumerated(schema)), **inner}


def _enumerated(schema: dict[str, Any]) -> dict[str, Any]:
    """What else holds of a closed set of texts or of whole numbers."""
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    if values and all(isinstance(each, str) for each in values):
        return {"type": "string", "minLength": min(map(len, values)), "maxLength": max(map(len, values))}
    if values and all(type(each) is int for each in values):
        return {"type": "integer", "minimum": min(values), "maximum": max(values)}
    return {}


def _compared(place: str, old: Any, new: Any, breaks: str, adds: str) -> list[Change]:
    """Where `new` refuses what `old` takes (breaking), and where it takes what `old` refuses (adding)."""
    found = list(_narrower(place, old, new))
    if _text(old) != _text(new) and (_entangled(old) or _entangled(new)):
        found.append((place, "references lead to what has changed, and nothing shows that as much fits"))
    lost = [Change(weight=Weight.BREAKING, place=at, text=f"{text}: {breaks}") for at, text in found]
    broken = {change.place for change in lost}
    won = [Change(weight=Weight.ADDING, place=at, text=adds) for at, _ in _narrower(place, new, old) if at not in broken]
    return lost + won


def _narrower(place: str, old: Any, new: Any) -> Iterator[tuple[str, str]]:
    """Where `new` may refuse a value that `old` takes."""
    if _text(old) == _text(new) or new is True or new == {} or old is False:
        return
    if not isinstance(new, dict):
        yield place, "nothing fits any more"
        return
    before: dict[str, Any] = old if isinstance(old, dict) else {}
    for word in sorted(new.keys() - _WORDS):
        if not word.startswith("x-") and (word not in before or _text(before[word]) != _text(new[word])):
            yield from _word(f"{place}.{word}", word, before, new)
    yield from _gone(f"{place}.properties", before, new)
    yield from _beside(place, before, new)


def _word(place: str, word: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Whether one keyword of `new`, which stands otherwise in `old`, refuses more."""
    before, after = old.get(word), new[word]
    if word in _UPPER or word in _LOWER:
        tighter: Callable[[Any, Any], bool] = (lambda a, b: b < a) if word in _UPPER else (lambda a, b: b > a)
        if before is None or tighter(before, after):
            yield place, f"was {'no limit' if before is None else before}, is {after}"
    elif word == "type":
        if lost := _types(before) - _types(after):
            yield place, f"takes no {', '.join(sorted(lost))} any more"
    elif word in ("enum", "required"):
        yield from _sets(place, word, before, after)
    elif word == "properties":
        for name in after:
            yield from _narrower(f"{place}.{name}", (before or {}).get(name, _unnamed(old)), after[name])
    elif word in ("items", "contains", "propertyNames") or (word == "additionalProperties" and after is not False):
        yield from _narrower(place, before if before is not None else True, after)
    elif word == "additionalProperties":
        if before is not False:
            yield place, "unknown members are refused"
    elif word == "uniqueItems" and after is False:
        return
    else:
        yield place, "reads otherwise, and nothing shows that it takes as much"


def _sets(place: str, word: str, before: Any, after: Any) -> Iterator[tuple[str, str]]:
    if word == "required":
        if added := sorted(set(after) - set(before or ())):
            yield place, f"`{added[0]}` is required now"
    elif before is None or not set(map(_text, before)) <= set(map(_text, after)):
        yield place, "fewer values are taken"


def _gone(place: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Members that `old` names and `new` does not: they are now among the others."""
    others = new.get("additionalProperties", True)
    for name in sorted(old.get("properties", {}).keys() - new.get("properties", {}).keys()):
        if others is False:
            yield f"{place}.{name}", "is not taken any more"
        else:
            yield from _narrower(f"{place}.{name}", old["properties"][name], others)


def _beside(place: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Words of `new` that refuse more because of what stood beside them in `old`, or no longer does."""
    for word, others in _REST:
        if word in old and word not in new and new.get(others, True) not in (True, {}):
            yield f"{place}.{word}", f"what it named is now under `{others}`"
    if "contains" in new and ("contains" not in old or old.get("minContains", 1) < new.get("minContains", 1)):
        yield f"{place}.contains", "has to be there now"
    if "contains" in new and "maxContains" in new and _text(old.get("contains")) != _text(new["contains"]):
        yield f"{place}.contains", "more may be counted against `maxContains`"
    for word in sorted(new.keys() & {"unevaluatedItems", "unevaluatedProperties"}):
        if _text(old.get(word)) == _text(new[word]):
            yield f"{place}.{word}", "what is left to it has changed"
    for word in sorted((old.keys() & _NAMES) - new.keys()):
        yield f"{place}.{word}", "is gone, and references may lead elsewhere"


def _unnamed(schema: dict[str, Any]) -> Any:
    """What `schema` says of a member that it does not name; anything, where a pattern may name it."""
    return True if "patternProperties" in schema else schema.get("additionalProperties", True)


def _entangled(schema: Any) -> bool:
    """Whether a part that takes more could make another one take less, far from it: a reference that leads out of `$defs`."""
    words: set[str] = set()
    references: list[str] = []
    stack = [schema]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            words |= item.keys()
            references += [str(item[word]) for word in ("$ref", "$dynamicRef") if word in item]
        stack.extend(item.values() if isinstance(item, dict) else item if isinstance(item, list) else ())
    return not words.isdisjoint(_SWAYING) and not all(each.startswith("#/$defs/") for each in references)


def _types(value: Any) -> frozenset[str]:
    """The types that a `type` keyword takes; a number is taken where `number` stands, and so is an integer."""
    found = frozenset([value] if isinstance(value, str) else value) if value is not None else _TYPES
    return found | {"integer"} if "number" in found else found


def _text(value: Any) -> str:
    """A value as JSON, in which `true` is not 1."""
    return json.dumps(value, sort_keys=True)


def _gives(contract: Contract) -> Any:
    """What comes of a call in the end; of a workflow that is what its run gives, not the word that it has begun."""
    return contract.gives if isinstance(contract, WorkflowContract) else contract.output_schema


def _or_any(schema: Any) -> Any:
    return True if schema is None else schema
