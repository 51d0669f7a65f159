"""Our good tokens in the eyes of two other libraries, so that nobody is locked into ours.

joserfc knows the algorithm by both names. PyJWT 2.15 knows `EdDSA` only, the name that RFC 9864 deprecates and that we refuse, so
it is given the algorithm of that name under ours.
"""

import base64
import json

import jwt
import pytest
from joserfc import jws as jose_jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from jwt.algorithms import OKPAlgorithm

from aegis.crypto.jwk import private_key, public_key, thumbprint
from identity.forge import AUDIENCE, SIGNER, TYPES, forged, good, key_of

pytestmark = pytest.mark.parametrize("typ", TYPES)


def jwk(typ: str) -> dict[str, str]:
    return {"kty": "OKP", "crv": "Ed25519", "x": key_of(SIGNER[typ]).public.x}


def test_joserfc_accepts_our_tokens_under_the_name_of_rfc_9864(typ: str) -> None:
    key = OKPKey.import_key(jwk(typ))
    found = jose_jws.deserialize_compact(good(typ), key, algorithms=["Ed25519"])
    assert found.protected == {"alg": "Ed25519", "typ": typ, "kid": key_of(SIGNER[typ]).kid}
    assert json.loads(found.payload) == TYPES[typ]().claims
    assert key.thumbprint() == key_of(SIGNER[typ]).kid


def test_joserfc_refuses_what_another_key_signed(typ: str) -> None:
    with pytest.raises(JoseError):
        jose_jws.deserialize_compact(good(typ), OKPKey.import_key(jwk(typ) | {"x": private_key(bytes(32)).public.x}), ["Ed25519"])


def test_pyjwt_accepts_our_tokens_when_told_what_the_algorithm_is(typ: str) -> None:
    assert "Ed25519" not in jwt.PyJWS().get_algorithms()
    reader = jwt.PyJWS()
    reader.register_algorithm("Ed25519", OKPAlgorithm())
    key = jwt.PyJWK(jwk(typ) | {"alg": "EdDSA"}).key
    found = reader.decode_complete(good(typ), key, algorithms=["Ed25519"])
    assert found["header"] == {"alg": "Ed25519", "typ": typ, "kid": key_of(SIGNER[typ]).kid}
    assert json.loads(found["payload"]) == TYPES[typ]().claims


def test_pyjwt_takes_a_padded_text_for_the_same_token_and_we_do_not(typ: str) -> None:
    from aegis.crypto import jws
    from aegis.errors import IdentityError

    reader = jwt.PyJWS()
    reader.register_algorithm("Ed25519", OKPAlgorithm())
    key = jwt.PyJWK(jwk(typ) | {"alg": "EdDSA"}).key
    assert reader.decode_complete(good(typ) + "==", key, algorithms=["Ed25519"])["payload"]
    with pytest.raises(IdentityError, match="base64url"):
        jws.parse(good(typ) + "==")


def test_a_key_id_is_the_thumbprint_that_others_compute(typ: str) -> None:
    x = jwk(typ)["x"]
    assert thumbprint(x) == OKPKey.import_key(jwk(typ)).thumbprint() == public_key(x).kid
    assert len(base64.urlsafe_b64decode(x + "=")) == 32


def test_a_token_that_joserfc_signed_is_ours_too(typ: str) -> None:
    from aegis.identity.verify import Verifier
    from identity.forge import KEYS
    from identity.test_hostile_tokens import verify

    key = key_of(SIGNER[typ])
    private = OKPKey.import_key(jwk(typ) | {"d": base64.urlsafe_b64encode(key.seed).rstrip(b"=").decode()})
    header = {"alg": "Ed25519", "typ": typ, "kid": key.kid}
    token = jose_jws.serialize_compact(header, json.dumps(TYPES[typ]().claims), private, algorithms=["Ed25519"])
    assert verify(Verifier(KEYS, audience=AUDIENCE), typ, token)
    assert verify(Verifier(KEYS, audience=AUDIENCE), typ, forged(use=SIGNER[typ], typ=typ))
