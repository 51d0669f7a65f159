"""Sealed payloads open with their own key, in their own place, unchanged; nowhere else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.crypto.digest import keyed, sha256, sha256_raw
from aegis.crypto.seal import KEY_BYTES, NONCE_BYTES, seal, unseal
from aegis.errors import SealError

KEYS = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)
NONCES = st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES)
KEY, NONCE, CONTEXT = bytes(range(32)), bytes(12), b"acme|evt_1"


@given(KEYS, NONCES, st.binary(max_size=200), st.binary(max_size=40))
@settings(deadline=None)
def test_what_was_sealed_opens(key: bytes, nonce: bytes, plaintext: bytes, context: bytes) -> None:
    sealed = seal(key, nonce, plaintext, context)
    assert unseal(key, nonce, sealed, context) == plaintext
    assert len(sealed) == len(plaintext) + 16


@given(st.binary(min_size=1, max_size=60), st.data())
@settings(max_examples=200, deadline=None)
def test_one_flipped_bit_anywhere_is_refused(plaintext: bytes, data: st.DataObject) -> None:
    sealed = seal(KEY, NONCE, plaintext, CONTEXT)
    parts = {"key": KEY, "nonce": NONCE, "ciphertext": sealed, "context": CONTEXT}
    which = data.draw(st.sampled_from(sorted(parts)))
    bit = data.draw(st.integers(0, len(parts[which]) * 8 - 1))
    changed = bytearray(parts[which])
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SealError):
        unseal(**parts | {which: bytes(changed)})


@pytest.mark.parametrize(
    "change",
    [
        {"key": bytes(32)},
        {"key": b""},
        {"key": KEY[:16]},
        {"key": KEY + b"\0"},
        {"nonce": b""},
        {"nonce": NONCE + b"\0"},
        {"nonce": bytes(200)},
        {"context": b""},
        {"context": b"acme|evt_2"},
        {"context": CONTEXT + b"\0"},
        {"ciphertext": b""},
        {"ciphertext": bytes(15)},
        {"ciphertext": bytes(16)},
    ],
    ids=repr,
)
def test_another_key_place_or_text_is_refused_with_one_message(change: dict[str, bytes]) -> None:
    parts = {"key": KEY, "nonce": NONCE, "ciphertext": seal(KEY, NONCE, b"4111111111111111", CONTEXT), "context": CONTEXT}
    with pytest.raises(SealError, match="do not open with this key in this place"):
        unseal(**parts | change)


@pytest.mark.parametrize(("key", "nonce"), [(b"", NONCE), (KEY[:16], NONCE), (KEY, b""), (KEY, bytes(16)), (KEY + b"\0", NONCE)])
def test_sealing_wants_a_key_and_a_nonce_of_one_size(key: bytes, nonce: bytes) -> None:
    with pytest.raises(SealError, match="expected a key of 32 and a nonce of 12 bytes"):
        seal(key, nonce, b"x", b"")


def test_digests_match_the_published_ones() -> None:
    # FIPS 180-4, example for "abc"; RFC 4231, test case 2
    assert sha256(b"a", b"", b"bc") == "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_raw(b"abc").hex() == sha256(b"abc").removeprefix("sha256:")
    tag = keyed(b"Jefe", b"what do ya want for nothing?")
    assert tag == "hmac:5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
