"""YAML documents: what they are read as, and that every refusal has its place."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.errors import DocumentError
from aegis.model.document import MAX_DEPTH, MAX_SIZE_BYTES, Document, parse

CASES = Path(__file__).parents[2] / "conformance" / "contract"


def cases(name: str) -> Document:
    return parse((CASES / name).read_text("utf-8"), source=name)


def same(left: object, right: object) -> bool:
    """Equal, and of equal types all the way down: `1`, `1.0` and `True` are three values."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


@pytest.mark.parametrize("case", cases("documents.yaml").value["cases"], ids=lambda case: case["name"])
def test_document_is_read_or_refused_as_the_case_says(case):
    if "error" in case:
        with pytest.raises(DocumentError) as refused:
            parse(case["text"], source="tool.yaml")
        assert str(refused.value).startswith(f"tool.yaml:{case['error']}")
    else:
        assert same(parse(case["text"], source="tool.yaml").value, case["value"])


def test_every_value_has_the_place_of_its_key_or_of_itself():
    document = parse("a: 1\nb:\n- ? x\n  : [y, {z: 1}]\n", source="f")
    places = {(): (1, 1), ("a",): (1, 1), ("b",): (2, 1), ("b", 0): (3, 3), ("b", 0, "x"): (3, 5), ("b", 0, "x", 1, "z"): (4, 10)}
    assert {path: document.place(path) for path in places} == places


def test_a_missing_path_has_the_place_of_what_is_around_it():
    document = parse("a: 1\nb: {c: 2}\n", source="f")
    assert document.place(("b", "c", "missing", 3)) == (2, 5)
    assert document.place(("missing",)) == (1, 1)
    assert str(document.error(("b", "nothing"), "what")) == "f:2:1: what"


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
@pytest.mark.parametrize("levels", [MAX_DEPTH + 2, 5_000])
def test_a_deep_document_is_refused(opening, levels):
    with pytest.raises(DocumentError):
        parse(opening * levels, source="f")


def test_depth_is_bounded_exactly():
    assert parse("[" * MAX_DEPTH + "]" * MAX_DEPTH, source="f").value
    with pytest.raises(DocumentError, match=rf"f:1:{MAX_DEPTH + 1}: nested deeper than {MAX_DEPTH} levels"):
        parse("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), source="f")


def test_a_large_document_is_refused_before_it_is_read():
    with pytest.raises(DocumentError, match=f"f:1:1: larger than {MAX_SIZE_BYTES} bytes"):
        parse("&" * (MAX_SIZE_BYTES + 1), source="f")


@given(st.text(alphabet=st.sampled_from("ab01_.-+eExobn:, []{}\"'\n#&*!%?~<=\t\\u\ud800\x00\x7f\x85é\ufeff"), max_size=24))
def test_any_text_is_a_plain_value_or_an_error_with_a_place(text):
    try:
        value = parse(text, source="f").value
    except DocumentError as error:
        source, line, column, _ = str(error).split(":", 3)
        assert source == "f"
        assert int(line) > 0
        assert int(column) > 0
    else:
        assert plain(value)


def plain(value: object) -> bool:
    if isinstance(value, dict):
        return all(plain(key) and isinstance(key, str) and plain(member) for key, member in value.items())
    if isinstance(value, list):
        return all(map(plain, value))
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        return value.encode() is not None
    return value is None or isinstance(value, bool | int)
