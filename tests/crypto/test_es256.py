"""ES256 keys and signatures, checked against other readers and against what they must refuse."""

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.crypto import es256
from aegis.crypto.jwk import decode, encode
from aegis.errors import IdentityError

KEY = es256.private_key(b"\x07" * 32)
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

# RFC 7515, appendix A.3: the key, the signing input and the signature of an ES256 example.
RFC_X, RFC_Y = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
RFC_D = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"
RFC_INPUT = b"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
RFC_SIGNATURE = "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"


def test_the_example_of_the_rfc_verifies():
    key = es256.public_key(RFC_X, RFC_Y)
    assert key.verify(RFC_INPUT, decode(RFC_SIGNATURE))
    assert es256.private_key(decode(RFC_D)).public == key
    assert not key.verify(RFC_INPUT + b"x", decode(RFC_SIGNATURE))


def test_a_signature_is_the_same_each_time():
    assert KEY.sign(b"message") == KEY.sign(b"message")
    assert len(KEY.sign(b"message")) == 64


def test_the_kid_is_what_another_library_computes():
    from joserfc.jwk import ECKey

    theirs = ECKey.import_key({"kty": "EC", "crv": "P-256", "x": KEY.public.x, "y": KEY.public.y})
    assert theirs.thumbprint() == KEY.kid == KEY.public.kid


def test_the_pem_is_the_public_half():
    found = serialization.load_pem_public_key(KEY.public.pem.encode()).public_numbers()
    assert encode(found.x.to_bytes(32)) == KEY.public.x


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=100), st.integers(0, 511), st.binary(max_size=70))
def test_a_changed_signature_or_message_does_not_verify(message, bit, junk):
    signature = bytearray(KEY.sign(message))
    signature[bit // 8] ^= 1 << bit % 8
    assert not KEY.public.verify(message, bytes(signature))
    assert not KEY.public.verify(message, junk)
    assert not KEY.public.verify(message + b"x", KEY.sign(message))


@pytest.mark.parametrize("scalar", [b"", b"\x01" * 31, b"\x01" * 33, bytes(32), b"\xff" * 32, ORDER.to_bytes(32)])
def test_what_is_no_scalar_makes_no_key(scalar):
    with pytest.raises(IdentityError):
        es256.private_key(scalar)


@pytest.mark.parametrize(
    ("x", "y"),
    [(RFC_X, RFC_X), ("", ""), (RFC_X, RFC_Y[:-2]), (RFC_X + "=", RFC_Y), (encode(bytes(32)), encode(bytes(32))), ("*", RFC_Y)],
)
def test_what_is_no_point_makes_no_key(x, y):
    with pytest.raises(IdentityError):
        es256.public_key(x, y)


def test_a_key_that_was_put_together_by_hand_verifies_nothing():
    assert not es256.PublicKey(kid="k", x=RFC_X, y=RFC_X).verify(b"", bytes(64))


def test_a_private_key_never_shows_its_scalar():
    assert repr(KEY) == f"PrivateKey(kid={KEY.kid!r})"
    assert KEY.__rich_repr__() == [("kid", KEY.kid)]
