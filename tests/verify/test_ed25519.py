"""The signatures of the one file agree with libsodium, and with the edge cases that tell strict verifiers from lax ones."""

import secrets

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from aegis_verify import _BASE, _ORDER, _P, _add, _decode_point, _times_both, ed25519

KEY = SigningKey(bytes(range(32)))
PUBLIC, MESSAGE = bytes(KEY.verify_key), b"aegis.acme/audit/1\n1\n"
SIGNATURE = KEY.sign(MESSAGE).signature
SMALL = [
    bytes(32),
    (1).to_bytes(32, "little"),
    (_P - 1).to_bytes(32, "little"),
    (_P).to_bytes(32, "little"),
    (_P + 1).to_bytes(32, "little"),
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    bytes.fromhex("0100000000000000000000000000000000000000000000000000000000000080"),
]


def sodium(public, message, signature):
    try:
        VerifyKey(public).verify(message, signature)
    except (BadSignatureError, ValueError):
        return False
    return True


# RFC 8032, section 7.1, tests 1 to 3.
RFC = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize(("public", "message", "signature"), RFC)
def test_the_vectors_of_the_rfc_hold(public, message, signature):
    assert ed25519(bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature))


@settings(max_examples=60, deadline=None)
@given(seed=st.binary(min_size=32, max_size=32), message=st.binary(max_size=300))
def test_what_libsodium_signs_is_good(seed, message):
    key = SigningKey(seed)
    assert ed25519(bytes(key.verify_key), message, key.sign(message).signature)


@settings(max_examples=150, deadline=None)
@given(where=st.sampled_from(["public", "message", "signature"]), bit=st.integers(0, 511))
def test_no_changed_bit_is_accepted(where, bit):
    parts = {"public": PUBLIC, "message": MESSAGE, "signature": SIGNATURE}
    data = bytearray(parts[where])
    data[bit // 8 % len(data)] ^= 1 << bit % 8
    parts[where] = bytes(data)
    assert not ed25519(public=parts["public"], message=parts["message"], signature=parts["signature"])
    assert not sodium(parts["public"], parts["message"], parts["signature"])


@pytest.mark.parametrize("length", [0, 31, 33, 63, 65, 128])
def test_wrong_lengths_are_refused(length):
    assert not ed25519(PUBLIC, MESSAGE, SIGNATURE[:length] if length < 64 else SIGNATURE + bytes(length - 64))
    assert not ed25519((PUBLIC + bytes(100))[:length], MESSAGE, SIGNATURE)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_s_beyond_the_order_is_refused(times):
    s = int.from_bytes(SIGNATURE[32:], "little") + times * _ORDER
    if s < 2**256:
        malleable = SIGNATURE[:32] + s.to_bytes(32, "little")
        assert not ed25519(PUBLIC, MESSAGE, malleable)
        assert not sodium(PUBLIC, MESSAGE, malleable)


@pytest.mark.parametrize("point", SMALL)
def test_keys_and_commitments_of_small_order_sign_nothing(point):
    for signature in (point + bytes(32), SIGNATURE[:32] + bytes(32), point + SIGNATURE[32:]):
        assert not ed25519(point, MESSAGE, signature)
        assert not sodium(point, MESSAGE, signature)
        assert not ed25519(PUBLIC, MESSAGE, point + signature[32:])


def test_points_that_are_not_written_canonically_are_none():
    for y in range(_P, 2**255, 3):
        assert _decode_point(y.to_bytes(32, "little")) is None
    # x = 0 with a sign
    assert _decode_point((1 | 1 << 255).to_bytes(32, "little")) is None
    assert _decode_point((_P - 1 | 1 << 255).to_bytes(32, "little")) is None


def test_a_signature_with_a_part_of_small_order_is_refused():
    """The equation without cofactor: what only the equation with cofactor accepts is not accepted here."""
    torsion = _decode_point(SMALL[5])
    commitment = _decode_point(SIGNATURE[:32])
    assert torsion is not None
    assert commitment is not None
    x, y, z, _ = _add(commitment, torsion)
    inverse = pow(z, _P - 2, _P)
    x, y = x * inverse % _P, y * inverse % _P
    mixed = (y | (x & 1) << 255).to_bytes(32, "little")
    assert not ed25519(PUBLIC, MESSAGE, mixed + SIGNATURE[32:])


def test_the_base_point_has_the_order_of_the_group():
    x, _, z, _ = _times_both(_ORDER, _BASE, 0, _BASE)
    assert x == 0
    assert z


@pytest.mark.parametrize("seed", range(10))
def test_random_bytes_are_no_signature(seed):
    assert not ed25519(PUBLIC, MESSAGE, secrets.token_bytes(64))
    assert not ed25519(secrets.token_bytes(32), MESSAGE, SIGNATURE)
