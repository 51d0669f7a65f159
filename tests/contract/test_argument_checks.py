"""Arguments against contracts: every refusal says where and why, and never what."""

import json
import socket
from math import inf, nan
from pathlib import Path

import pytest

from aegis.crypto import ijson
from aegis.errors import ConfigError, InputError
from aegis.model.document import parse
from aegis.model.floats import stray_floats
from aegis.model.schema import MAX_VIOLATIONS, Schema

FILE = Path(__file__).parents[2] / "conformance" / "contract" / "arguments.yaml"
DOCUMENT = parse(FILE.read_text("utf-8"), source=FILE.name).value
CLOSED = {name: {**source, "additionalProperties": False} for name, source in DOCUMENT["contracts"].items()}
SCHEMAS = {name: Schema(source) for name, source in CLOSED.items()}


def check(name, value):
    return SCHEMAS[name].check(value) or stray_floats(CLOSED[name], value)


@pytest.mark.parametrize("case", DOCUMENT["cases"], ids=lambda case: case["name"])
def test_arguments_are_checked_as_the_case_says(case):
    if "input_error" in case:
        with pytest.raises(InputError) as refused:
            ijson.parse(case["args"].encode("utf-8", "surrogatepass"))
        assert case["input_error"] in str(refused.value)
        assert "SECRET" not in f"{refused.value} {refused.value.path}"
        return
    found = check(case["contract"], ijson.parse(case["args"].encode()))
    assert [[each.path, each.keyword] for each in found] == case.get("violations", [])
    assert "SECRET" not in repr(found)


@pytest.mark.parametrize(
    "arguments",
    [{"nothing": nan}, {"nothing": [inf]}, {"all": -inf}, {"either": nan}, {"named": {1: 2}}],
)
def test_what_no_json_reader_gives_is_refused_wherever_it_comes_from(arguments):
    assert check("numbers", arguments)
    assert check("slow", {"text": "\ud800"})


def test_deep_arguments_are_refused():
    with pytest.raises(InputError, match="nested deeper than 32 levels"):
        ijson.parse(b'{"free":' * 40 + b"1" + b"}" * 40)
    with pytest.raises(InputError, match="nested deeper than 32 levels"):
        ijson.parse(b"[" * 200_000)


def test_large_arguments_are_refused():
    with pytest.raises(InputError, match="larger than 1048576 bytes"):
        ijson.parse(b'"' + b"x" * 1_048_576 + b'"')


def test_a_long_unknown_name_is_cut_without_breaking_its_escapes():
    [found] = check("transfer", {"account": "acct_00000001", "amount_minor": 1, "/" * 100_000: 1})
    assert found.path == "/" + "~1" * 64
    [found] = check("transfer", {"account": "acct_00000001", "amount_minor": 1, "counts": {"x" * 100_000: "SECRET"}})
    assert found.path == "/counts/" + "x" * 64


@pytest.mark.parametrize("many", [100, 50_000])
def test_a_flood_of_violations_is_cut(many):
    flood = {f"x{index}": "SECRET" for index in range(many)}
    told = MAX_VIOLATIONS if many == 100 else 1
    assert len(check("transfer", {"account": "acct_00000001", "amount_minor": 1, **flood})) == told
    found = check("transfer", {"account": "acct_00000001", "amount_minor": 1, "counts": flood})
    assert len(found) == told
    assert found[0].path.startswith("/counts/x")


def test_a_pattern_that_explodes_elsewhere_is_linear_here():
    text = "a" * 1_000_000 + "!"  # an engine with backtracking would need longer than the universe has
    [found] = check("slow", {"text": text})
    assert (found.path, found.keyword) == ("/text", "pattern")


def test_references_that_multiply_are_followed_once_each():
    two = {"allOf": [{"$ref": "#/$defs/node"}, {"$ref": "#/$defs/node"}, {"$ref": "#/$defs/node"}]}
    source = {"$defs": {"node": {**two, "properties": {"next": two}, "items": two}}, "properties": {"a": two}}
    value = 1.5
    for _ in range(30):
        value = {"next": [value]}
    [found] = stray_floats(source, {"a": value})
    assert found.path == "/a" + "/next/0" * 30


def test_a_list_of_a_hundred_thousand_fractions_is_checked_in_one_walk():
    assert stray_floats({"items": {"$ref": "#/$defs/n"}, "$defs": {"n": {"type": "number"}}}, [0.5] * 100_000) == ()


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        yield server


@pytest.mark.parametrize("where", ["$ref", "$dynamicRef"])
def test_a_reference_to_a_url_is_refused_and_nobody_is_called(listener, where):
    port = listener.getsockname()[1]
    with pytest.raises(ConfigError):
        Schema({"properties": {"a": {where: f"http://127.0.0.1:{port}/schema.json"}}})
    with pytest.raises(ConfigError):
        Schema({"$id": f"http://127.0.0.1:{port}/base/", "properties": {"a": {where: "other.json"}}})
    with pytest.raises(ConfigError, match="2020-12"):
        Schema({"$schema": f"http://127.0.0.1:{port}/meta.json"})
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_a_reference_to_a_file_is_refused_and_not_read(tmp_path):
    file = tmp_path / "schema.json"
    file.write_text(json.dumps({"type": "string"}))
    with pytest.raises(ConfigError):
        Schema({"properties": {"a": {"$ref": file.as_uri()}}})
    with pytest.raises(ConfigError):
        Schema({"$id": tmp_path.as_uri() + "/", "properties": {"a": {"$ref": "schema.json"}}})
    with pytest.raises(ConfigError):
        Schema({"properties": {"a": {"$ref": str(file)}}})


def test_schemas_that_say_the_same_have_the_same_digest():
    assert Schema({"type": "number", "minimum": 1}).digest == Schema({"minimum": 1.0, "type": "number"}).digest
    assert Schema({"type": "number"}).digest != Schema({"type": "integer"}).digest


def test_a_schema_too_large_is_refused():
    with pytest.raises(ConfigError, match="larger than"):
        Schema({"enum": [f"value-{index}" for index in range(10_000)]})
