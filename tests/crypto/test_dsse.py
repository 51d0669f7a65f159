"""DSSE envelopes: one text for one content, under one key, of one type."""

import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.crypto import dsse
from aegis.crypto.jwk import decode as jwk_decode
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


# Several signatures

A, B = (
    private_key(bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")),  # RFC 8032, section 7.1, TEST 1
    private_key(bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")),  # and TEST 2
)
IN_TOTO = "application/vnd.in-toto+json"
BODY = b'{"_type":"https://in-toto.io/Statement/v1"}'
# Published with the protocol (secure-systems-lab/dsse, testvectors) for these keys and this body.
BY_A = "2WAfaHm5jluo0w+0rk8uVkluELJYWjSmU9x7EUzx+AyteDGJ4/nqyJXfmAUVFIAoQafWm7AxBZNw5M9ixNHiCA=="
BY_B = "c1+67/aT0yqEpwx8PsVY3MLHsj9D0CZ014/Fv/QlG59P+9CobUZ7xECJ/V3USG0Ob9CiE5LjReEZUzNF2l7eBw=="


def envelope_of(*signatures, kind=IN_TOTO, body=BODY, encode=base64.b64encode):
    return json.dumps({"payload": encode(body).decode(), "payloadType": kind, "signatures": list(signatures)}).encode()


def by(key, kind=IN_TOTO, body=BODY, **changed):
    return {"keyid": key.kid, "sig": base64.b64encode(key.sign(dsse.pae(kind, body))).decode()} | changed


def too_few(envelope, keys, threshold, owners=None, kind=IN_TOTO):
    with pytest.raises(IdentityError) as caught:
        dsse.verify_threshold(envelope, kind, [key.public for key in keys], threshold, owners)
    return caught.value.reason


def test_signatures_are_those_that_the_protocol_publishes():
    assert by(A)["sig"] == BY_A
    assert by(B)["sig"] == BY_B


@pytest.mark.parametrize(
    ("signatures", "threshold", "holds"),
    [
        ([by(A)], 1, True),
        ([by(A)], 2, False),
        ([by(A), by(B)], 2, True),
        ([by(A), by(A)], 2, False),
        ([by(A), by(A, keyid=B.kid)], 2, False),
        ([by(A, keyid=B.kid), by(B, keyid=A.kid)], 1, False),
        ([{"sig": BY_A}, {"sig": BY_B}], 2, True),
        ([by(A), by(OTHER)], 2, False),
        ([by(OTHER)], 1, False),
        ([by(A), by(B, sig=BY_A)], 2, False),
        ([by(A), by(B, kind="application/vnd.other+json")], 2, False),
        ([by(A), by(B, body=BODY + b" ")], 2, False),
    ],
    ids=[
        "one of one",
        "one of two",
        "two of two",
        "the same key twice",
        "the same signature under another key id",
        "key ids exchanged",
        "no key ids",
        "one trusted, one not",
        "nobody trusted",
        "a copied signature",
        "the second is over another type",
        "the second is over another body",
    ],
)
def test_a_threshold_counts_distinct_trusted_keys(signatures, threshold, holds):
    envelope = envelope_of(*signatures)
    if holds:
        assert dsse.verify_threshold(envelope, IN_TOTO, [A.public, B.public], threshold) == json.loads(BODY)
    else:
        assert too_few(envelope, (A, B), threshold) == "too_few_signatures"


def test_two_keys_of_one_owner_are_one():
    envelope = envelope_of(by(A), by(B))
    assert too_few(envelope, (A, B), 2, {A.kid: "person:alice", B.kid: "person:alice"}) == "too_few_signatures"
    owners = {A.kid: "person:alice", B.kid: "person:bob"}
    assert dsse.verify_threshold(envelope, IN_TOTO, [A.public, B.public], 2, owners)


def test_nobody_is_no_threshold():
    assert too_few(envelope_of(by(A)), (A,), 0) == "too_few_signatures"
    assert too_few(envelope_of(by(A)), (), 1) == "too_few_signatures"


def test_either_alphabet_of_base64_is_read_where_several_sign():
    body = json.dumps({"a": "??>~~"}).encode()
    envelope = envelope_of(by(A, body=body), body=body, encode=base64.urlsafe_b64encode)
    assert dsse.verify_threshold(envelope, IN_TOTO, [A.public], 1) == json.loads(body)
    mixed = json.loads(envelope) | {"payload": "-/8="}
    assert too_few(json.dumps(mixed).encode(), (A,), 1) == "malformed"


def test_another_type_is_refused_where_several_sign():
    assert too_few(envelope_of(by(A)), (A,), 1, kind="application/vnd.other+json") == "wrong_type"
    moved = envelope_of(by(A), kind="application/vnd.other+json")
    assert too_few(moved, (A,), 1, kind="application/vnd.other+json") == "too_few_signatures"


@pytest.mark.parametrize(
    "signatures", [[], [1], [{"keyid": "x"}], [by(A, sig=1)], [by(A, keyid=None)], [by(A)] * 17, [by(A, sig="*")]]
)
def test_another_shape_is_refused_where_several_sign(signatures):
    assert too_few(envelope_of(*signatures), (A,), 1) == "malformed"


def test_signatures_can_be_added_and_the_first_one_stays():
    one = dsse.sign(IN_TOTO, json.loads(BODY), A)
    two = dsse.add(one, IN_TOTO, B)
    assert dsse.signed(two, IN_TOTO, [A.public, B.public]).kids == tuple(sorted((A.kid, B.kid)))
    assert dsse.add(two, IN_TOTO, A).count(A.kid.encode()) == 1
    with pytest.raises(IdentityError, match="exactly one signature"):
        dsse.verify(two, IN_TOTO, A.public)
    with pytest.raises(IdentityError):
        dsse.add(envelope_of(*({"sig": BY_A} for _ in range(16))), IN_TOTO, B)


TWO = envelope_of(by(A), by(B))


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(TWO) - 1), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_means_the_same_where_several_sign(at, other):
    envelope = TWO[:at] + bytes([TWO[at] ^ other]) + TWO[at + 1 :]
    try:
        assert dsse.verify_threshold(envelope, IN_TOTO, [A.public, B.public], 2) == json.loads(BODY)
    except IdentityError:
        return


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from((0, 1, 2, 3)), st.sampled_from((0, 1, 2, 3))), min_size=1, max_size=8),
    st.sets(st.sampled_from((0, 1, 2, 3)), min_size=1),
    st.integers(1, 4),
)
def test_the_count_is_that_of_distinct_owners_whatever_is_repeated_or_claimed(signatures, trusted, threshold):
    """`(who signs, whose key id it claims)`: only who really signed counts, and only if nobody says otherwise."""
    keys = [A, B, KEY, OTHER]
    owners = {key.kid: str(index // 2) for index, key in enumerate(keys)}
    envelope = envelope_of(*(by(keys[who], keyid=keys[claimed].kid) for who, claimed in signatures))
    honest = {who for who, claimed in signatures if who in trusted and (claimed == who or claimed not in trusted)}
    wanted = len({owners[keys[who].kid] for who in honest}) >= threshold
    if wanted:
        dsse.verify_threshold(envelope, IN_TOTO, [keys[index].public for index in trusted], threshold, owners)
    else:
        assert too_few(envelope, [keys[index] for index in trusted], threshold, owners) == "too_few_signatures"


def test_another_implementation_reads_ours_and_we_read_its():
    ssl = pytest.importorskip("securesystemslib.dsse")
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from securesystemslib.exceptions import VerificationError
    from securesystemslib.signer import CryptoSigner, SSlibKey

    def theirs(key):
        public = {"public": jwk_decode(key.public.x).hex()}
        return SSlibKey(key.kid, "ed25519", "ed25519", public)

    both = [theirs(A), theirs(B)]
    ours = ssl.Envelope.from_dict(json.loads(dsse.add(dsse.sign(IN_TOTO, json.loads(BODY), A), IN_TOTO, B)))
    assert set(ours.verify(both, 2)) == {A.kid, B.kid}
    with pytest.raises(VerificationError):
        ssl.Envelope.from_dict(json.loads(dsse.sign(IN_TOTO, json.loads(BODY), A))).verify(both, 2)
    made = ssl.Envelope(BODY, IN_TOTO, {})
    for key in (A, B):
        made.sign(CryptoSigner(Ed25519PrivateKey.from_private_bytes(key.seed), theirs(key)))
    text = json.dumps(made.to_dict()).encode()
    assert dsse.verify_threshold(text, IN_TOTO, [A.public, B.public], 2) == json.loads(BODY)
