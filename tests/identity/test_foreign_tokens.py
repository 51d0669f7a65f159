"""Tokens of other issuers: what is taken, and everything that is not."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwk as jose_jwk
from joserfc import jwt as jose_jwt

from aegis.errors import IdentityError, InputError
from aegis.identity import foreign, jwks
from aegis.identity.issuers import parse_issuers
from aegis.model.document import parse
from keys.issuer import ALGORITHMS, Key, b64, raw, token

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ISS = "https://login.acme.example"
KEYS = {name: Key(name, f"key of {name}") for name in ALGORITHMS}
DOCUMENT = """
apiVersion: aegis.issuers/v1
kind: Issuers
metadata: {tenant: acme}
spec:
  issuers:
    - issuer: https://login.acme.example
      audience: aegis
      algorithms: [RS256, ES256, EdDSA]
      jwks: {uri: "https://login.acme.example/keys"}
      max_age_seconds: 600
      mappings:
        - when: {azp: {is: buyer-app}}
          agent: agent:buyer
          subject: {claim: sub, prefix: "user:"}
          scopes: [payments.*]
          roles: [procurement]
        - when: {azp: {is: console}, groups: {has: people}, email_verified: {is: true}}
          subject: {claim: email, prefix: "user:"}
        - when: {/realm/roles: {has: robots}, level: {in: [2, 3]}}
          agent: agent:robot
"""
ISSUER = parse_issuers(parse(DOCUMENT, source="issuers.yaml")).by_name[ISS]
SECONDS = int(NOW.timestamp())


def claims(**change):
    found = {
        "iss": ISS, "aud": "aegis", "sub": "nora", "azp": "buyer-app", "jti": "j1", "iat": SECONDS, "exp": SECONDS + 300, **change,
    }  # fmt: skip
    return {name: value for name, value in found.items() if value is not ...}


def read(text, *, now=NOW, key=None):
    """As a gateway reads it: the key is the one that the token names."""
    parsed = foreign.parse(text)
    known = jwks.parse(json.dumps({"keys": [each.jwk() for each in (*KEYS.values(), *([key] if key else []))]}).encode())
    if parsed.kid not in known:
        raise IdentityError("unknown_kid")
    return foreign.mapped(parsed, ISSUER, foreign.verify(parsed, ISSUER, known[parsed.kid], now))


def reason(text, **more):
    with pytest.raises(IdentityError) as refused:
        read(text, **more)
    return refused.value.reason


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_of_each_algorithm_stands_for_its_agent(algorithm):
    found = read(token(KEYS[algorithm], claims()))
    assert (found.agent_id, found.subject, found.scopes, found.roles) == (
        "agent:buyer",
        "user:nora",
        ("payments.*",),
        ("procurement",),
    )
    assert (found.token_id, found.expires_at) == ("j1", NOW + timedelta(seconds=300))


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "Ed25519"])
def test_a_token_that_another_library_made_is_taken(algorithm):
    kty, size = {"RS256": ("RSA", 2048), "ES256": ("EC", "P-256"), "Ed25519": ("OKP", "Ed25519")}[algorithm]
    key = jose_jwk.generate_key(kty, size, {"kid": "theirs"})
    text = jose_jwt.encode({"alg": algorithm, "kid": "theirs"}, claims(), key, algorithms=[algorithm])
    known = jwks.parse(json.dumps({"keys": [key.as_dict(private=False)]}).encode())
    parsed = foreign.parse(text)
    assert foreign.verify(parsed, ISSUER, known["theirs"], NOW) == NOW + timedelta(seconds=300)


def test_a_persons_token_stands_for_the_person():
    found = read(
        token(KEYS["RS256"], claims(azp="console", groups=["x", "people"], email="nora@acme.example", email_verified=True))
    )
    assert (found.agent_id, found.subject, found.scopes, found.roles) == ("", "user:nora@acme.example", None, None)


def test_a_claim_within_another_is_reached_by_its_pointer():
    found = read(token(KEYS["RS256"], claims(azp=..., realm={"roles": ["robots"]}, level=3)))
    assert (found.agent_id, found.subject) == ("agent:robot", "agent:robot")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"azp": "other"}, "not_mapped"),
        ({"azp": ["buyer-app"]}, "not_mapped"),
        ({"azp": ...}, "not_mapped"),
        ({"azp": "console", "groups": ["people"], "email": "n@x.example", "email_verified": "true"}, "not_mapped"),
        ({"azp": "console", "groups": ["people"], "email": "n@x.example", "email_verified": 1}, "not_mapped"),
        ({"azp": "console", "groups": "people", "email": "n@x.example", "email_verified": True}, "not_mapped"),
        ({"azp": "console", "groups": ["people"], "email_verified": True}, "not_mapped"),
        ({"azp": ..., "realm": {"roles": ["robots"]}, "level": True}, "not_mapped"),
        ({"azp": ..., "realm": "robots", "level": 2}, "not_mapped"),
        ({"realm": {"roles": ["robots"]}, "level": 2}, "ambiguous"),
        ({"sub": "nora\nadmin"}, "not_mapped"),
        ({"sub": "nora mallory"}, "not_mapped"),
        ({"sub": "n" * 257}, "not_mapped"),
        ({"sub": "nör\u202ea"}, "not_mapped"),
        ({"sub": 7}, "not_mapped"),
        ({"sub": ""}, "not_mapped"),
        ({"iss": "https://login.acme.example/"}, "wrong_issuer"),
        ({"iss": ["https://login.acme.example"]}, "wrong_issuer"),
        ({"iss": ...}, "wrong_issuer"),
        ({"aud": "other"}, "wrong_audience"),
        ({"aud": ["other", "aegis2"]}, "wrong_audience"),
        ({"aud": []}, "wrong_audience"),
        ({"aud": {"aegis": 1}}, "malformed"),
        ({"aud": ...}, "malformed"),
        ({"exp": ...}, "malformed"),
        ({"iat": ...}, "malformed"),
        ({"exp": "soon"}, "malformed"),
        ({"exp": SECONDS + 300.5}, "malformed"),
        ({"iat": True}, "malformed"),
        ({"exp": 2**53 - 1}, "malformed"),
        ({"exp": SECONDS}, "malformed"),
        ({"iat": SECONDS - 60, "exp": SECONDS}, "expired"),
        ({"iat": SECONDS + 31}, "not_yet_valid"),
        ({"nbf": SECONDS + 31}, "not_yet_valid"),
        ({"iat": SECONDS - 600}, "too_old"),
        ({"cnf": {"jkt": "x"}}, "pop_required"),
    ],
)
def test_claims_that_do_not_fit_are_refused(change, why):
    assert reason(token(KEYS["RS256"], claims(**change))) == why


def test_an_audience_may_be_one_of_several_and_a_long_lived_token_ends_with_its_age():
    found = read(token(KEYS["RS256"], claims(aud=["other", "aegis"], iat=SECONDS - 599, exp=SECONDS + 86_400)))
    assert found.expires_at == NOW + timedelta(seconds=1)


def hmac(secret):
    import hashlib
    import hmac as mac

    return lambda message: mac.new(secret, message, hashlib.sha256).digest()


RSA = KEYS["RS256"]
GOOD = token(RSA, claims())
HEAD, BODY, SIGNATURE = GOOD.split(".")
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def header(**change):
    return token(RSA, claims(), **change)


def stray(part):
    """The same bytes with the unused bits of the last character set."""
    return part[:-1] + ALPHABET[ALPHABET.index(part[-1]) ^ 1]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (raw(b'{"alg":"none","kid":"key of RS256"}', json.dumps(claims()).encode(), lambda _: b""), "bad_algorithm"),
        (f"{b64(b'{}')}.{BODY}.", "bad_algorithm"),
        (header(alg="None"), "bad_algorithm"),
        (header(alg="HS256"), "bad_algorithm"),
        (raw(json.dumps({"alg": "HS256", "kid": RSA.kid}).encode(), json.dumps(claims()).encode(), hmac(RSA.pem)), "bad_algorithm"),
        (raw(json.dumps({"alg": "HS256", "kid": RSA.kid}).encode(), json.dumps(claims()).encode(), hmac(RSA.jwk()["n"].encode())), "bad_algorithm"),
        (header(alg="PS256"), "bad_algorithm"),
        (header(alg="RS512"), "bad_algorithm"),
        (header(alg="ES256"), "bad_algorithm"),
        (header(alg="EdDSA"), "bad_algorithm"),
        (header(alg=["RS256"]), "bad_algorithm"),
        (header(alg=...), "bad_algorithm"),
        (header(crit=["exp"]), "malformed"),
        (header(crit=[]), "malformed"),
        (header(b64=True), "malformed"),
        (header(jwk=RSA.jwk()), "malformed"),
        (header(jku="http://127.0.0.1:1/keys"), "malformed"),
        (header(x5u="http://127.0.0.1:1/cert"), "malformed"),
        (header(x5c=["MII"]), "malformed"),
        (header(kid=["key of RS256"]), "malformed"),
        (header(kid="k" * 257), "malformed"),
        (header(typ=7), "malformed"),
        (header(kid="key of RS256\n"), "unknown_kid"),
        (header(kid="../../keys/public.json"), "unknown_kid"),
        (header(kid="key of RS256' OR '1'='1"), "unknown_kid"),
        (header(typ="at+jwt"), "wrong_type"),
        (header(typ="approval+jwt"), "wrong_type"),
        (header(typ="dpop+jwt"), "wrong_type"),
        (header(typ="logout+jwt"), "wrong_type"),
        (header(kid="key of ES256"), "bad_algorithm"),
        (token(Key("RS256", "key of RS256", 3072), claims()), "bad_signature"),
        (f"{HEAD}.{BODY}.{SIGNATURE}=", "malformed"),
        (f"{HEAD}=={'.' + BODY}.{SIGNATURE}", "malformed"),
        (f"{HEAD}.{BODY}=.{SIGNATURE}", "malformed"),
        (f" {GOOD}", "malformed"),
        (f"{GOOD}\n", "malformed"),
        (f"{HEAD}.{BODY[:9]} {BODY[9:]}.{SIGNATURE}", "malformed"),
        (f"{HEAD}.{BODY}.{stray(SIGNATURE)}", "malformed"),
        (f"{GOOD}.x", "malformed"),
        (f"{HEAD}.{BODY}", "malformed"),
        (f"{HEAD}.{BODY}.", "bad_signature"),
        (f"{HEAD}..{SIGNATURE}", "malformed"),
        (raw(json.dumps({"alg": "RS256", "kid": RSA.kid}).encode(), json.dumps(claims()).encode(), lambda message: RSA.sign(message)[:-1]), "bad_signature"),
        (raw(b'{"alg":"RS256","kid":"key of RS256","kid":"key of RS256"}', json.dumps(claims()).encode(), RSA.sign), "malformed"),
        (raw(b'{"alg":"none","alg":"RS256","kid":"key of RS256"}', json.dumps(claims()).encode(), RSA.sign), "malformed"),
        (raw(json.dumps({"alg": "RS256", "kid": RSA.kid}).encode(), json.dumps(claims()).encode()[:-1] + b',"sub":"mallory"}', RSA.sign), "malformed"),
        (raw(json.dumps({"alg": "RS256", "kid": RSA.kid}).encode(), b"[]", RSA.sign), "malformed"),
        (raw(json.dumps({"alg": "RS256", "kid": RSA.kid}).encode(), b'{"sub":"\\ud800"}', RSA.sign), "malformed"),
        (raw(json.dumps({"alg": "RS256", "kid": RSA.kid}).encode(), b"{" * 40, RSA.sign), "malformed"),
        (token(RSA, claims(pad="x" * 17_000)), "malformed"),
        ("", "malformed"),
        ("..", "malformed"),
    ],
)  # fmt: skip
def test_a_hostile_token_is_refused(text, why):
    assert reason(text) == why


@given(st.integers(0, len(GOOD) - 1), st.sampled_from(ALPHABET + ".= "))
def test_no_other_text_is_taken_for_a_good_one(place, char):
    changed = GOOD[:place] + char + GOOD[place + 1 :]
    if changed != GOOD:
        reason(changed)


@pytest.mark.parametrize(
    "change",
    [
        {"use": "enc"},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"alg": "RS512"},
        {"alg": "ES256"},
        {"d": "AQAB"},
        {"e": "Aw"},
        {"e": "AAEAAQ"},
        {"n": "AQAB"},
        {"n": ...},
        {"n": 7},
        {"n": Key("RS256", "weak", 1024).jwk()["n"]},
        {"kty": "oct"},
        {"kid": 7},
        {"kid": "k" * 257},
    ],
)
def test_an_odd_key_is_left_out_and_the_others_stay(change):
    odd = RSA.jwk(kid="odd") | change
    odd = {name: value for name, value in odd.items() if value is not ...}
    assert list(jwks.parse(json.dumps({"keys": [odd, KEYS["ES256"].jwk(), "x", None]}).encode())) == ["key of ES256"]


def test_a_key_id_that_stands_twice_is_good_for_neither():
    twice = [KEYS["RS256"].jwk(kid="same"), KEYS["ES256"].jwk(kid="same"), KEYS["EdDSA"].jwk()]
    assert list(jwks.parse(json.dumps({"keys": twice}).encode())) == ["key of EdDSA"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"keys": {}}', '{"keys": [], "keys": []}', json.dumps({"keys": [{}] * 101})])
def test_what_is_no_key_set_is_refused(text):
    with pytest.raises(InputError):
        jwks.parse(text.encode())


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("algorithms: [RS256, ES256, EdDSA]", "algorithms: [HS256]", "`EdDSA`"),
        ("algorithms: [RS256, ES256, EdDSA]", "algorithms: []", "at least one"),
        ('uri: "https://login.acme.example/keys"', 'uri: "http://login.acme.example/keys"', "expected https"),
        ('uri: "https://login.acme.example/keys"', 'uri: "file:///etc/passwd"', "such as https"),
        ('uri: "https://login.acme.example/keys"', 'uri: "https://me@login.acme.example/keys"', "without a user"),
        ('uri: "https://login.acme.example/keys"', "file: ../../keys/public.json", "a file in this folder"),
        ('uri: "https://login.acme.example/keys"', 'uri: "https://a/b", file: x.json', "exactly one of `uri` and `file`"),
        ("max_age_seconds: 600", "max_age_seconds: 0", "from 60 to 86400"),
        ("{azp: {is: buyer-app}}", "{}", "every token of the issuer would fit"),
        ("{azp: {is: buyer-app}}", "{azp: {is: x, has: y}}", "exactly one of `is`, `in` and `has`"),
        ("{azp: {is: buyer-app}}", "{azp: {is: [x]}}", "expected a text"),
        ("{azp: {is: buyer-app}}", "{/a//b: {is: x}}", "JSON Pointer"),
        ("agent: agent:buyer", "agent: buyer", "such as `agent:buyer`"),
        ('prefix: "user:"}\n          scopes', 'prefix: ""}\n          scopes', "empty"),
        ('prefix: "user:"}\n          scopes', 'prefix: "user"}\n          scopes', "a prefix such as"),
        ("scopes: [payments.*]", "scopes: ['*.x']", "a tool"),
        ('          subject: {claim: email, prefix: "user:"}\n', "", "`subject` for a token of a person"),
        ("metadata: {tenant: acme}", "metadata: {}", "`tenant` is missing"),
        ("issuer: https://login.acme.example\n", "issuer: 'a b'\n", "the issuer's name"),
        ("audience: aegis", "audiences: aegis", "did you mean `audience`"),
    ],
)
def test_a_document_that_is_wrong_says_where_and_why(old, new, told):
    assert DOCUMENT.count(old) == 1, old
    with pytest.raises(Exception, match=r"issuers\.yaml:\d+:\d+: ") as refused:
        parse_issuers(parse(DOCUMENT.replace(old, new), source="issuers.yaml"))
    assert told in str(refused.value)
