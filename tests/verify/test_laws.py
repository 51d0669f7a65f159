"""Laws of the verifier: an untouched bundle is always valid, a tampered one never, whatever was done to it."""

import json
import shutil
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples_drawn import examples

from aegis.crypto import ijson
from aegis.crypto.canonical import canon
from aegis.errors import AegisError
from aegis_verify import BrokenError, Bundle, UnusableError, read_event, split_note, verify
from verify.ledger import Log, events, question, renumber
from verify.test_tampering import numbered_anew

COUNT, SIZE = 24, 21
SEALED = Log.of(events(COUNT), SIZE, sizes=(3, 10, 16))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


def accepted(home):
    try:
        return verify(Bundle(str(home)), question()).ok
    except (BrokenError, UnusableError):
        return False


@settings(max_examples=examples(20), deadline=None)
@given(count=st.integers(1, 60), data=st.data(), zipped=st.booleans())
def test_an_untouched_bundle_is_always_valid(count, data, zipped):
    size = data.draw(st.integers(0, count))
    sizes = data.draw(st.lists(st.integers(0, size), max_size=4, unique=True))
    with TemporaryDirectory() as place:
        home = Log.of(events(count), size, sizes=sizes).write(Path(place) / "bundle")
        assert accepted(shutil.make_archive(str(home), "zip", home) if zipped else home)


FILES = ["bundle.json", "events.jsonl", "leaves.bin", "checkpoint.txt", "checkpoints/3.txt", "checkpoints/16.txt"]


def same_meaning(name, before, after):
    """A change that says the same: white space in bundle.json, its date, which nobody signs, and names that nobody reads."""
    if name != "bundle.json":
        return False
    try:
        old, new = json.loads(before), json.loads(after)
    except (ValueError, UnicodeDecodeError):
        return False
    return isinstance(new, dict) and all(new.get(key) == old[key] for key in old if key != "created") and not new.get("selection")


@settings(max_examples=examples(150), deadline=None)
@given(name=st.sampled_from(FILES), data=st.data())
def test_no_random_change_of_any_file_is_accepted(name, data):
    with TemporaryDirectory() as place:
        home = SEALED.write(Path(place) / "bundle")
        before = (home / name).read_bytes()
        at = data.draw(st.integers(0, len(before) - 1))
        length = data.draw(st.integers(0, 40))
        change = data.draw(st.sampled_from(["replace", "delete", "insert", "cut", "repeat", "flip"]))
        part = {
            "replace": data.draw(st.binary(max_size=length)),
            "delete": b"",
            "insert": data.draw(st.binary(min_size=1, max_size=8)) + before[at : at + length],
            "cut": b"",
            "repeat": before[at : at + length] * 2,
            "flip": bytes([before[at] ^ 1 << data.draw(st.integers(0, 7))]) + before[at + 1 : at + length],
        }[change]
        after = before[:at] + part + (b"" if change == "cut" else before[at + length :])
        (home / name).write_bytes(after)
        assert accepted(home) is (after == before or same_meaning(name, before, after))


@settings(max_examples=examples(80), deadline=None)
@given(data=st.data(), anew=st.booleans(), leaves=st.booleans())
def test_no_rearrangement_of_events_is_accepted(data, anew, leaves):
    def change(bodies):
        for _ in range(data.draw(st.integers(1, 3))):
            at, to = data.draw(st.integers(0, SIZE - 1)), data.draw(st.integers(0, SIZE - 1))
            match data.draw(st.sampled_from(["delete", "copy", "move", "swap", "edit", "cut"])):
                case "delete" if at < len(bodies):
                    del bodies[at]
                case "copy" if at < len(bodies):
                    bodies.insert(to, bodies[at])
                case "move" if at < len(bodies):
                    bodies.insert(to, bodies.pop(at))
                case "swap" if max(at, to) < len(bodies):
                    bodies[at], bodies[to] = bodies[to], bodies[at]
                case "edit" if at < len(bodies):
                    bodies[at] = renumber(bodies[to % len(bodies)], at)
                case "cut":
                    del bodies[at:]
                case _:
                    pass
        return bodies

    changed = SEALED.with_bodies(numbered_anew(change) if anew else change)
    if leaves:
        changed = changed.with_leaves()
    with TemporaryDirectory() as place:
        report = verify(Bundle(str(changed.write(Path(place)))), question())
    signed = changed.bodies[:SIZE] == SEALED.bodies[:SIZE]
    if not signed:
        assert not report.ok
        first = next(at for at in range(SIZE) if changed.bodies[at : at + 1] != SEALED.bodies[at : at + 1])
        found = report.findings[0]
        assert found.seq is not None
        # Where nobody can tell what became of the events before a cut, the cut is told, and how many are vouched for.
        # Where the leaves were made to agree, only the notes tell: of several changes between two notes, any may be named.
        together = leaves and not any(first < size <= found.seq for size in SEALED.earlier)
        assert found.seq <= first + 1 or together or (found.kind, leaves, anew) == ("truncate", True, True)
        assert found.seq >= first or (found.upto or found.seq) >= first


@settings(max_examples=examples(50), deadline=None)
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_changed_bit_of_a_zip_changes_what_is_accepted(at, bit):
    with TemporaryDirectory() as place:
        home = SEALED.write(Path(place) / "bundle")
        packed = Path(shutil.make_archive(str(home), "zip", home))
        data = bytearray(packed.read_bytes())
        data[int(at * len(data))] ^= 1 << bit
        packed.write_bytes(data)
        if accepted(packed):  # dates and attributes of files in a zip say nothing
            with zipfile.ZipFile(packed) as archive:
                for name in FILES[:4]:  # a note that is lost is only help that is lost
                    assert archive.read(name) == (home / name).read_bytes()


@settings(max_examples=examples(120), deadline=None)
@given(value=st.dictionaries(st.text(max_size=8), JSON, max_size=6))
def test_what_the_gateway_writes_is_canonical_to_the_verifier(value):
    assert read_event(canon(value)) == value


@settings(max_examples=examples(120), deadline=None)
@given(value=st.dictionaries(st.text("ab\ue000\U0001f600\u00e9\ud7ff", max_size=4), JSON, max_size=6), spaces=st.booleans())
def test_names_beyond_the_first_plane_are_sorted_as_the_rfc_wants(value, spaces):
    assert read_event(canon(value)) == value


@settings(max_examples=examples(120), deadline=None)
@given(data=st.data(), value=st.dictionaries(st.text(max_size=4), JSON, min_size=1, max_size=4))
def test_bytes_are_canonical_to_the_verifier_exactly_when_they_are_to_the_gateway(data, value):
    body = bytearray(canon(value))
    at = data.draw(st.integers(0, len(body) - 1))
    body[at : at + data.draw(st.integers(0, 3))] = data.draw(
        st.binary(max_size=3) | st.sampled_from([b" ", b"1.0", b"-0", b"\\u0061", b"1e5"])
    )
    try:
        parsed = ijson.parse(bytes(body), max_depth=1000)
        ours = isinstance(parsed, dict) and canon(parsed) == bytes(body)
    except AegisError:
        ours = False
    try:
        theirs = isinstance(read_event(bytes(body)), dict)
    except ValueError:
        theirs = False
    assert theirs is ours


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"1", b'{"a":1.0}', b'{"a":1e3}', b'{"a":9007199254740992}', b'{"a":NaN}', b'{"a":-0}', b'{"a":1,"a":1}', b'{"b":1,"a":1}',
     b'{"a": 1}', b'{"a":"\\u0061"}', b'{"a":"\\ud800"}', b'{"a":"\xff"}', b"\xef\xbb\xbf{}", b'{"a":"\\/"}', b'{"a":' + b"[" * 100_000 + b"}",
     b'{"a":' + b"9" * 5000 + b"}", b'{"a":true }', b'{"a":1}\r'],
)  # fmt: skip
def test_what_is_not_canonical_is_refused(body):
    with pytest.raises(ValueError, match=r"."):
        read_event(body)


@settings(max_examples=examples(120), deadline=None)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_no_note_and_break_nothing(data):
    try:
        text, lines = split_note(data, "note")
    except BrokenError:
        return
    assert text.endswith("\n")
    assert lines
