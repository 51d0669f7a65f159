"""Every way in which a token is refused, with its reason. Each token here is truly signed unless its line says otherwise."""

import base64
import hashlib
import hmac
import json
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.crypto import jws
from aegis.crypto.jwk import encode, private_key
from aegis.errors import IdentityError
from aegis.identity.token import Typed, mint
from aegis.identity.verify import Verifier
from identity.forge import AUDIENCE, HASH, KEYS, NOW, SIGNER, access, forged, good, key_of, raw

SECONDS = int(NOW.timestamp())
STS = key_of("sts")
HEAD, BODY, SIGNATURE = good().split(".")
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def reason(token: str, typ: str = "at+jwt", verifier: Verifier | None = None) -> str:
    """Why the token is refused; twice, because a memory must not change the answer."""
    verifier = verifier or Verifier(KEYS, audience=AUDIENCE)
    found = []
    for _ in range(2):
        with pytest.raises(IdentityError) as refused:
            verify(verifier, typ, token)
        found.append(refused.value.reason)
    assert found[0] == found[1]
    return found[0]


def verify(verifier: Verifier, typ: str, token: str) -> object:
    if typ == "at+jwt":
        return verifier.access(token, now=NOW)
    if typ == "override+jwt":
        return verifier.override(token, now=NOW)
    if typ == "approval+jwt":
        return verifier.statement(token, now=NOW)
    return verifier.person(token, now=NOW)


def hs256() -> str:
    """Signed by HMAC with the public key, in the hope that the verifier takes it for a shared secret."""
    head = encode(json.dumps({"alg": "HS256", "typ": "at+jwt", "kid": STS.kid}).encode())
    signed = f"{head}.{BODY}"
    key = base64.urlsafe_b64decode(STS.public.x + "=")
    return f"{signed}.{encode(hmac.new(key, signed.encode(), hashlib.sha256).digest())}"


HEADERS = {
    "alg none, unsigned": (f"{encode(json.dumps({'alg': 'none', 'typ': 'at+jwt', 'kid': STS.kid}).encode())}.{BODY}.", "bad_algorithm"),
    "alg none": (forged({"alg": "none"}), "bad_algorithm"),
    "HS256 with the public key": (hs256(), "bad_algorithm"),
    "HS256": (forged({"alg": "HS256"}), "bad_algorithm"),
    "EdDSA": (forged({"alg": "EdDSA"}), "bad_algorithm"),
    "ed25519 in lower case": (forged({"alg": "ed25519"}), "bad_algorithm"),
    "alg as list": (forged({"alg": ["Ed25519"]}), "bad_algorithm"),
    "no alg": (forged({"alg": ...}), "bad_algorithm"),
    "no typ": (forged({"typ": ...}), "malformed"),
    "no kid": (forged({"kid": ...}), "malformed"),
    "kid as number": (forged({"kid": 1}), "malformed"),
    "kid null": (forged({"kid": None}), "malformed"),
    "typ null": (forged({"typ": None}), "malformed"),
    "typ as list": (forged({"typ": ["at+jwt"]}), "malformed"),
    "crit": (forged({"crit": ["exp"], "exp": 1}), "malformed"),
    "empty crit": (forged({"crit": []}), "malformed"),
    "jwk": (forged({"jwk": {"kty": "OKP", "crv": "Ed25519", "x": STS.public.x}}), "malformed"),
    "jku": (forged({"jku": "http://127.0.0.1:1/keys"}), "malformed"),
    "x5u": (forged({"x5u": "http://127.0.0.1:1/cert"}), "malformed"),
    "x5c": (forged({"x5c": ["AAAA"]}), "malformed"),
    "b64": (forged({"b64": False}), "malformed"),
    "zip": (forged({"zip": "DEF"}), "malformed"),
    "cty": (forged({"cty": "JWT"}), "malformed"),
    "an empty name": (forged({"": "x"}), "malformed"),
    "typ JWT": (forged({"typ": "JWT"}), "wrong_type"),
    "typ with its media type": (forged({"typ": "application/at+jwt"}), "wrong_type"),
    "typ in capitals": (forged({"typ": "AT+JWT"}), "wrong_type"),
    "typ of an override": (forged({"typ": "override+jwt"}), "wrong_type"),
    "unknown kid": (forged({"kid": "A" * 43}), "unknown_kid"),
    "empty kid": (forged({"kid": ""}), "unknown_kid"),
    "kid of the key set's other class": (forged({"kid": key_of("override").kid}), "wrong_key_class"),
    "kid of another tenant, signed by our key": (forged({"kid": key_of("sts of globex").kid}), "bad_signature"),
    "kid with a path": (forged({"kid": "../../etc/passwd"}), "unknown_kid"),
    "a header of 2 KiB": (forged({"kid": "A" * 2048}), "malformed"),
    "signed by a stranger under a known kid": (
        raw(json.dumps({"alg": "Ed25519", "typ": "at+jwt", "kid": STS.kid}).encode(), json.dumps(access().claims).encode(), private_key(b"s" * 32)),
        "bad_signature",
    ),
    "duplicate alg": (raw(b'{"alg":"none","alg":"Ed25519","typ":"at+jwt","kid":"%s"}' % STS.kid.encode(), b"{}", STS), "malformed"),
    "a header that is a list": (raw(b"[]", b"{}", STS), "malformed"),
    "a header with a byte order mark": (raw(b"\xef\xbb\xbf{}", b"{}", STS), "malformed"),
    "a header with trailing bytes": (raw(b"{}{}", b"{}", STS), "malformed"),
}  # fmt: skip


@pytest.mark.parametrize(("token", "expected"), HEADERS.values(), ids=HEADERS.keys())
def test_a_header_of_any_other_shape_is_refused(token: str, expected: str) -> None:
    assert reason(token) == expected


def last_bits(part: str, bits: int) -> str:
    """The same bytes with an unused bit set behind them."""
    return part[:-1] + ALPHABET[ALPHABET.index(part[-1]) | bits]


assert len(SIGNATURE) == 86
TEXTS = {
    "nothing": "",
    "two dots": "..",
    "one part": HEAD,
    "two parts": f"{HEAD}.{BODY}",
    "four parts": f"{good()}.",
    "five parts, as if encrypted": f"{good()}.a.b",
    "padding behind the signature": f"{good()}==",
    "one `=` behind the signature": f"{good()}=",
    "padding behind the header": f"{HEAD}=.{BODY}.{SIGNATURE}",
    "a space before": f" {good()}",
    "a newline behind": f"{good()}\n",
    "a space within": f"{HEAD}.{BODY[:8]} {BODY[8:]}.{SIGNATURE}",
    "a newline within": f"{HEAD}.{BODY[:8]}\n{BODY[8:]}.{SIGNATURE}",
    "a NUL behind": f"{good()}\0",
    "trailing bits of the signature": f"{HEAD}.{BODY}.{last_bits(SIGNATURE, 1)}",
    "more trailing bits of the signature": f"{HEAD}.{BODY}.{last_bits(SIGNATURE, 8)}",
    "a `+` for the `-`": good().replace("-", "+") if "-" in good() else good() + "+",
    "letters of another script": good().replace("e", "\u0435", 1),
    "full-width digits": good() + "\uff10",
    "a lone surrogate": good() + "\ud800",
    "a smuggled byte": good() + "\udc80",
    "9 KiB": forged(claims={"task": "x" * 7000}) + "A" * 9000,
    "9 KiB of a real token": forged(claims={"txn": "x" * 7000}),
    "the scheme still in front": f"Bearer {good()}",
    "JSON serialisation": json.dumps({"protected": HEAD, "payload": BODY, "signature": SIGNATURE}),
}


@pytest.mark.parametrize("token", TEXTS.values(), ids=TEXTS.keys())
def test_a_token_has_one_text_only(token: str) -> None:
    assert reason(token) == "malformed"


@pytest.mark.parametrize("typ", SIGNER)
def test_no_type_of_token_is_read_beyond_its_longest(typ: str) -> None:
    assert reason(good(typ) + "A" * jws.MAX_TOKEN, typ) == "malformed"


@pytest.mark.parametrize("size", [0, 1, 32, 63, 65, 66, 128])
def test_a_signature_of_another_size_is_refused(size: int) -> None:
    assert reason(f"{HEAD}.{BODY}.{encode(bytes(size))}") == "bad_signature"


def test_the_other_signature_that_a_lax_verifier_accepts_is_refused() -> None:
    order = 2**252 + 27742317777372353535851937790883648493  # RFC 8032, section 5.1: S must be below it
    good_bytes = base64.urlsafe_b64decode(SIGNATURE + "==")
    scalar = int.from_bytes(good_bytes[32:], "little") + order
    assert reason(f"{HEAD}.{BODY}.{encode(good_bytes[:32] + scalar.to_bytes(32, 'little'))}") == "bad_signature"


@given(st.integers(0, len(good()) - 1), st.sampled_from(ALPHABET + ". =\n+/\u00e9"))
@settings(max_examples=400, deadline=None)
def test_a_change_of_one_character_anywhere_is_refused(place: int, character: str) -> None:
    token = good()
    if token[place] == character:
        return
    reason(token[:place] + character + token[place + 1 :])


@given(st.integers(0, len(good())), st.sampled_from([*ALPHABET, ".", "=", " "]), st.booleans())
@settings(max_examples=200, deadline=None)
def test_a_character_more_or_less_anywhere_is_refused(place: int, character: str, more: bool) -> None:
    token = good()
    changed = token[:place] + character + token[place:] if more else token[:place] + token[place + 1 :]
    if changed != token:
        reason(changed)


@given(st.text(max_size=300) | st.text("ab.=-_{}", max_size=100))
@settings(max_examples=200, deadline=None)
def test_any_text_at_all_gets_a_reason_and_nothing_else(token: str) -> None:
    for typ in SIGNER:
        reason(token, typ)
    with pytest.raises(IdentityError):
        Verifier(KEYS, audience=AUDIENCE).kind(token)


NAMES = ("iss", "aud", "sub", "client_id", "tenant", "agent_id", "scope", "jti")
NOT_A_NAME = [1, 1.5, True, None, [], ["x"], {}, {"a": "b"}]
TIMES = ("iat", "nbf", "exp")
NOT_A_TIME = [str(SECONDS), float(SECONDS), True, False, None, [SECONDS], {}, -1, 10**15, 2**53 - 1, 253_402_300_800]
CLAIMS = {
    **{f"{name} {json.dumps(value)}": ({name: value}, "malformed") for name in NAMES for value in NOT_A_NAME},
    **{f"{name} {json.dumps(value)}": ({name: value}, "malformed") for name in TIMES for value in NOT_A_TIME},
    **{f"no {name}": ({name: ...}, "malformed") for name in (*NAMES, *TIMES, "roles", "act", "depth")},
    **{f"empty {name}": ({name: ""}, "malformed") for name in NAMES if name != "scope"},
    **{f"{name} with a space": ({name: "agent: planner"}, "malformed") for name in ("sub", "jti", "agent_id", "tenant")},
    **{f"{name} with a newline": ({name: "a\nb"}, "malformed") for name in ("sub", "jti", "agent_id", "txn", "task")},
    **{f"{name} with an escape": ({name: "a\x1b[2J"}, "malformed") for name in ("sub", "jti", "txn", "task")},
    "facts of an unknown name": ({"facts": {"risk.score": 1}}, "malformed"),
    "facts with a fraction": ({"facts": {"risk.percent": 0.5}}, "malformed"),
    "facts with a truth": ({"facts": {"risk.percent": True}}, "malformed"),
    "facts below zero": ({"facts": {"budget.left_micros": -1}}, "malformed"),
    "facts in a list": ({"facts": ["risk.percent"]}, "malformed"),
    "facts that are nothing": ({"facts": None}, "malformed"),
    **{f"{name} written backwards": ({name: "a\u202eb"}, "malformed") for name in ("sub", "jti", "txn", "task")},
    **{f"unknown claim {name}": ({name: "x"}, "malformed") for name in ("admin", "cnf", "ISS", "iss ", "", "approval_id", "owner")},
    **{f"roles {json.dumps(value)}": ({"roles": value}, "malformed") for value in ("planner", None, {}, [1], [""], [None], [["x"]], True)},
    "a thousand roles": ({"roles": ["r"] * 1000}, "malformed"),
    "two spaces in scope": ({"scope": "a  b"}, "malformed"),
    "a tab in scope": ({"scope": "a\tb"}, "malformed"),
    "a no-break space in scope": ({"scope": "a\u00a0b"}, "malformed"),
    "a space behind scope": ({"scope": "a "}, "malformed"),
    "depth as text": ({"depth": "0"}, "malformed"),
    "depth as float": ({"depth": 0.0}, "malformed"),
    "depth as boolean": ({"depth": False}, "malformed"),
    "negative depth": ({"depth": -1}, "malformed"),
    "depth that lies": ({"depth": 1}, "malformed"),
    "txn as number": ({"txn": 1}, "malformed"),
    "txn null": ({"txn": None}, "malformed"),
    "task as list": ({"task": []}, "malformed"),
    "another tenant": ({"tenant": "globex"}, "wrong_tenant"),
    "another tenant, and its issuer": ({"tenant": "globex", "iss": "https://aegis/globex"}, "wrong_tenant"),
    "another issuer": ({"iss": "https://aegis/globex"}, "wrong_issuer"),
    "another audience": ({"aud": "payments"}, "wrong_audience"),
    "audience with more behind": ({"aud": AUDIENCE + "2"}, "wrong_audience"),
    "client of another agent": ({"client_id": "agent:other"}, "malformed"),
    "agent that is not the client": ({"agent_id": "agent:other"}, "malformed"),
    "act of another agent": ({"act": {"sub": "agent:other"}}, "malformed"),
    "act null": ({"act": None}, "malformed"),
    "act as text": ({"act": "agent:planner"}, "malformed"),
    "act as list": ({"act": [{"sub": "agent:planner"}]}, "malformed"),
    "act without sub": ({"act": {}}, "malformed"),
    "act with another member": ({"act": {"sub": "agent:planner", "iss": "x"}}, "malformed"),
    "act null within": ({"act": {"sub": "agent:planner", "act": None}}, "malformed"),
    "act whose ancestor has no name": ({"act": {"sub": "agent:planner", "act": {"act": {"sub": "agent:orch"}}}, "depth": 2}, "malformed"),
    "a chain that starts with the parent": ({"act": {"sub": "agent:orch", "act": {"sub": "agent:planner"}}, "depth": 1}, "malformed"),
    "a chain that hides an ancestor": ({"act": {"sub": "agent:planner", "act": {"sub": "agent:orch"}}, "depth": 0}, "malformed"),
    "parent null": ({"parent": None}, "malformed"),
    "parent as text": ({"parent": "agent:orch"}, "malformed"),
    "parent without request": ({"parent": {"agent_id": "agent:orch"}}, "malformed"),
    "parent with another member": ({"parent": {"agent_id": "a", "request_id": "r", "jti": "x"}}, "malformed"),
    "parent with a number": ({"parent": {"agent_id": "a", "request_id": 1}}, "malformed"),
    "parent with an empty request": ({"parent": {"agent_id": "a", "request_id": ""}}, "malformed"),
    "ends as it starts": ({"exp": SECONDS}, "malformed"),
    "negative life": ({"exp": SECONDS - 10}, "malformed"),
    "used before it was issued": ({"nbf": SECONDS - 10}, "malformed"),
    "301 seconds": ({"exp": SECONDS + 301}, "too_long_lived"),
    "a year": ({"exp": SECONDS + 31_536_000}, "too_long_lived"),
    "old, but of long life": ({"iat": SECONDS - 400, "nbf": SECONDS - 400, "exp": SECONDS + 10}, "too_long_lived"),
    "long life hidden by a late start": ({"iat": SECONDS - 400, "nbf": SECONDS - 5, "exp": SECONDS + 10}, "too_long_lived"),
    "just over": ({"iat": SECONDS - 300, "nbf": SECONDS - 300, "exp": SECONDS}, "expired"),
    "long over": ({"iat": 0, "nbf": 0, "exp": 300}, "expired"),
    "starts in 31 seconds": ({"iat": SECONDS + 31, "nbf": SECONDS + 31, "exp": SECONDS + 60}, "not_yet_valid"),
    "starts in the year 6000": ({"iat": 127_000_000_000, "nbf": 127_000_000_000, "exp": 127_000_000_100}, "not_yet_valid"),
}  # fmt: skip


@pytest.mark.parametrize(("claims", "expected"), CLAIMS.values(), ids=CLAIMS.keys())
def test_claims_of_any_other_shape_are_refused(claims: dict[str, object], expected: str) -> None:
    assert reason(forged(claims=claims)) == expected


@pytest.mark.parametrize(
    "payload",
    [
        json.dumps(access().claims).replace('"tenant": "acme"', '"tenant": "globex", "tenant": "acme"').encode(),
        json.dumps(access().claims).replace('"depth": 0', '"depth": 0, "depth": 0').encode(),
        b"[]",
        b"null",
        b'"text"',
        b"",
        b"\xff",
        json.dumps(access().claims).encode() + b" x",
        json.dumps(access().claims | {"exp": 0}).replace('"exp": 0', '"exp": NaN').encode(),
        json.dumps(access().claims | {"exp": 0}).replace('"exp": 0', '"exp": 1e400').encode(),
        json.dumps(access().claims | {"sub": "S"}).replace('"S"', '"\\ud800"').encode(),
        b'{"act":' * 500 + b"1" + b"}" * 500,
        b"[" * 6000,
    ],
    ids=range(13),
)
def test_a_body_that_is_no_strict_object_is_refused(payload: bytes) -> None:
    head = json.dumps({"alg": "Ed25519", "typ": "at+jwt", "kid": STS.kid}).encode()
    assert reason(raw(head, payload, STS)) == "malformed"


def nest(names: list[str]) -> dict[str, object]:
    act: dict[str, object] = {"sub": names[-1]}
    for name in reversed(names[:-1]):
        act = {"sub": name, "act": act}
    return act


@pytest.mark.parametrize(("ancestors", "expected"), [(8, ""), (9, "depth_exceeded"), (30, "malformed")])
def test_a_chain_has_eight_ancestors_at_most(ancestors: int, expected: str) -> None:
    chain = [f"agent:a{number}" for number in range(ancestors)]
    token = forged(claims={"act": nest(["agent:planner", *chain]), "depth": ancestors})
    if expected:
        assert reason(token) == expected
    else:
        assert Verifier(KEYS, audience=AUDIENCE).access(token, now=NOW).chain == tuple(chain)


OTHER_TYPES = [
    ("override+jwt", {"exp": SECONDS + 61}, "too_long_lived"),
    ("override+jwt", {"agent_id": None}, "malformed"),
    ("override+jwt", {"request_hash": ""}, "malformed"),
    ("override+jwt", {"approval_id": 7}, "malformed"),
    ("override+jwt", {"approval_id": ["apr_1"]}, "malformed"),
    ("override+jwt", {"jti": ...}, "malformed"),
    ("override+jwt", {"uses": 2}, "malformed"),
    ("override+jwt", {"tenant": "globex"}, "wrong_tenant"),
    ("override+jwt", {"iss": "https://aegis/globex"}, "wrong_issuer"),
    ("override+jwt", {"aud": "elsewhere"}, "wrong_audience"),
    ("approval+jwt", {"exp": SECONDS + 901}, "too_long_lived"),
    ("approval+jwt", {"decision": "maybe"}, "malformed"),
    ("approval+jwt", {"decision": True}, "malformed"),
    ("approval+jwt", {"decision": "APPROVE"}, "malformed"),
    ("approval+jwt", {"decision": ...}, "malformed"),
    ("approval+jwt", {"shown": ...}, "malformed"),
    ("approval+jwt", {"reason": None}, "malformed"),
    ("approval+jwt", {"reason": "x" * 3000}, "malformed"),
    ("approval+jwt", {"approver": "person:bob"}, "wrong_owner"),
    ("approval+jwt", {"approver": "person:Alice"}, "wrong_owner"),
    ("approval+jwt", {"tenant": "globex"}, "wrong_tenant"),
    ("approval+jwt", {"aud": AUDIENCE}, "malformed"),
    ("person+jwt", {"exp": SECONDS + 301}, "too_long_lived"),
    ("person+jwt", {"sub": "person:bob"}, "wrong_owner"),
    ("person+jwt", {"tenant": "globex"}, "wrong_tenant"),
    ("person+jwt", {"aud": "elsewhere"}, "wrong_audience"),
    ("person+jwt", {"aud": ...}, "malformed"),
    ("person+jwt", {"roles": ["admin"]}, "malformed"),
]


@pytest.mark.parametrize(("typ", "claims", "expected"), OTHER_TYPES, ids=str)
def test_the_other_types_are_as_strict(typ: str, claims: dict[str, object], expected: str) -> None:
    assert reason(forged(claims=claims, use=SIGNER[typ], typ=typ), typ) == expected


FAR = [0, 1, 2**33, 2**36, 2**37 - 300, 2**37, 2**38, 2**40 - 300, 2**40, 253_402_300_799]


@pytest.mark.parametrize("start", FAR)
@pytest.mark.parametrize("typ", list(SIGNER))
def test_no_time_that_a_signer_writes_can_make_the_verifier_stumble(typ: str, start: int) -> None:
    # People hold their own keys, so the times of two of these types are the outside's to choose.
    times = {"iat": start, "nbf": start, "exp": start + 60}
    assert reason(forged(claims=times, use=SIGNER[typ], typ=typ), typ) in ("expired", "not_yet_valid", "malformed")


def test_a_token_longer_than_any_verifier_takes_is_not_minted() -> None:
    typed = access()
    with pytest.raises(IdentityError, match="at most 8192 characters"):
        mint(Typed(typed.typ, typed.claims | {"task": "x" * 7000}), STS)


@pytest.mark.parametrize(
    "ttl", [timedelta(0), timedelta(seconds=-1), timedelta(seconds=0.9), timedelta(seconds=300.1), timedelta(days=1)]
)
def test_a_life_that_no_verifier_accepts_is_not_built(ttl: timedelta) -> None:
    with pytest.raises(IdentityError) as refused:
        access(ttl=ttl)
    assert refused.value.reason == "too_long_lived"


@pytest.mark.parametrize(
    "change",
    [
        {"scopes": ("a b",)},
        {"scopes": ("",)},
        {"scopes": ("a\u00a0b",)},
        {"roles": ("",)},
        {"agent_id": ""},
        {"subject": "two words"},
        {"token_id": ""},
    ],
    ids=str,
)
def test_a_claim_that_no_verifier_accepts_never_widens_what_is_built(change: dict[str, object]) -> None:
    try:
        token = mint(access(**change), STS)
    except IdentityError:
        return
    with pytest.raises(IdentityError):
        Verifier(KEYS, audience=AUDIENCE).access(token, now=NOW)


def test_the_refusal_tells_no_claim() -> None:
    secret = "person:4111111111111111"
    with pytest.raises(IdentityError) as refused:
        Verifier(KEYS, audience=AUDIENCE).access(forged(claims={"sub": secret, "admin": secret}), now=NOW)
    assert secret not in str(refused.value)
    assert HASH not in str(refused.value)


def test_parsing_verifies_nothing_and_refuses_early() -> None:
    parsed = jws.parse(good())
    assert (parsed.typ, parsed.kid) == ("at+jwt", STS.kid)
