"""A contract's version number says what has changed for callers."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.errors import ConfigError
from aegis.model.contract import contract
from aegis.model.document import parse
from aegis.model.evolution import Weight, _narrower, changes, complaint
from aegis.model.schema import Schema

TEXT = """
apiVersion: aegis.tool/v1
kind: Tool
metadata: {{name: pay, version: {version}, tenant: acme, owner: o@acme.example}}
spec:
  description: Pays.
  effect: {effect}
  interrupt: {interrupt}
  resource: x
  upstream: {{url: "http://127.0.0.1:1"}}
  operations:
    call: {{method: POST, path: /pay, body: all}}
    ask: {{method: GET, path: "/paid/{{idempotency_key}}", done: {{status: [200]}}, absent: {{status: [404]}}}}
  input:
    type: object
    required: [{required}]
    properties: {{{properties}}}
  output: {{type: object, required: [{result}], properties: {{id: {{type: {id_type}}}, note: {{type: string}}}}}}
"""
AMOUNT = "amount: {type: integer, minimum: 0, maximum: 100}"
MEMO = "memo: {type: string, maxLength: 20, enum: [a, b]}"


def made(version="1.0.0", **changed):
    given_ = {
        "effect": "write", "interrupt": "ask", "required": "amount", "properties": f"{AMOUNT}, {MEMO}", "result": "id",
        "id_type": "integer",
    }  # fmt: skip
    text = TEXT.format(version=version, **{**given_, **changed})
    if "interrupt" in changed:
        text = "\n".join(line for line in text.splitlines() if not line.strip().startswith("ask:"))
    return contract(parse(text, source=f"pay-{version}.yaml"))


BREAKING = [
    ({"required": "amount, memo"}, "input.required", "`memo` is required now"),
    ({"properties": AMOUNT}, "input.properties.memo", "is not taken any more"),
    ({"properties": f"{AMOUNT.replace('100', '99')}, {MEMO}"}, "input.properties.amount.maximum", "was 100, is 99"),
    ({"properties": f"{AMOUNT.replace('minimum: 0', 'minimum: 1')}, {MEMO}"}, "input.properties.amount.minimum", "was 0, is 1"),
    ({"properties": f"{AMOUNT.replace('integer', 'string')}, {MEMO}"}, "input.properties.amount.type", "takes no integer"),
    ({"properties": f"{AMOUNT}, {MEMO.replace('[a, b]', '[a]')}"}, "input.properties.memo.enum", "fewer values"),
    ({"properties": f"{AMOUNT}, {MEMO.replace('maxLength', 'pattern: x, maxLength')}"}, "input.properties.memo.pattern", "otherwise"),
    ({"result": ""}, "output.required", "results may look as they never did"),
    ({"id_type": "[integer, string]"}, "output.properties.id.type", "results may look as they never did"),
    ({"effect": "dangerous"}, "spec.effect", "was `write`, is `dangerous`"),
    ({"interrupt": "neither"}, "spec.interrupt", "was `ask`, is `neither`"),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "place", "text"), BREAKING)
def test_a_change_that_breaks_callers_needs_a_new_major_version(changed, place, text):
    new = made("1.1.0", **changed)
    found = [change for change in changes(made(), new) if change.weight is Weight.BREAKING]
    assert [(place, True)] == [(change.place, text in change.text) for change in found if change.place == place]
    assert "needs version 2.0.0" in complaint(made(), new)
    assert complaint(made(), made("2.0.0", **changed)) == ""


ADDING = [
    {"required": ""},
    {"properties": f"{AMOUNT}, {MEMO}, more: {{type: string}}"},
    {"properties": f"{AMOUNT.replace('100', '101')}, {MEMO}"},
    {"result": "id, note"},
]


@pytest.mark.parametrize("changed", ADDING)
def test_a_change_that_only_adds_needs_a_new_minor_version(changed):
    assert {change.weight for change in changes(made(), made("1.0.1", **changed))} == {Weight.ADDING}
    assert "needs version 1.1.0" in complaint(made(), made("1.0.1", **changed))
    assert complaint(made(), made("1.1.0", **changed)) == ""


def test_the_same_contract_needs_only_a_later_number():
    assert changes(made(), made("1.0.1")) == ()
    assert complaint(made(), made("1.0.1")) == ""
    assert "does not come after" in complaint(made("1.0.1"), made("1.0.0"))


def test_a_catalogue_with_a_silent_break_does_not_load(tmp_path):
    from aegis.adapters.catalogue import load

    for version, required in (("1.0.0", "amount"), ("1.1.0", "amount, memo")):
        given_ = {"effect": "write", "interrupt": "ask", "result": "id", "id_type": "integer"}
        text = TEXT.format(version=version, required=required, properties=f"{AMOUNT}, {MEMO}", **given_)
        (tmp_path / f"pay-{version}.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"`input.required`: `memo` is required now.*2\.0\.0"):
        load(tmp_path, "acme")


scalars = st.one_of(st.integers(-3, 8), st.sampled_from(["", "a", "bb", "ccc"]), st.booleans(), st.none())
values = st.recursive(scalars, lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner)))
types = st.sampled_from(["string", "integer", "number", "boolean", "object", "array", ["string", "null"], ["integer", "string"]])
plain = st.fixed_dictionaries(
    {},
    optional={
        "type": types, "minimum": st.integers(-2, 5), "maximum": st.integers(-2, 5), "minLength": st.integers(0, 3),
        "maxLength": st.integers(0, 3), "enum": st.lists(scalars, min_size=1, max_size=3), "maxItems": st.integers(0, 3),
        "required": st.lists(st.sampled_from("abc"), unique=True), "uniqueItems": st.booleans(),
    },
)  # fmt: skip
schemas = st.recursive(
    plain,
    lambda inner: st.builds(
        lambda base, more: base | more,
        plain,
        st.fixed_dictionaries(
            {},
            optional={
                "properties": st.dictionaries(st.sampled_from("abc"), inner), "items": inner,
                "additionalProperties": st.one_of(st.booleans(), inner),
            },
        ),
    ),
    max_leaves=4,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(schemas, schemas, st.lists(values, min_size=1, max_size=8))
def test_what_is_not_called_narrower_takes_everything_that_was_taken(old, new, tried):
    if list(_narrower("input", old, new)):
        return
    before, after = Schema(old), Schema(new)
    for value in tried:
        if not before.check(value):
            assert not after.check(value)


SIBLINGS = [
    ({"properties": {"a": {"type": "string"}}, "additionalProperties": {"type": "integer"}}, "properties", {"a": "x"}),
    ({"patternProperties": {"^x": {}}, "additionalProperties": False}, "patternProperties", {"x": 1}),
    ({"prefixItems": [{"type": "string"}], "items": False}, "prefixItems", ["a"]),
    ({"contains": {"type": "string"}, "minContains": 0}, "minContains", []),
    ({"properties": {"a": {}}, "unevaluatedProperties": False}, "properties", {"a": 1}),
    ({"allOf": [{"properties": {"a": {}}}], "unevaluatedProperties": False}, "allOf", {"a": 1}),
    ({"prefixItems": [{}], "unevaluatedItems": False}, "prefixItems", [1]),
]


@pytest.mark.parametrize(("old", "word", "value"), SIBLINGS)
def test_a_word_that_goes_and_leaves_more_to_its_neighbours_breaks(old, word, value):
    new = {name: part for name, part in old.items() if name != word}
    assert not Schema(old).check(value)
    assert Schema(new).check(value)
    assert list(_narrower("input", old, new))


def test_a_new_name_that_a_pattern_already_took_and_a_wider_part_that_is_counted_break():
    pattern = {"patternProperties": {"^a": {"type": "integer"}}, "additionalProperties": False}
    assert list(_narrower("input", pattern, pattern | {"properties": {"ab": {"type": "string"}}}))
    counted = {"contains": {"type": "string"}, "maxContains": 1}
    assert list(_narrower("input", counted, counted | {"contains": {}}))


def test_a_wider_part_to_which_a_negation_refers_breaks():
    refers = "other: {not: {$ref: '#/properties/amount'}}"
    old, new = (
        made(version, properties=f"amount: {{type: {kind}}}, {refers}")
        for version, kind in (("1.0.0", "integer"), ("1.1.0", "number"))
    )
    assert "needs version 2.0.0" in complaint(old, new)
    assert complaint(made(properties=AMOUNT), made("1.1.0", properties=f"{AMOUNT}, more: {{$ref: '#/properties/amount'}}")) == ""


crossed = st.fixed_dictionaries(
    {},
    optional={
        "properties": st.dictionaries(st.sampled_from("abc"), plain, max_size=2), "additionalProperties": st.one_of(st.booleans(), plain),
        "patternProperties": st.dictionaries(st.sampled_from(["^a", "b", "."]), plain, max_size=2), "unevaluatedProperties": st.booleans(),
        "prefixItems": st.lists(plain, min_size=1, max_size=2), "items": st.one_of(st.booleans(), plain), "contains": plain,
        "minContains": st.integers(0, 2), "maxContains": st.integers(0, 2), "unevaluatedItems": st.booleans(), "not": plain,
        "propertyNames": plain, "if": plain, "then": plain, "else": plain, "type": types,
    },
)  # fmt: skip
containers = st.one_of(
    st.lists(scalars, max_size=3), st.dictionaries(st.sampled_from(["a", "b", "ab", "c"]), scalars, max_size=3), scalars
)


@settings(max_examples=400, deadline=None)
@given(crossed, crossed, st.data())
def test_what_is_not_called_narrower_after_a_few_edits_takes_everything_that_was_taken(old, other, data):
    words = sorted(old.keys() | other.keys())
    edited = data.draw(st.sets(st.sampled_from(words), min_size=1, max_size=2)) if words else set()
    new = {word: part for word, part in old.items() if word not in edited} | {word: other[word] for word in edited & other.keys()}
    if list(_narrower("input", old, new)):
        return
    before, after = Schema(old), Schema(new)
    for value in data.draw(st.lists(containers, min_size=1, max_size=8)):
        if not before.check(value):
            assert not after.check(value)
