"""Signed notes and checkpoints: the published vectors, what is refused, and what every note keeps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.crypto import note
from aegis.crypto.jwk import private_key
from aegis.crypto.merkle import MAX_SIZE
from aegis.crypto.note import COSIGNATURE, Note, Verifier
from aegis.errors import NoteError
from aegis.journal import checkpoint
from aegis.journal.checkpoint import Checkpoint

# golang.org/x/mod/sumdb/note, note_test.go.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SEED = note.decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
LINE = "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
SIGNED = f"{TEXT}\n{LINE}".encode()

# C2SP tlog-cosignature, the example.
COSIGNED = """\
example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

\u2014 example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
\u2014 witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
"""

KEY, OTHER = private_key(b"\x01" * 32), private_key(b"\x02" * 32)
names = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="+"), min_size=1, max_size=20)
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n"), max_size=80).map(lambda text: text + "\n")
sizes = st.integers(0, MAX_SIZE)
roots = st.binary(min_size=32, max_size=32)


def reason(data: bytes, *keys: Verifier) -> str:
    with pytest.raises(NoteError) as caught:
        note.verified(note.parse(data), keys)
    return caught.value.reason


def test_the_published_note_verifies_and_is_what_we_would_have_written() -> None:
    key = note.parse_vkey(PETER)
    assert [signer.verifier for signer in note.verified(note.parse(SIGNED), [key])] == [key]
    assert note.Note(TEXT, (note.sign(TEXT, "PeterNeumann", private_key(PETER_SEED)),)).data == SIGNED
    assert note.vkey("PeterNeumann", private_key(PETER_SEED).public) == PETER


def test_the_published_cosignature_is_read_with_its_time() -> None:
    found = note.parse(COSIGNED.encode())
    assert found.data == COSIGNED.encode()
    assert checkpoint.parse(found.text).size == 20852163
    assert int.from_bytes(found.signatures[1].value[:8]) == 1679315147


@pytest.mark.parametrize("at", range(len(PETER)))
def test_a_key_text_with_one_character_changed_is_refused(at: int) -> None:
    with pytest.raises(NoteError):
        note.parse_vkey(PETER[:at] + chr(ord(PETER[at]) + 1) + PETER[at + 1 :])


def test_no_part_of_a_key_text_is_a_key_text() -> None:
    for start in range(len(PETER)):
        for end in range(start, len(PETER)):
            with pytest.raises(NoteError):
                note.parse_vkey(PETER[start:end])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\n\n",
        TEXT.encode(),
        SIGNED[:-1],
        SIGNED + b"\n",
        SIGNED + b" ",
        SIGNED.replace(b"\n\n", b"\n"),
        SIGNED.replace(b"\n", b"\r\n"),
        SIGNED.replace(b"answer", b"ans\x00er"),
        SIGNED.replace(b"answer", b"ans\ter"),
        SIGNED.replace(b"answer", b"ans\xffer"),
        SIGNED.replace("\u2014".encode(), b"-"),
        SIGNED.replace(b" PeterNeumann ", b" PeterNeumann  "),
        SIGNED.replace(b" PeterNeumann ", b" Peter+Neumann "),
        SIGNED.replace(b" PeterNeumann ", "Peter\u00a0Neumann ".encode()),
        SIGNED.replace(b" PeterNeumann ", b"  "),
        SIGNED.replace(b"nAM=", b"nAM"),
        SIGNED.replace(b"nAM=", b"nAN="),
        SIGNED.replace(b"nAM=", b"nA_="),
        f"{TEXT}\n\u2014 PeterNeumann x08gow==\n".encode(),
        f"{TEXT}\n\u2014 PeterNeumann \n".encode(),
        f"{TEXT}\n\u2014 PeterNeumann\n".encode(),
        f"{TEXT}\n{LINE * 65}".encode(),
        b"x" * (note.MAX_NOTE + 1),
    ],
)  # fmt: skip
def test_what_has_not_the_form_of_a_note_is_malformed(data: bytes) -> None:
    assert reason(data, note.parse_vkey(PETER)) == "malformed"


def test_a_changed_text_is_a_bad_signature() -> None:
    assert reason(SIGNED.replace(b"answer", b"anther"), note.parse_vkey(PETER)) == "signature"


def test_a_note_that_nobody_we_trust_has_signed_is_refused() -> None:
    assert reason(SIGNED) == "signature"
    assert reason(SIGNED, Verifier("PeterNeumann", KEY.public), Verifier("Other", note.parse_vkey(PETER).key)) == "signature"


def test_lines_of_unknown_keys_are_ignored_and_a_bad_line_of_a_known_key_refuses_the_note() -> None:
    stranger, friend = note.sign(TEXT, "stranger", OTHER), note.sign(TEXT, "friend", KEY)
    broken = note.Signature(friend.name, friend.id, bytes(64))
    trusted = [Verifier("friend", KEY.public)]
    assert len(note.verified(Note(TEXT, (stranger, friend)), trusted)) == 1
    assert reason(Note(TEXT, (friend, broken)).data, *trusted) == "signature"
    assert reason(Note(TEXT, (friend, note.Signature(friend.name, friend.id, b"x"))).data, *trusted) == "signature"


def test_a_line_of_a_log_is_no_cosignature_and_a_cosignature_no_line_of_a_log() -> None:
    plain, timed = note.sign(TEXT, "w", KEY), note.cosign(TEXT, "w", KEY, 1_700_000_000)
    signer, witness = Verifier("w", KEY.public), Verifier("w", KEY.public, COSIGNATURE)
    assert note.verified(Note(TEXT, (plain, timed)), [signer])[0].time is None
    assert note.verified(Note(TEXT, (plain, timed)), [witness])[0].time == 1_700_000_000
    assert reason(Note(TEXT, (note.Signature("w", witness.id, bytes(8) + plain.value),)).data, witness) == "signature"
    assert reason(Note(TEXT, (note.Signature("w", signer.id, timed.value[8:]),)).data, signer) == "signature"


def test_a_witness_counts_once_with_its_latest_time() -> None:
    lines = tuple(note.cosign(TEXT, "w", KEY, time) for time in (5, 9, 7))
    (signer,) = note.verified(Note(TEXT, lines), [Verifier("w", KEY.public, COSIGNATURE)])
    assert signer.time == 9


def test_the_time_of_a_cosignature_cannot_be_moved() -> None:
    line = note.cosign(TEXT, "w", KEY, 1_700_000_000)
    moved = note.Signature("w", line.id, (1_800_000_000).to_bytes(8) + line.value[8:])
    assert reason(Note(TEXT, (moved,)).data, Verifier("w", KEY.public, COSIGNATURE)) == "signature"
    beyond = note.Signature("w", line.id, b"\xff" * 8 + line.value[8:])
    assert reason(Note(TEXT, (beyond,)).data, Verifier("w", KEY.public, COSIGNATURE)) == "signature"


@pytest.mark.parametrize("text", ["no newline", "", "nul\x00\n", "tab\t\n", "\ud800\n"])
def test_a_text_that_cannot_stand_in_a_note_is_not_signed(text: str) -> None:
    with pytest.raises(NoteError):
        note.sign(text, "w", KEY)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u2003b", "a\nb"])
def test_a_name_that_cannot_stand_in_a_note_signs_nothing(name: str) -> None:
    with pytest.raises(NoteError):
        note.sign(TEXT, name, KEY)
    with pytest.raises(NoteError):
        note.cosign(TEXT, "w", KEY, -1)


@given(texts, names, st.integers(0, note.MAX_TIME))
def test_every_note_is_read_as_it_was_written_and_verifies(text: str, name: str, time: int) -> None:
    made = Note(text, (note.sign(text, name, KEY), note.cosign(text, name, OTHER, time)))
    keys = [Verifier(name, KEY.public), Verifier(name, OTHER.public, COSIGNATURE)]
    assert note.parse(made.data) == made
    assert [(signer.verifier, signer.time) for signer in note.verified(made, keys)] == [(keys[0], None), (keys[1], time)]
    assert [note.parse_vkey(key.vkey) for key in keys] == keys


@given(st.binary(max_size=200))
def test_bytes_are_a_note_in_one_form_or_none(data: bytes) -> None:
    for candidate in (data, SIGNED + data, data + SIGNED):
        try:
            found = note.parse(candidate)
        except NoteError:
            continue
        assert found.data == candidate


origins = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30)


@given(origins, sizes, roots, st.lists(origins, max_size=2))
def test_every_checkpoint_is_read_as_it_was_written(origin: str, size: int, root: bytes, more: list[str]) -> None:
    made = Checkpoint(origin, size, root, tuple(more))
    assert checkpoint.parse(made.text) == made


ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "o\n1\n",
        f"o\n1\n{ROOT}",
        f"\n1\n{ROOT}\n",
        f"o\n01\n{ROOT}\n",
        f"o\n+1\n{ROOT}\n",
        f"o\n-1\n{ROOT}\n",
        f"o\n1 \n{ROOT}\n",
        f"o\n\u0661\n{ROOT}\n",
        f"o\n{2**53}\n{ROOT}\n",
        f"o\n{'9' * 5000}\n{ROOT}\n",
        f"o\n1\n{ROOT[:-1]}\n",
        f"o\n1\n{ROOT.replace('2I=', '2J=')}\n",
        f"o\n1\n{ROOT}{ROOT}\n",
        "o\n1\nAAAA\n",
        f"o\n1\n{ROOT}\n\n",
        f"o\n1\n{ROOT}\n\nmore\n",
    ],
)
def test_what_has_not_the_form_of_a_checkpoint_is_malformed(text: str) -> None:
    with pytest.raises(NoteError) as caught:
        checkpoint.parse(text)
    assert caught.value.reason == "malformed"
