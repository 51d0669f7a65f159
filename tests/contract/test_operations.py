"""Arguments become requests and requests become arguments; no value changes the shape of what it travels in."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.crypto import ijson
from aegis.errors import InputError
from aegis.model.contract import Contract, contract
from aegis.model.document import Document, parse
from aegis.model.operation import OutgoingRequest, to_arguments, to_request

FILE = Path(__file__).parents[2] / "conformance" / "contract" / "requests.yaml"
CASES = parse(FILE.read_text("utf-8"), source=FILE.name).value
PROBE = contract(parse(CASES["spec"], source="probe.yaml")).operations["call"]


def back(operation, request: OutgoingRequest):
    """What a door that saw `request` on the wire makes of it."""
    body = None if request.body is None else ijson.parse(request.body)
    return to_arguments(operation, request.method, request.path, request.query, dict(request.headers), body)


@pytest.mark.parametrize("case", CASES["leaves"], ids=lambda case: case["name"])
def test_arguments_leave_as_the_case_says(case):
    if "refused" in case:
        with pytest.raises(InputError) as refused:
            to_request(PROBE, case["args"])
        assert refused.value.path == case["refused"]
        return
    request = to_request(PROBE, case["args"])
    assert (request.method, request.target) == ("POST", case["request"]["target"])
    assert dict(request.headers) == case["request"]["headers"]
    assert request.body == case["request"]["body"].encode()
    assert back(PROBE, request) == case["args"]


@pytest.mark.parametrize("case", CASES["carries"], ids=lambda case: case["name"])
def test_a_request_carries_what_the_case_says(case):
    seen = case["request"]
    path, _, query = seen["target"].partition("?")
    sent = (seen.get("method", "POST"), path, query, seen.get("headers", {}), seen.get("body", {}))
    if "refused" in case:
        with pytest.raises(InputError) as refused:
            to_arguments(PROBE, *sent)
        assert refused.value.path == case["refused"]
        assert "SECRET" not in str(refused.value)
    else:
        assert to_arguments(PROBE, *sent) == case["args"]


def test_a_body_where_none_is_mapped_is_refused_and_a_missing_one_too():
    none = stated({}, path="/", place={}).operations["call"]
    with pytest.raises(InputError, match="has no body"):
        to_arguments(none, "POST", "/", "", {}, {})
    assert to_arguments(none, "POST", "/", "", {}, None) == {}
    with pytest.raises(InputError, match="expected an object"):
        to_arguments(PROBE, "POST", "/items/a/parts/7", "", {}, None)


@pytest.mark.parametrize("value", [10**30, "\ud800", object()])
def test_what_json_cannot_carry_is_refused_and_not_sent(value):
    for name in ("data", "find"):
        with pytest.raises(InputError):
            to_request(PROBE, {"id": "a", "part": 1, name: value} if name == "data" else {"id": "a", "part": 1, name: [value]})
    with pytest.raises(InputError):
        to_request(PROBE, {"id": "\ud800", "part": 1})


# Generated contracts: each argument has a name, a type and one of four places.

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,7}", fullmatch=True).filter(lambda name: name != "idempotency_key")
TEXT = st.text(max_size=12)
HOSTILE = st.sampled_from([
    "..", ".", "a/../b", "%2e%2e", "%2f", "a\\b", "\0", "\r\nHost: evil", "?x=1", "#", "&a=b", "=", ";", "\uff0e\uff0e", "\uff0f", "\u2025", "\u2028", " ", "",
    "\u202e", "%", "%00", "{id}", "//evil.example", "http://evil.example", "\x85", "a b", "+",
])  # fmt: skip
SCALARS = {"string": TEXT | HOSTILE, "integer": st.integers(-(2**53) + 1, 2**53 - 1), "boolean": st.booleans()}
FREE = st.recursive(
    st.none() | st.booleans() | SCALARS["integer"] | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
)


def stated(properties, *, path, place, method="POST", required=()) -> Contract:
    """The contract with these properties; `place` says where each argument stands, under which name on the wire."""
    call = {"method": method, "path": path, **place}
    spec = {
        "description": "Generated.", "effect": "write", "resource": "x", "interrupt": "neither", "upstream": {"url": "http://h"},
        "operations": {"call": call}, "input": {"type": "object", "properties": properties, "required": list(required)},
    }  # fmt: skip
    meta = {"name": "t", "version": "1.0.0", "tenant": "acme", "owner": "o@acme.example"}
    value = {"apiVersion": "aegis.tool/v1", "kind": "Tool", "metadata": meta, "spec": spec}
    return contract(Document("generated", value, {}))


@st.composite
def contracts_with_arguments(draw):
    names = draw(st.lists(NAMES, min_size=0, max_size=6, unique_by=str.lower))
    properties, arguments, path, required = {}, {}, [], []
    place = {"query": {}, "headers": {}, "body": {}}
    for name in names:
        where = draw(st.sampled_from(["path", "query", "headers", "body", "body"]))
        kind = draw(st.sampled_from(sorted(SCALARS)))
        properties[name] = {} if where == "body" else {"type": kind}
        value = draw(FREE if where == "body" else SCALARS[kind])
        if where == "path":
            path += [draw(st.sampled_from(["fixed", "v1", "a.b"])), f"{{{name}}}"]
            required.append(name)
        else:
            wire = f"x-{name.lower().replace('_', '-')}{len(place['headers'])}" if where == "headers" else draw(TEXT) + name
            place[where][wire] = name
        if where == "path" or draw(st.booleans()):
            arguments[name] = value
    made = stated(properties, path="/" + "/".join(path), place={k: v for k, v in place.items() if v}, required=required)
    return made, arguments


@given(contracts_with_arguments())
def test_what_leaves_comes_back_as_the_same_arguments(generated):
    made, arguments = generated
    operation = made.operations["call"]
    assert made.check_input(arguments) == ()
    try:
        request = to_request(operation, arguments)
    except InputError:  # a value that could change the shape; the tables say which
        return
    assert back(operation, request) == arguments


@given(contracts_with_arguments())
def test_no_argument_changes_the_shape_of_its_request(generated):
    made, arguments = generated
    operation = made.operations["call"]
    try:
        request = to_request(operation, arguments)
    except InputError:
        return
    assert request.method == "POST"
    assert re.fullmatch(r"[\x21-\x7e]+", request.target)
    segments = request.path.split("/")[1:] if operation.path else []
    assert len(segments) == len(operation.path)
    for segment, template in zip(segments, operation.path, strict=True):
        assert unquote(segment) not in ("", ".", "..")
        assert not template.text or segment == template.text
    names = [unquote(pair.partition("=")[0]) for pair in request.query.split("&") if pair]
    assert names == [wire for wire, name in operation.query if name in arguments]
    assert [wire for wire, _ in request.headers] == [wire for wire, name in operation.headers if name in arguments]
    assert all(re.fullmatch(r"[\x20-\x7e]*", value) for _, value in request.headers)
    assert (request.body is None) == (operation.body is None)


@given(
    st.sampled_from(["GET", "POST", "PUT"]),
    st.text(max_size=40),
    st.text(max_size=40),
    st.dictionaries(TEXT, TEXT, max_size=2),
    FREE,
)
def test_any_request_is_arguments_that_leave_alike_or_an_input_error(method, path, query, headers, body):
    try:
        arguments = to_arguments(PROBE, method, path, query, headers, body)
    except InputError:
        return
    assert back(PROBE, to_request(PROBE, arguments)) == arguments


@given(HOSTILE | TEXT, HOSTILE | TEXT)
def test_a_request_that_a_door_lets_in_leaves_with_the_same_path(first, second):
    path = f"/items/{first}/parts/{second}"
    try:
        arguments = to_arguments(PROBE, "POST", path, "", {}, {})
    except InputError:
        return
    assert to_request(PROBE, arguments).path == path
