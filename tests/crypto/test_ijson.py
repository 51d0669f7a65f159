"""Strict JSON: what two readers could understand differently is refused, and the message never holds a value."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.crypto import ijson
from aegis.crypto.canonical import canon
from aegis.errors import InputError

SECRET = "4111111111111111"

REFUSED = {
    "nothing": b"",
    "only white space": b" \n\t",
    "duplicate member": b'{"a":"%s","a":"%s"}' % (SECRET.encode(), SECRET.encode()),
    "duplicate member, one escaped": b'{"a":"4111111111111111","\\u0061":1}',
    "duplicate member, nested": b'[{"x":{"a":1,"b":2,"a":4111111111111111}}]',
    "NaN": b"NaN",
    "infinity": b'{"a":Infinity}',
    "negative infinity": b"-Infinity",
    "1e400": b"1e400",
    "-1e400": b'{"a":[-1e400]}',
    "1e-400, which would become zero": b"1e-400",
    "-0.00e-400 with a digit behind": b"-0.001e-400",
    "2^53": b"9007199254740992",
    "-2^53": b"-9007199254740992",
    "an integer of a thousand digits": b"1" * 1000,
    "an integer of a hundred thousand digits": b"4" * 100_000,
    "2^53 as float": b"9007199254740992.0",
    "rounds to 2^53": b"9007199254740991.9",
    "lone high surrogate, escaped": b'"4111111111111111\\ud800"',
    "lone low surrogate, escaped": b'"\\udc00"',
    "surrogates in the wrong order": b'"\\udc00\\ud800"',
    "lone surrogate in a name": b'{"\\ud834":1}',
    "lone surrogate, raw": b'"\xed\xa0\x80"',
    "pair of surrogates, raw": b'"\xed\xa0\xb4\xed\xb4\x9e"',
    "byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "UTF-16 without a mark": '{"a":1}'.encode("utf-16-le"),
    "invalid UTF-8": b'"\xff"',
    "overlong UTF-8": b'"\xc0\xaf"',
    "truncated UTF-8": b'"\xe2\x82"',
    "beyond U+10FFFF": b'"\xf4\x90\x80\x80"',
    "33 arrays": b"[" * 33 + b"]" * 33,
    "33 arrays around a number": b"[" * 33 + b"1" + b"]" * 33,
    "33 objects": b'{"a":' * 33 + b"1" + b"}" * 33,
    "half a million arrays": b"[" * 500_000,
    "a million arrays, closed": b"[" * 500_000 + b"]" * 500_000,
    "one byte too many": b'"' + b"a" * (ijson.MAX_SIZE_BYTES - 1) + b'"',
    "trailing text": b"{} 4111111111111111",
    "trailing comma": b"[1,]",
    "trailing comma in an object": b'{"a":1,}',
    "two values": b"{}{}",
    "comment": b"/* 4111111111111111 */ 1",
    "single quotes": b"{'a':1}",
    "name without quotes": b"{a:1}",
    "leading zero": b"01",
    "leading plus": b"+1",
    "no digit before the point": b".5",
    "no digit after the point": b"5.",
    "hexadecimal": b"0x10",
    "control character in a string": b'"a\nb"',
    "NUL after the value": b"1\x00",
    "no-break space as white space": b"\xc2\xa01",
    "form feed as white space": b"\x0c1",
    "unknown escape": b'"\\x41"',
    "escape with underscore": b'"\\u00_1"',
    "upper case literal": b"True",
    "digits of another script": '{"a":٤}'.encode(),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_what_two_readers_could_read_differently_is_refused_without_its_value(data: bytes) -> None:
    with pytest.raises(InputError) as refused:
        ijson.parse(data)
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"null", None),
        (b" [true , false]\r\n", [True, False]),
        (b"9007199254740991", 2**53 - 1),
        (b"-9007199254740991", 1 - 2**53),
        (b"-0", 0),
        (b"0e-400", 0.0),
        (b"-0.0", 0.0),
        (b"5e-324", 5e-324),
        (b"1.5", 1.5),
        (b'"\\ud834\\udd1e"', "\U0001d11e"),
        (b'{"":{"a":1},"b":{"a":1}}', {"": {"a": 1}, "b": {"a": 1}}),
        (b"[" * 32 + b"]" * 32, None),
        (b'"' + b"a" * (ijson.MAX_SIZE_BYTES - 2) + b'"', "a" * (ijson.MAX_SIZE_BYTES - 2)),
    ],
)
def test_what_every_reader_reads_alike_is_accepted(data: bytes, value: object) -> None:
    found = ijson.parse(data)
    assert value is None or (found == value and type(found) is type(value))


def test_an_integer_that_is_written_as_float_stays_a_float() -> None:
    assert [type(item) for item in ijson.parse(b"[1, 1.0, -0]")] == [int, float, int]


@pytest.mark.parametrize("innermost", [b"1", b"[]", b"{}", b'""', b'{"a":1}'])
@pytest.mark.parametrize("depth", [0, 1, 2, 7])
def test_depth_counts_containers_whether_or_not_they_are_empty(innermost: bytes, depth: int) -> None:
    data = b"[" * depth + innermost + b"]" * depth
    real = depth + (innermost[:1] in b"[{")
    ijson.parse(data, max_depth=real)
    if real:
        with pytest.raises(InputError, match="nested deeper"):
            ijson.parse(data, max_depth=real - 1)


def test_a_syntax_error_is_placed_by_character() -> None:
    with pytest.raises(InputError, match="at character 5"):
        ijson.parse('["é",]'.encode())


SCALARS = (
    st.none() | st.booleans() | st.integers(1 - 2**53, 2**53 - 1) | st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4), max_leaves=20
)


@given(VALUES)
@settings(max_examples=300, deadline=None)
def test_parsing_the_canonical_form_gives_the_value_back(value: object) -> None:
    assert ijson.parse(canon(value)) == value


@given(st.binary(max_size=60))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_value_or_an_input_error(data: bytes) -> None:
    try:
        value = ijson.parse(data)
    except InputError:
        return
    assert ijson.parse(data) == value


NAMES = {"a": str, "n": int, "f": (int, float), "maybe": (str, type(None)), "count": (int, type(None)), "flag": bool, "o": dict}


@pytest.mark.parametrize(
    ("value", "path", "words"),
    [
        ([], "", "expected an object"),
        (None, "", "expected an object"),
        ({"a": "x", "b/c~d": SECRET}, "/b~1c~0d", "unknown member"),
        ({"a": 1}, "/a", "expected a string"),
        ({"a": None}, "/a", "expected a string"),
        ({"a": "x", "n": "1"}, "/n", "expected an integer"),
        ({"a": "x", "n": 1.0}, "/n", "expected an integer"),
        ({"a": "x", "n": True}, "/n", "expected an integer"),
        ({"a": "x", "f": True}, "/f", "expected an integer or a number"),
        ({"a": "x", "count": False}, "/count", "expected an integer or null"),
        ({"a": "x", "maybe": 1}, "/maybe", "expected a string or null"),
        ({"a": "x", "flag": 1}, "/flag", "expected a boolean"),
        ({"a": "x", "o": []}, "/o", "expected an object"),
        ({}, "/a", "missing"),
    ],
)
def test_members_are_closed_and_typed(value: object, path: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        ijson.members(value, NAMES, frozenset({"a"}))
    assert refused.value.path == path
    assert SECRET not in str(refused.value)


def test_members_of_the_right_types_pass() -> None:
    value = {"a": "", "n": 1, "f": 1.5, "maybe": None, "count": 3, "flag": False, "o": {}}
    assert ijson.members(value, NAMES, frozenset({"a"})) is value
