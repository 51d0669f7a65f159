"""Contracts of messages: what they state, what is refused at its place, and which change needs which version."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aegis.adapters import catalogue, messages
from aegis.errors import ConfigError, DocumentError
from aegis.model.document import parse
from aegis.model.evolution import Weight, changes, complaint
from aegis.model.message import message_contract, send_key
from aegis.model.schema import Schema

TEXT = """
apiVersion: aegis.message/v1
kind: Message
metadata: {name: order.placed, version: 1.0.0, tenant: acme, owner: orders@acme.example}
spec:
  description: An order was placed.
  from: ["agent:shop", "role:sales"]
  to: ["agent:store"]
  timeout: 60
  idempotency: source_and_id
  data:
    type: object
    required: [order_id]
    properties:
      order_id: {type: string, maxLength: 40}
      amount: {type: integer, minimum: 0}
      lines: {type: array, items: {$ref: "#/$defs/line"}}
    $defs: {line: {type: object, properties: {sku: {type: string}}, additionalProperties: false}}
"""
ENVELOPE = {"source": "agent:shop", "id": "1", "data": {"order_id": "A-1"}}


def stated(text=TEXT):
    return message_contract(parse(text, source="order.yaml"))


def test_a_message_is_the_contract_of_a_write_whose_key_the_mailbox_honours():
    found = stated()
    assert (found.name, found.type, found.effect, found.interrupt) == (
        "message.order.placed",
        "order.placed",
        "write",
        "honours_key",
    )
    assert found.operations["call"].arguments == ("source", "id", "subject", "time", "to", "data")
    assert found.check_input(ENVELOPE) == ()


def test_data_is_closed_and_its_definitions_are_found_inside_the_call():
    found = stated()
    assert found.check_input({**ENVELOPE, "data": {"order_id": "A", "lines": [{"sku": "x"}]}}) == ()
    for data in ({"order_id": "A", "more": 1}, {"order_id": "A", "lines": [{"sku": 1}]}, {}):
        assert found.check_input({**ENVELOPE, "data": data})
    assert found.check_input({**ENVELOPE, "extra": 1})
    assert found.check_input({**ENVELOPE, "to": "agent:thief"})


def test_where_there_is_a_choice_the_addressee_is_named():
    found = stated(TEXT.replace('to: ["agent:store"]', 'to: ["agent:store", "role:books"]'))
    assert found.check_input(ENVELOPE)
    assert found.check_input({**ENVELOPE, "to": "role:books"}) == ()
    assert found.copies("role:books") == ("role:books",)


def test_an_event_goes_to_all_and_names_nobody():
    found = stated(TEXT.replace("kind: Message", "kind: Event").replace('to: ["agent:store"]', 'to: ["agent:store", "role:books"]'))
    assert found.check_input({**ENVELOPE, "to": "role:books"})
    assert found.copies("") == ("agent:store", "role:books")
    assert found.reaches("agent:x", ("books",)) == ("role:books",)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("kind: Message", "kind: Massage", "found `Massage`; expected one of `Event`, `Message`; did you mean `Message`?"),
        ("version: 1.0.0", "version: '1.0'", "expected X.Y.Z"),
        ("timeout: 60", "timeout: 0", "expected an integer from 1 to 2592000, found 0"),
        ("idempotency: source_and_id", "idempotency: never", "found `never`"),
        ('from: ["agent:shop", "role:sales"]', "from: []", "at least one element"),
        ('"role:sales"', '"person:bob"', "expected an agent such as"),
        ('"role:sales"', '"agent:shop"', "each agent and role once"),
        ("timeout: 60", "timeout: 60\n  wait: 3", "unknown key `wait`"),
        ("    type: object\n    required", "    type: array\n    required", "expected `type: object` with `properties`"),
        ("#/$defs/line", "#/properties/amount", "refers to its own"),
        ("#/$defs/line", "https://x.example/s", "refers to its own"),
        ("#/$defs/line", "#/$defs/gone", "schema"),
        ("minimum: 0", "minimun: 0", "minimun"),
        ("    required: [order_id]", "    additionalProperties: true\n    required: [order_id]", "expected false"),
    ],
)
def test_what_is_wrong_is_told_at_its_place(old, new, said):
    assert old in TEXT
    with pytest.raises(DocumentError) as told:
        stated(TEXT.replace(old, new, 1))
    assert said in str(told.value)
    assert str(told.value).startswith("order.yaml:")


@pytest.mark.parametrize(
    ("old", "new", "weight", "place"),
    [
        (
            "amount: {type: integer, minimum: 0}",
            "amount: {type: integer, minimum: 0}\n      note: {type: string}",
            Weight.ADDING,
            "data.properties.note",
        ),
        ("required: [order_id]", "required: [order_id, amount]", Weight.BREAKING, "data.required"),
        ("required: [order_id]", "required: []", Weight.BREAKING, "data.required"),
        ("      amount: {type: integer, minimum: 0}\n", "", Weight.BREAKING, "data.properties.amount"),
        ("minimum: 0", "minimum: 1", Weight.BREAKING, "data.properties.amount.minimum"),
        ("{type: integer, minimum: 0}", "{type: integer}", Weight.BREAKING, "data.properties.amount.minimum"),
        ("type: integer", "type: number", Weight.BREAKING, "data.properties.amount.type"),
        (
            "properties: {sku: {type: string}}",
            "properties: {sku: {type: string}, n: {type: integer}}",
            Weight.BREAKING,
            "data.$defs",
        ),
        ("timeout: 60", "timeout: 30", Weight.BREAKING, "spec.timeout"),
        ("timeout: 60", "timeout: 90", Weight.ADDING, "spec.timeout"),
        (', "role:sales"', "", Weight.BREAKING, "spec.from"),
        ('"role:sales"', '"role:sales", "agent:kiosk"', Weight.ADDING, "spec.from"),
        ('to: ["agent:store"]', 'to: ["agent:books"]', Weight.BREAKING, "spec.to"),
        ('to: ["agent:store"]', 'to: ["agent:store", "agent:books"]', Weight.BREAKING, "spec.to"),
        ("idempotency: source_and_id", "idempotency: required", Weight.BREAKING, "spec.idempotency"),
        ("kind: Message", "kind: Event", Weight.BREAKING, "kind"),
        ("name: order.placed", "name: order.paid", Weight.BREAKING, "metadata.name"),
    ],
)
def test_a_change_asks_of_the_version_what_it_does_to_either_side(old, new, weight, place):
    assert old in TEXT
    major, minor = (TEXT.replace(old, new, 1).replace("1.0.0", number) for number in ("2.0.0", "1.1.0"))
    found = changes(stated(), stated(minor))
    assert max(found, key=lambda change: change.weight is Weight.BREAKING).weight is weight
    assert any(change.place.startswith(place) for change in found), found
    assert complaint(stated(), stated(major)) == ""
    assert bool(complaint(stated(), stated(minor))) is (weight is Weight.BREAKING)


FIELD = st.sampled_from(
    [
        {"type": "integer"},
        {"type": "integer", "minimum": 2},
        {"type": "string"},
        {"type": "string", "maxLength": 2},
        {"enum": ["a", "b"]},
        {"enum": ["a"]},
    ]
)
DATA = st.dictionaries(st.sampled_from("pqr"), FIELD).flatmap(
    lambda fields: (
        st.sets(st.sampled_from(sorted(fields))).map(lambda names: (fields, sorted(names))) if fields else st.just((fields, []))
    )
)


def of_data(shape, version):
    import json

    fields, required = shape
    data = {"type": "object", "properties": fields, "required": required}
    head, _, _ = TEXT.partition("  data:")
    return stated(head.replace("1.0.0", version) + "  data: " + json.dumps(data) + "\n")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(DATA, DATA, st.dictionaries(st.sampled_from("pqrs"), st.sampled_from([1, 2, "a", "b", "ccc"])))
def test_what_is_called_harmless_is_so_for_producers_and_consumers(before, after, value):
    old, new = of_data(before, "1.0.0"), of_data(after, "1.1.0")
    if any(change.weight is Weight.BREAKING for change in changes(old, new)):
        return
    if Schema(old.data).check(value) == ():
        assert Schema(new.data).check(value) == ()
    if Schema(new.data).check(value) == ():
        known = {name: each for name, each in value.items() if name in before[0]}
        assert Schema(old.data).check(known) == ()


def test_a_key_belongs_to_one_source_and_id():
    keys = {send_key(*pair) for pair in (("agent:a", "1"), ("agent:a", "2"), ("agent:b", "1"), ("agent:a1", ""), ("agent:", "a1"))}
    assert len(keys) == 5
    assert all(len(key) <= 128 and key.isascii() for key in keys)


def write(home, name, text):
    (home / "messages").mkdir(exist_ok=True)
    (home / "messages" / name).write_text(text)


def test_messages_stand_beside_tools_and_the_newest_is_current(tmp_path):
    write(tmp_path, "a.yaml", TEXT.replace("1.0.0", "1.1.0").replace("timeout: 60", "timeout: 61"))
    write(tmp_path, "b.yaml", TEXT)
    found = messages.beside(catalogue.load(tmp_path / "tools", "acme"), tmp_path, "acme")
    assert found.newest["message.order.placed"].version == "1.1.0"
    assert len(found.by_digest) == 2


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("b.yml", TEXT, "ends in `.yaml`"),
        ("b.yaml", TEXT, "stands already in"),
        ("b.yaml", TEXT.replace("acme", "globex"), "is of tenant `globex`"),
        ("b.yaml", TEXT.replace("1.0.0", "1.1.0").replace("minimum: 0", "minimum: 1"), "needs version 2.0.0"),
    ],
)
def test_a_folder_that_contradicts_itself_is_refused(tmp_path, name, text, said):
    write(tmp_path, "a.yaml", TEXT)
    write(tmp_path, name, text)
    with pytest.raises(ConfigError, match=said):
        messages.load(tmp_path / "messages", "acme")
