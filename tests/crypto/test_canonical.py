"""One value, one text: the canonical form against another implementation and against the published vectors."""

import enum
import json
from pathlib import Path

import pytest
import rfc8785
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aegis.crypto.canonical import canon, canon_numbers
from aegis.crypto.ijson import MAX_INTEGER, parse
from aegis.errors import CanonicalError

VECTORS = Path(__file__).resolve().parents[2].parent / "shared" / "vectors" / "jcs" / "testdata"
SECRET = 41111111111111112222

# Names in which UTF-16 order and code point order differ are common here, so that both paths are taken.
CHARACTERS = st.characters(exclude_categories=("Cs",)) | st.sampled_from(
    '\ud7ff\ue000\uffff\U00010000\U0010ffff\x7f\x80\u2028\x00\x1f"\\/'
)
TEXTS = st.text(CHARACTERS, max_size=8)
INTEGERS = st.integers(-MAX_INTEGER, MAX_INTEGER)
NUMBERS = INTEGERS | st.floats(allow_nan=False, allow_infinity=False)


def nested(scalars: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=5), max_leaves=25
    )


VALUES = nested(st.none() | st.booleans() | INTEGERS | TEXTS)
WITH_NUMBERS = nested(st.none() | st.booleans() | NUMBERS | TEXTS)


@given(VALUES)
@example({"\U00010000": 1, "\ue000": 2})
@example({"a\U00010000": {"\uffff": 1}, "a\ue000": [], "a": ""})
@example({"\u20ac": "Euro", "\r": "CR", "\ufb33": "Dalet", "1": "One", "\U0001f600": "Smile", "\x80": "Control", "\xf6": "o"})
@settings(max_examples=500, deadline=None)
def test_the_canonical_form_is_that_of_another_implementation(value: object) -> None:
    assert canon(value) == rfc8785.dumps(value)


@given(VALUES)
@settings(max_examples=200, deadline=None)
def test_without_floats_both_forms_are_one(value: object) -> None:
    assert canon(value) == canon_numbers(value)


@given(st.lists(st.tuples(TEXTS, INTEGERS), unique_by=lambda pair: pair[0], max_size=8), st.randoms())
@settings(deadline=None)
def test_the_order_in_which_members_were_written_does_not_matter(pairs: list[tuple[str, int]], random: object) -> None:
    shuffled = pairs.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # a random.Random of hypothesis
    assert canon(dict(pairs)) == canon(dict(shuffled))


@given(VALUES, VALUES)
@example([1, True], [True, 1])
@example({"a": [0]}, {"a": [False]})
@example("é", "e\u0301")
@settings(max_examples=200, deadline=None)
def test_two_values_share_a_form_only_when_they_are_equal(one: object, other: object) -> None:
    assert (canon(one) == canon(other)) == (json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True))


@given(WITH_NUMBERS)
@settings(max_examples=300, deadline=None)
def test_the_form_with_numbers_reads_back_as_the_same_value(value: object) -> None:
    assert json.loads(canon_numbers(value), parse_int=float) == value


@given(INTEGERS)
@example(0)
@example(MAX_INTEGER)
@example(-MAX_INTEGER)
@example(10**15)
@settings(deadline=None)
def test_an_integer_and_the_float_of_the_same_value_are_one_under_the_number_rules(number: int) -> None:
    assert canon_numbers(float(number)) == canon_numbers(number)
    assert canon_numbers(-0.0) == b"0"


@given(nested(st.floats() | INTEGERS))
@settings(max_examples=200, deadline=None)
def test_a_float_anywhere_has_no_canonical_form(value: object) -> None:
    def holds_float(item: object) -> bool:
        inner = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        return isinstance(item, float) or any(map(holds_float, inner))

    if holds_float(value):
        with pytest.raises(CanonicalError, match="`float` has no canonical form here"):
            canon(value)


class Word(enum.StrEnum):
    A = "a"


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        {"\U00010000": 1.0},
        float("nan"),
        MAX_INTEGER + 1,
        -MAX_INTEGER - 1,
        SECRET,
        {"\U00010000": SECRET},
        "\ud800",
        {"\ud800": 1},
        {"\udfff\U00010000": 1},
        {1: 2},
        {None: 1},
        {True: 1, "a": 2},
        b"bytes",
        {1, 2},
        complex(1, 2),
        Word.A,
        Text("a"),
        {Text("a"): 1},
        json.loads("[" * 900 + "]" * 900),
    ],
    ids=repr,
)
def test_what_json_does_not_have_has_no_canonical_form(value: object) -> None:
    with pytest.raises(CanonicalError) as refused:
        canon(value)
    assert str(SECRET) not in str(refused.value)


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), SECRET, [SECRET], {"a": "\ud800"}, {"\ud800": 1}, {1: 2}, b"x", complex(1, 2), {1}],
    ids=repr,
)
def test_the_form_with_numbers_refuses_without_telling_the_value(value: object) -> None:
    with pytest.raises(CanonicalError, match="no canonical form") as refused:
        canon_numbers(value)
    assert str(SECRET) not in str(refused.value)
    assert refused.value.__suppress_context__


def test_no_normalisation_so_two_spellings_of_one_glyph_stay_two_values() -> None:
    assert canon("\u00e9") != canon("e\u0301")


@pytest.mark.skipif(not VECTORS.is_dir(), reason="the published vectors of RFC 8785 are not beside this checkout")
@pytest.mark.parametrize("name", ["arrays", "french", "structures", "unicode", "values", "weird"])
def test_the_published_vectors_of_rfc_8785_come_out_byte_for_byte(name: str) -> None:
    given_text = (VECTORS / "input" / f"{name}.json").read_text("utf-8")
    expected = bytes.fromhex((VECTORS / "outhex" / f"{name}.txt").read_text("ascii"))
    assert expected == (VECTORS / "output" / f"{name}.json").read_bytes()
    value = json.loads(given_text)
    assert canon_numbers(value) == expected
    if name not in ("structures", "values"):  # these two hold floats, which our own documents never do
        assert canon(value) == expected
        assert canon(parse(given_text.encode())) == expected
