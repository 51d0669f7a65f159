"""DSSE envelopes: one text for one content, under one key, of one type."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.crypto import dsse
from aegis.crypto.jwk import private_key
from aegis.errors import CanonicalError, IdentityError

KEY, OTHER = private_key(b"\x01" * 32), private_key(b"\x02" * 32)
TYPE = "application/vnd.test+json"
CONTENT = {"tenant": "acme", "number": 1}
GOOD = dsse.sign(TYPE, CONTENT, KEY)


def refused(envelope, kind=TYPE, key=KEY):
    with pytest.raises(IdentityError) as caught:
        dsse.verify(envelope, kind, key.public)
    return caught.value.reason


def changed(**members):
    return json.dumps(json.loads(GOOD) | members).encode()


def test_the_example_of_the_protocol_is_encoded_as_it_says():
    assert dsse.pae("http://example.com/HelloWorld", b"hello world") == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_what_was_signed_comes_back():
    assert dsse.verify(GOOD, TYPE, KEY.public) == CONTENT
    assert dsse.key_id(GOOD) == KEY.kid


def test_another_type_or_key_is_refused():
    assert refused(GOOD, kind="application/vnd.other+json") == "wrong_type"
    assert refused(GOOD, key=OTHER) == "unknown_kid"
    assert refused(changed(payloadType="application/vnd.other+json"), kind="application/vnd.other+json") == "bad_signature"
    signature = json.loads(GOOD)["signatures"][0]
    assert refused(changed(signatures=[signature | {"keyid": OTHER.kid}]), key=OTHER) == "bad_signature"


def test_the_content_is_what_was_signed():
    other = json.loads(dsse.sign(TYPE, {"tenant": "globex"}, KEY))["payload"]
    assert refused(changed(payload=other)) == "bad_signature"


@pytest.mark.parametrize(
    "members",
    [
        {"signatures": []},
        {"signatures": json.loads(GOOD)["signatures"] * 2},
        {"signatures": {}},
        {"signatures": ["x"]},
        {"signatures": [{"keyid": KEY.kid}]},
        {"signatures": [{"keyid": 1, "sig": ""}]},
        {"payload": 1},
        {"payloadType": None},
        {"more": 1},
        {"payload": json.loads(GOOD)["payload"] + "\n"},
        {"payload": "*"},
        {"payload": "é"},
        {"payload": json.loads(GOOD)["payload"].rstrip("=") + "A" * 3},
    ],
)
def test_another_shape_is_refused(members):
    assert refused(changed(**members)) in ("malformed", "bad_signature")


@pytest.mark.parametrize("envelope", [b"", b"[]", b"{", b"\xff", b'{"a":1,"a":2}', b" " * (dsse.MAX_ENVELOPE + 1)])
def test_what_is_no_envelope_is_refused(envelope):
    assert refused(envelope) == "malformed"
    with pytest.raises(IdentityError):
        dsse.key_id(envelope)


def test_a_signed_text_that_is_no_object_is_refused():
    import base64

    payload = b"[1]"
    signature = {"keyid": KEY.kid, "sig": base64.b64encode(KEY.sign(dsse.pae(TYPE, payload))).decode()}
    assert refused(changed(payload=base64.b64encode(payload).decode(), signatures=[signature])) == "malformed"


def test_base64_has_one_text():
    """Trailing bits that are not zero would make a second text for the same bytes."""
    envelope = json.loads(dsse.sign(TYPE, {"a": 1}, KEY))
    text = envelope["payload"]
    assert text.endswith("=")
    last = text.rstrip("=")[-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    envelope["payload"] = text.rstrip("=")[:-1] + alphabet[alphabet.index(last) + 1] + "=" * text.count("=")
    assert refused(json.dumps(envelope).encode()) == "malformed"


def test_content_without_a_canonical_form_is_not_signed():
    with pytest.raises(CanonicalError):
        dsse.sign(TYPE, {"a": 0.5}, KEY)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_means_the_same(at, by):
    envelope = GOOD[:at] + bytes([GOOD[at] ^ by]) + GOOD[at + 1 :]
    try:
        assert dsse.verify(envelope, TYPE, KEY.public) == CONTENT
    except IdentityError:
        return
