"""The verifier's memory: it makes good tokens cheap and changes no answer."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.crypto.jwk import encode
from aegis.errors import IdentityError
from aegis.identity import verify
from aegis.identity.keyset import KeySet
from aegis.identity.token import mint
from aegis.identity.verify import CACHED, REFUSED, Verifier
from identity.forge import (
    AUDIENCE,
    KEYS,
    NOW,
    SECOND,
    TYPES,
    USES,
    access,
    entry_of,
    forged,
    good,
    key_of,
    override,
    person,
    statement,
)

WITHOUT_STS = KeySet(entry_of(use) for use in USES if use != "sts")


@pytest.fixture
def verifier() -> Verifier:
    return Verifier(KEYS, audience=AUDIENCE)


def refused(verifier: Verifier, token: str, now: object = NOW) -> str:
    with pytest.raises(IdentityError) as error:
        verifier.access(token, now=now)
    return error.value.reason


@pytest.fixture
def full_checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each token that was verified whole."""
    done: list[str] = []
    real = verify.verify_access

    def counted(*args: object, **named: object) -> object:
        done.append("x")
        return real(*args, **named)

    monkeypatch.setattr(verify, "verify_access", counted)
    return done


def test_a_good_token_is_verified_whole_once_a_minute(verifier: Verifier, full_checks: list[str]) -> None:
    token = good()
    for seconds in (0, 1, 30, 59):
        assert verifier.access(token, now=NOW + seconds * SECOND).token_id == "tok_1"
    assert len(full_checks) == 1
    verifier.access(token, now=NOW + 60 * SECOND)
    assert len(full_checks) == 2


def test_a_remembered_token_dies_at_its_end(verifier: Verifier) -> None:
    token = mint(access(ttl=10 * SECOND), key_of("sts"))
    verifier.access(token, now=NOW + timedelta(seconds=9.999999))
    assert refused(verifier, token, NOW + 10 * SECOND) == "expired"
    assert verifier.access(token, now=NOW + 9 * SECOND).token_id == "tok_1"


def test_a_remembered_token_is_not_good_before_its_start(verifier: Verifier) -> None:
    token = good()
    verifier.access(token, now=NOW)
    assert refused(verifier, token, NOW - 31 * SECOND) == "not_yet_valid"
    verifier.access(token, now=NOW - 30 * SECOND)


def test_a_remembered_token_dies_when_its_key_leaves_the_set_and_lives_again_with_it(verifier: Verifier) -> None:
    token = good()
    verifier.access(token, now=NOW)
    verifier.swap(WITHOUT_STS)
    assert refused(verifier, token) == "unknown_kid"
    verifier.swap(KEYS)
    assert verifier.access(token, now=NOW).token_id == "tok_1"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"not_after": NOW}, "key_retired"),
        ({"not_before": NOW + SECOND}, "key_not_yet"),
        ({"key_class": "override"}, "wrong_key_class"),
        ({"tenant": "globex"}, "wrong_tenant"),
    ],
)
def test_a_remembered_token_dies_when_its_key_is_put_to_another_use(
    verifier: Verifier, change: dict[str, object], reason: str
) -> None:
    token = good()
    verifier.access(token, now=NOW)
    verifier.swap(KeySet([entry_of("sts", **change)]))
    assert refused(verifier, token) == reason


def test_a_remembered_token_dies_when_its_key_is_retired_by_time() -> None:
    verifier = Verifier(KeySet([entry_of("sts", not_after=NOW + 5 * SECOND)]), audience=AUDIENCE)
    token = good()
    verifier.access(token, now=NOW + timedelta(seconds=4.999999))
    assert refused(verifier, token, NOW + 5 * SECOND) == "key_retired"


def test_a_token_refused_for_an_unknown_key_is_good_once_the_key_is_known(verifier: Verifier) -> None:
    verifier.swap(WITHOUT_STS)
    token = good()
    assert refused(verifier, token) == "unknown_kid"
    verifier.swap(KEYS)
    assert verifier.access(token, now=NOW).agent_id == "agent:planner"


def test_a_token_refused_as_too_early_is_good_at_its_time(verifier: Verifier) -> None:
    token = good()
    assert refused(verifier, token, NOW - timedelta(minutes=2)) == "not_yet_valid"
    assert verifier.access(token, now=NOW).token_id == "tok_1"


def test_a_forged_token_is_verified_once_and_refused_for_good(verifier: Verifier, full_checks: list[str]) -> None:
    head, body, _ = good().split(".")
    forgery = f"{head}.{body}.{encode(bytes(64))}"
    assert {refused(verifier, forgery) for _ in range(50)} == {"bad_signature"}
    assert len(full_checks) == 1
    assert verifier.access(good(), now=NOW).token_id == "tok_1"


def test_a_flood_of_made_up_keys_leaves_the_memory_small_and_good_tokens_good(verifier: Verifier) -> None:
    token = good()
    verifier.access(token, now=NOW)
    _, body, signature = token.split(".")
    for number in range(10_000):
        kid = encode(number.to_bytes(32, "big"))
        head = encode(b'{"alg":"Ed25519","kid":"%s","typ":"at+jwt"}' % kid.encode())
        assert refused(verifier, f"{head}.{body}.{signature}") == "unknown_kid"
    assert (len(verifier._good), len(verifier._bad)) == (1, 0)
    assert verifier.access(token, now=NOW).token_id == "tok_1"


def test_a_flood_of_malformed_tokens_pushes_no_good_one_out(verifier: Verifier, full_checks: list[str]) -> None:
    token = good()
    verifier.access(token, now=NOW)
    for number in range(REFUSED + 1_000):
        assert refused(verifier, f"{number}.{number}.x") == "malformed"
    assert len(verifier._bad) == REFUSED
    done = len(full_checks)
    verifier.access(token, now=NOW)
    assert len(full_checks) == done


def test_good_tokens_fill_the_memory_to_its_bound_only(monkeypatch: pytest.MonkeyPatch) -> None:
    assert CACHED <= 20_000
    monkeypatch.setattr(verify, "CACHED", 50)
    verifier = Verifier(KEYS, audience=AUDIENCE)
    tokens = [mint(access(token_id=f"tok_{number}"), key_of("sts")) for number in range(120)]
    assert [verifier.access(token, now=NOW).token_id for token in tokens] == [f"tok_{number}" for number in range(120)]
    assert len(verifier._good) == 50
    assert verifier.access(tokens[0], now=NOW).token_id == "tok_0"


@pytest.mark.parametrize(
    ("who", "reason"), [("", "revoked"), ("agent:planner", "revoked"), ("agent:orch", "ancestor_revoked")], ids=lambda x: x or "all"
)
def test_a_revocation_ends_what_was_issued_before_it_and_nothing_after(verifier: Verifier, who: str, reason: str) -> None:
    old = mint(access(parent=("agent:orch", "req_1")), key_of("sts"))
    new = mint(access(parent=("agent:orch", "req_1"), now=NOW + 5 * SECOND, token_id="tok_9"), key_of("sts"))
    verifier.access(old, now=NOW)
    verifier.revoke("acme", who=who, before=NOW + 5 * SECOND)
    assert refused(verifier, old, NOW + 6 * SECOND) == reason
    assert verifier.access(new, now=NOW + 6 * SECOND).token_id == "tok_9"
    fresh = Verifier(KEYS, audience=AUDIENCE)
    fresh.revoke("acme", who=who, before=NOW + 5 * SECOND)
    assert [refused(fresh, old, NOW + 6 * SECOND) for _ in range(2)] == [reason, reason]


def test_a_revocation_reaches_neither_other_tenants_nor_other_agents(verifier: Verifier) -> None:
    for tenant, who in (("globex", ""), ("acme", "agent:other"), ("acme", "person:alice"), ("acme", "user:nora")):
        verifier.revoke(tenant, who=who, before=NOW + SECOND)
    assert verifier.access(good(), now=NOW).token_id == "tok_1"


def test_a_revocation_never_moves_back(verifier: Verifier) -> None:
    verifier.revoke("acme", before=NOW + SECOND)
    verifier.revoke("acme", before=NOW - SECOND)
    assert refused(verifier, good()) == "revoked"


def test_a_revocation_reaches_the_other_types(verifier: Verifier) -> None:
    doors = {"override+jwt": verifier.override, "approval+jwt": verifier.statement, "person+jwt": verifier.person}
    for typ, door in doors.items():
        door(good(typ), now=NOW)
    verifier.revoke("acme", who="person:alice", before=NOW + SECOND)
    verifier.revoke("acme", who="agent:planner", before=NOW + SECOND)
    for typ, door in doors.items():
        with pytest.raises(IdentityError, match="revoked"):
            door(good(typ), now=NOW)


@pytest.mark.parametrize(("typ", "kind"), [("at+jwt", "agent"), ("override+jwt", "agent"), ("person+jwt", "person")])
def test_the_kind_of_caller_is_read_from_the_header(verifier: Verifier, typ: str, kind: str) -> None:
    assert verifier.kind(good(typ)) == kind


def test_a_person_who_claims_to_be_an_agent_is_neither(verifier: Verifier) -> None:
    token = forged({"typ": "person+jwt"})
    assert verifier.kind(token) == "person"
    with pytest.raises(IdentityError, match="expected a key of class `human`"):
        verifier.person(token, now=NOW)


IDS = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FFF), min_size=1, max_size=20).filter(
    lambda text: text.isprintable()
)
WORDS = st.lists(IDS, max_size=4).map(tuple)


@given(
    agent_id=IDS, subject=IDS, roles=WORDS, scopes=WORDS, token_id=IDS, txn=st.just("") | IDS, task=st.just("") | IDS,
    chain=st.lists(IDS, max_size=8).map(tuple), parent=st.none() | st.tuples(IDS, IDS), seconds=st.integers(1, 300),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_an_access_token_says_what_it_was_built_to_say(seconds: int, **said: object) -> None:
    built = access(**said, ttl=timedelta(seconds=seconds))
    found = Verifier(KEYS, audience=AUDIENCE).access(mint(built, key_of("sts")), now=NOW)
    for name, value in said.items():
        if name != "chain":
            assert getattr(found, name) == value
    assert found.chain == (said["chain"] or ((said["parent"][0],) if said["parent"] else ()))  # type: ignore[index]
    assert (found.tenant, found.kid) == ("acme", key_of("sts").kid)
    assert (found.not_before, found.expires_at, found.issued_at) == (NOW, NOW + seconds * SECOND, NOW)


@given(IDS, IDS, IDS, st.booleans(), st.text(st.characters(exclude_categories=("Cs",)), max_size=200))
@settings(max_examples=100, deadline=None)
def test_the_other_tokens_say_what_they_were_built_to_say(one: str, two: str, three: str, yes: bool, reason: str) -> None:
    verifier = Verifier(KEYS, audience=AUDIENCE)
    used = verifier.override(
        mint(override(agent_id=one, approval_id=two, request_hash=three), key_of("override")), now=NOW + 59 * SECOND
    )
    assert (used.tenant, used.agent_id, used.approval_id, used.request_hash, used.token_id) == ("acme", one, two, three, "tok_2")
    said = verifier.statement(
        mint(statement(approval_id=one, request_hash=two, shown=three, approve=yes, reason=reason), key_of("human")),
        now=NOW + 899 * SECOND,
    )
    assert (said.approval_id, said.request_hash, said.shown, said.approve, said.reason) == (one, two, three, yes, reason)
    assert (said.tenant, said.approver) == ("acme", "person:alice")
    assert verifier.person(mint(person(), key_of("human")), now=NOW).person == "person:alice"


@pytest.mark.parametrize("typ", TYPES)
def test_a_token_is_the_same_text_each_time_it_is_minted(typ: str) -> None:
    assert good(typ) == good(typ)


def test_a_key_that_is_newer_than_the_last_look_is_found_and_a_flood_of_unknown_ones_looks_once_a_second():
    looks = []
    newer = KeySet([entry_of("sts")])

    def look():
        looks.append(1)
        return newer

    verifier = Verifier(KeySet([]), audience=AUDIENCE, look=look)
    assert verifier.access(good(), now=NOW).tenant == "acme"
    assert len(looks) == 1
    stranger = mint(access(), key_of("nobody's"))
    for _ in range(50):
        with pytest.raises(IdentityError, match="unknown_kid"):
            verifier.access(stranger, now=NOW)
    assert len(looks) == 1
    with pytest.raises(IdentityError, match="unknown_kid"):
        verifier.access(stranger, now=NOW + SECOND)
    assert len(looks) == 2
