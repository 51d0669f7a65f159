"""A key signs for one purpose, one tenant, one owner and one span of time; everywhere else its signature is worth nothing."""

import itertools
from datetime import timedelta

import pytest
from msgspec.structs import replace

from aegis.crypto import jws
from aegis.crypto.jwk import private_key
from aegis.errors import ConfigError, IdentityError
from aegis.identity.access import verify_access
from aegis.identity.keyset import CLASSES, SETTLES, KeySet
from aegis.identity.token import KEY_CLASS, mint, verify_override, verify_person, verify_statement
from identity.forge import AUDIENCE, KEYS, NOW, SECOND, SIGNER, TYPES, USES, entry_of, good, key_of

VERIFY = {
    "at+jwt": lambda token, keys, now: verify_access(token, keys, audience=AUDIENCE, now=now),
    "override+jwt": lambda token, keys, now: verify_override(token, keys, audience=AUDIENCE, now=now),
    "approval+jwt": lambda token, keys, now: verify_statement(token, keys, now=now),
    "person+jwt": lambda token, keys, now: verify_person(token, keys, audience=AUDIENCE, now=now),
}


def outcome(token: str, expected: str, keys: KeySet = KEYS, now: object = NOW) -> str:
    try:
        VERIFY[expected](jws.parse(token), keys, now)
    except IdentityError as error:
        return error.reason
    return "good"


# Each line says what happens to a token of any type that is shown where this type is expected, under a key of this use.
CLASS_OF_USE = {use: key_class for use, (key_class, _, _) in USES.items()}


@pytest.mark.parametrize(("typ", "expected", "use"), list(itertools.product(TYPES, VERIFY, USES)))
def test_a_token_is_good_in_one_cell_of_the_matrix_of_types_doors_and_keys(typ: str, expected: str, use: str) -> None:
    token = mint(TYPES[typ](), key_of(use))
    if typ != expected:
        wanted = "wrong_type"
    elif CLASS_OF_USE[use] != KEY_CLASS[typ]:
        wanted = "wrong_key_class"
    elif USES[use][1] != "acme":
        wanted = "wrong_tenant"
    elif CLASS_OF_USE[use] == "human" and USES[use][2] != "person:alice":
        wanted = "wrong_owner"
    else:
        wanted = "good"
    assert outcome(token, expected) == wanted


def test_every_class_of_key_takes_part_in_the_matrix() -> None:
    assert set(CLASS_OF_USE.values()) == set(CLASSES)


@pytest.mark.parametrize("typ", TYPES)
@pytest.mark.parametrize("use", USES)
def test_naming_the_right_key_does_not_help_a_signature_by_another(typ: str, use: str) -> None:
    right = key_of(SIGNER[typ])
    wrong = key_of(use) if use != SIGNER[typ] else private_key(b"n" * 32)
    body = TYPES[typ]()
    signed = jws.sign(body.typ, body.claims, right).rpartition(".")[0]
    token = f"{signed}.{jws.encode(wrong.sign(signed.encode()))}"
    assert outcome(token, typ) == "bad_signature"


@pytest.mark.parametrize("typ", TYPES)
def test_a_key_is_accepted_from_its_start_to_its_end_and_not_a_moment_longer(typ: str) -> None:
    use = SIGNER[typ]
    token = good(typ)
    moment = timedelta(microseconds=1)
    for change, wanted in (
        ({"not_before": NOW}, "good"),
        ({"not_before": NOW + moment}, "key_not_yet"),
        ({"not_after": NOW + moment}, "good"),
        ({"not_after": NOW}, "key_retired"),
        ({"not_after": NOW - SECOND}, "key_retired"),
    ):
        assert outcome(token, typ, KeySet([entry_of(use, **change)])) == wanted
    assert outcome(token, typ, KeySet([])) == "unknown_kid"


def test_during_an_overlap_both_keys_are_good_and_afterwards_the_new_one() -> None:
    keys = KeySet([entry_of("sts", not_after=NOW + SECOND), entry_of("override", key_class="sts", not_before=NOW)])
    old, new = mint(TYPES["at+jwt"](), key_of("sts")), mint(TYPES["at+jwt"](), key_of("override"))
    assert [outcome(token, "at+jwt", keys) for token in (old, new)] == ["good", "good"]
    assert [outcome(token, "at+jwt", keys, NOW + SECOND) for token in (old, new)] == ["key_retired", "good"]


def test_one_key_for_two_purposes_is_no_key_set() -> None:
    for change in ({"key_class": "override"}, {"tenant": "globex"}, {}):
        with pytest.raises(ConfigError, match="twice"):
            KeySet([entry_of("sts"), entry_of("sts", **change)])


def test_a_class_that_nobody_knows_is_no_key_set() -> None:
    with pytest.raises(ConfigError, match="unknown class"):
        KeySet([entry_of("sts", key_class="root")])


def test_a_key_set_tells_which_tenants_have_a_class() -> None:
    assert KEYS.has("sts", "globex")
    assert not KEYS.has("log", "globex")
    assert [entry.key_class for entry in KEYS.entries()] == sorted(entry.key_class for entry in KEYS.entries())
    assert len(KEYS.entries()) == len(USES)


PRIME = 2**255 - 19
SMALL_ORDER = [jws.encode(y.to_bytes(32, "little")) for y in (1, PRIME - 1, 0, PRIME, PRIME + 1)]


@pytest.mark.parametrize("x", SMALL_ORDER)
def test_a_public_key_of_small_order_vouches_for_nothing(x: str) -> None:
    # Under such a key one signature can hold for every message: R is the identity and S is zero.
    from aegis.crypto.jwk import public_key

    forged = bytes([1]) + bytes(63)
    assert not any(public_key(x).verify(message, forged) for message in (b"", b"a", b"b", b"c" * 100))


@pytest.mark.parametrize("age", [0.0, 0.5, 1.0, 1.9, 2.0, 2.5, 10.0])
def test_two_rotations_in_a_row_never_sign_with_a_key_that_others_may_not_know_before_one_that_they_do(age):
    made = [replace(entry_of("sts"), key=key_of(name).public) for name in ("first", "second", "third")]
    start = NOW.replace(microsecond=0)
    entries = [
        replace(made[0], not_before=start, not_after=start + timedelta(minutes=10)),
        replace(made[1], not_before=start, not_after=start + timedelta(minutes=20)),
        replace(made[2], not_before=start + timedelta(seconds=1)),
    ]
    now = start + timedelta(seconds=1 + age)
    best = KeySet(entries).signing("sts", "acme", now)[0]
    known = [entry for entry in entries if entry.not_before + SETTLES <= now]
    assert best in (known or [entry for entry in entries if entry.not_before == start])
