"""Whatever is sent to the endpoints of tokens, delegations and messages, the answer is a decision or a refusal: never a 500."""

import contextlib
import json
import secrets
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aegis.crypto.jwk import encode
from authority.agents import Bot, with_keys
from messages.post import Post

ANYTHING = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False),
    st.text(max_size=12),
    st.sampled_from(
        ["pay.*", "*", "pay.honours", "agent:payer", "agent:desk", "a.b", "\x00", "\u202e", "(", r"\pL", "sha256:", "1.0.0"]
    ),
)
NAMES = st.sampled_from(["tool", "tool_digest", "limits", "calls", "max", "min", "in", "regex", "a.b", ".", "data", "sku", "x", ""])
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12)
LIMIT = st.fixed_dictionaries({}, optional={"max": SCALARS, "min": SCALARS, "in": st.lists(SCALARS, max_size=3), "regex": SCALARS})
GRANT = st.fixed_dictionaries(
    {"tool": SCALARS},
    optional={"tool_digest": SCALARS, "calls": SCALARS, "limits": st.dictionaries(st.text(max_size=5), LIMIT, max_size=2)},
)
TOOLS = st.one_of(JSON, st.lists(GRANT, max_size=3))


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def post(request, tmp_path_factory):
    """A gateway with messages on each store, in which every agent has a key."""
    url = "sqlite:data/aegis.db"
    if request.param == "postgres":
        from tests.postgres_server import migrated_database

        url = migrated_database()
    w = Post(tmp_path_factory.mktemp("fuzz"), url)
    try:
        with_keys(w)
        w.start()
        yield w
    finally:
        w.close()


def decided(told):
    assert told.status_code < 500, told.text


@ANYTHING
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "scope": st.text(max_size=20),
            "authorization_details": TOOLS.map(json.dumps) | st.text(max_size=20),
            "budget_micros": st.text(max_size=20) | st.integers(0, 2**60).map(str),
            "task": st.text(max_size=20),
            "audience": st.text(max_size=20).map("https://aegis/".__add__) | st.text(max_size=9),
            "client_id": st.text(max_size=9) | st.just("agent:payer"),
            "subject_token": st.text(max_size=20) | st.just("a.b.c"),
            "subject_token_type": st.text(max_size=9) | st.just("urn:ietf:params:oauth:token-type:jwt"),
            "client_assertion": st.text(max_size=20),
            "grant_type": st.sampled_from(["client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange", ""]),
        },
    )
)
def test_a_form_at_the_token_endpoint(post, form):
    bot = Bot(post, "agent:payer")
    with contextlib.suppress(UnicodeEncodeError):  # which no client could send
        decided(bot.ask(**form))


@ANYTHING
@given(
    st.binary(max_size=60)
    | st.dictionaries(st.text(max_size=9), st.text(max_size=9), max_size=3).map(lambda found: repr(found).encode())
)
def test_any_bytes_at_the_token_endpoint(post, body):
    kind = {"content-type": "application/x-www-form-urlencoded"}
    decided(httpx.post(post.url + "/v1/token", content=body, headers=kind, timeout=30))
    filled = urlencode({"grant_type": "client_credentials"}).encode() + b"&" + body
    decided(httpx.post(post.url + "/v1/token", content=filled, headers=kind, timeout=30))


@ANYTHING
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "to": SCALARS,
            "scopes": JSON | st.lists(st.text(max_size=9), max_size=3),
            "tools": TOOLS,
            "budget_micros": SCALARS,
            "ttl_seconds": SCALARS,
            "task": SCALARS,
            "max_depth": SCALARS,
            "parent_agent_id": SCALARS,
            "txn": SCALARS,
        },
    )
)
def test_a_body_of_a_delegation(post, body):
    desk = Bot(post, "agent:desk")
    desk.access = post.token("agent:desk")
    told = desk.post("/v1/delegations", body)
    decided(told)
    if told.status_code == 200:
        child = Bot(post, told.json()["to"])
        redeemed = child.ask(delegation=told.json()["delegation"])
        assert redeemed.status_code == 200, "what is handed down can be redeemed"
        child.take(redeemed.json())
        decided(child.call("pay.honours", {"amount": 1}, secrets.token_hex(8)))


@ANYTHING
@given(
    st.fixed_dictionaries(
        {
            "specversion": st.just("1.0"),
            "id": SCALARS,
            "source": SCALARS | st.just("agent:payer"),
            "type": SCALARS | st.just("order"),
        },
        optional={
            "schemaversion": SCALARS,
            "dataschema": SCALARS | st.just("urn:aegis:message:acme:order:1.0.0"),
            "subject": SCALARS,
            "time": SCALARS,
            "to": SCALARS,
            "data": JSON,
            "parentagent": SCALARS,
        },
    )
)
def test_an_envelope_of_a_message(post, body):
    payer = Bot(post, "agent:payer")
    payer.access = post.token("agent:payer")
    decided(payer.post("/v1/messages", body))
    decided(payer.post("/v1/messages/lease", {"type": body["type"], "accept": str(body.get("schemaversion", "1.0"))}))


MEMBERS = st.dictionaries(st.sampled_from(["jti", "htm", "htu", "iat", "ath", "nonce", "x"]), SCALARS | st.just("POST"), max_size=6)


@ANYTHING
@given(MEMBERS, st.fixed_dictionaries({}, optional={"typ": SCALARS, "alg": SCALARS, "jwk": JSON}), st.booleans())
def test_a_proof_of_possession(post, claims, head, kept):
    remote = Bot(post, "agent:remote", bound=True)
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": remote.key.public.x}
    header = {"typ": "dpop+jwt", "alg": "Ed25519", "jwk": jwk} | ({} if kept else head)
    signed = f"{encode(json.dumps(header).encode())}.{encode(json.dumps(claims).encode())}"
    proof = f"{signed}.{encode(remote.key.sign(signed.encode()))}"
    told = remote.ask(headers={"dpop": proof})
    decided(told)
    assert told.status_code == 401


@ANYTHING
@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=255), min_size=1, max_size=30),
    st.sampled_from(["dpop", "authorization", "host"]),
)
def test_a_header(post, text, name):
    for path in ("/v1/token", "/v1/delegations"):
        headers = {"content-type": "application/json", "authorization": "DPoP a.b.c", name: text.encode("latin-1")}
        decided(httpx.post(post.url + path, content=b"{}", headers=headers, timeout=30))
