"""Releases and activations: what is read is what a publisher of the tenant has signed."""

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from aegis.crypto import dsse
from aegis.crypto.jwk import private_key
from aegis.errors import BundleError, IdentityError
from aegis.policy.bundle import statement
from aegis.policy.bundle.statement import Activation, Pin, Release, read_activation, read_release, sign

KEY = private_key(b"\x01" * 32)
NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
RELEASE = Release(
    tenant="acme", number=3, sha256="sha256:aa", name="core", revision="sha256:bb", policy="sha256:cc",
    author="person:olga", message="Grüße\n\u2028", time=NOW,
)  # fmt: skip
ACTIVATION = Activation(
    tenant="acme", counter=7, mode="shadow", enforced=Pin(number=2, sha256="sha256:dd"), shadow=Pin(number=3, sha256="sha256:aa"),
    by="person:olga", reason="try", time=NOW,
)  # fmt: skip


def key_of(kid):
    if kid != KEY.kid:
        raise IdentityError("unknown_kid")
    return KEY.public


def test_what_was_signed_is_read():
    assert read_release(sign(RELEASE, KEY), key_of) == RELEASE
    assert read_activation(sign(ACTIVATION, KEY), key_of) == ACTIVATION
    assert ACTIVATION.chosen.number == 3
    assert replace(ACTIVATION, mode="enforce").chosen.number == 2


def test_one_kind_never_passes_for_the_other():
    with pytest.raises(BundleError, match="wrong_type"):
        read_activation(sign(RELEASE, KEY), key_of)
    with pytest.raises(BundleError, match="wrong_type"):
        read_release(sign(ACTIVATION, KEY), key_of)


@pytest.mark.parametrize("envelope", ["", "é", "{}", sign(RELEASE, private_key(b"\x09" * 32))])
def test_what_nobody_trusted_signed_is_refused(envelope):
    with pytest.raises(BundleError):
        read_release(envelope, key_of)


@pytest.mark.parametrize("change", [{"counter": "7"}, {"more": 1}, {"mode": "off"}, {"time": "yesterday"}, {"enforced": {}}])
def test_signed_nonsense_is_refused(change):
    content = statement._plain(ACTIVATION) | change
    with pytest.raises(BundleError):
        read_activation(dsse.sign(statement.ACTIVATION, content, KEY).decode(), key_of)


@pytest.mark.parametrize(
    "made",
    [
        replace(ACTIVATION, counter=0),
        replace(ACTIVATION, shadow=None),
        replace(ACTIVATION, mode="enforce", enforced=None),
        replace(ACTIVATION, enforced=Pin(number=0, sha256="")),
    ],
)
def test_an_activation_names_what_it_promotes_and_counts_from_one(made):
    with pytest.raises(BundleError):
        read_activation(sign(made, KEY), key_of)
