"""A real OpenID Connect provider, run beside the gateway: people log in there, and their tokens open what the tenant maps.

The provider is `oidc-provider-mock` (Authlib on Flask) in a process of its own: the authorization code flow, discovery, a key set over
HTTP, RS256. Its tokens name no key, as OpenID Connect allows while there is only one.
"""

import os
import socket
import subprocess
import sys
from importlib.util import find_spec

import httpx
import pytest

from aegis.adapters import jwksource
from authority.agents import Bot, with_keys
from gateway.world import World
from keys.seen import jti, until

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
CALLBACK = "http://127.0.0.1:1/callback"
DOCUMENT = """
apiVersion: aegis.issuers/v1
kind: Issuers
metadata: {{tenant: acme}}
spec:
  issuers:
    - issuer: {issuer}
      audience: aegis-console
      algorithms: [RS256]
      jwks: {{uri: "{jwks_uri}"}}
      max_age_seconds: 3600
      mappings:
        - when: {{groups: {{has: treasurers}}, email_verified: {{is: true}}}}
          subject: {{claim: email, prefix: "user:"}}
          scopes: [pay.honours]
        - when: {{service: {{is: true}}}}
          agent: agent:reader
"""


class Provider:
    """The provider in a process of its own, on a port that stays."""

    def __init__(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self):
        self._process = subprocess.Popen(
            [sys.executable, "-m", "oidc_provider_mock", "--port", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
        )
        until(self._answers, "the provider did not start")

    def stop(self):
        self._process.terminate()
        self._process.wait(20)

    def discovered(self):
        return httpx.get(f"{self.url}/.well-known/openid-configuration").json()

    def log_in(self, who, client="aegis-console", **claims):
        """The ID token of a person who logged in, by the authorization code flow."""
        found = self.discovered()
        httpx.put(f"{self.url}/users/{who}", json=claims).raise_for_status()
        asked = {"response_type": "code", "client_id": client, "redirect_uri": CALLBACK, "scope": "openid email profile"}
        agreed = httpx.post(found["authorization_endpoint"], params=asked, data={"sub": who})
        code = httpx.URL(agreed.headers["location"]).params["code"]
        told = httpx.post(
            found["token_endpoint"],
            data={"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK},
            auth=(client, "secret"),
        )
        return told.raise_for_status().json()["id_token"]

    def _answers(self):
        try:
            return httpx.get(f"{self.url}/jwks", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False


@pytest.fixture(scope="module")
def provider():
    if find_spec("oidc_provider_mock") is None:
        pytest.skip("the OpenID provider of the development tools is not installed")
    made = Provider()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def w(tmp_path, store_url, provider):
    world = World(tmp_path, store_url)
    with_keys(world)
    found = provider.discovered()
    (tmp_path / "tenants/acme/issuers.yaml").write_text(DOCUMENT.format(issuer=found["issuer"], jwks_uri=found["jwks_uri"]))
    try:
        world.start()
        yield world
    finally:
        world.close()


def exchange(w, id_token, bot=None):
    form = {"grant_type": EXCHANGE, "subject_token": id_token, "subject_token_type": ID_TOKEN}
    if bot is None:
        form["audience"] = "https://aegis/acme"
    else:
        form["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        form["client_assertion"] = bot.assertion()
    return httpx.post(f"{w.url}/v1/token", data=form, timeout=30)


NORA = {"email": "nora@acme.example", "email_verified": True, "groups": ["staff", "treasurers"]}


def test_a_person_who_logged_in_there_is_acted_for_here(w, provider):
    told = exchange(w, provider.log_in("nora", **NORA), Bot(w, "agent:payer"))
    assert told.status_code == 200, told.text
    token = told.json()["access_token"]
    assert told.json()["scope"] == "pay.honours"
    assert w.call("pay.honours", {"amount": 5}, "k", token).status_code == 200
    decided = next(event for event in w.events() if event["type"] == "decision")
    assert decided["actor"] == {"sub": "user:nora@acme.example", "act": [{"sub": "agent:payer"}]}
    assert decided["token_jti"] == jti(token)


def test_a_service_of_theirs_is_an_agent_of_ours(w, provider):
    told = exchange(w, provider.log_in("robot", service=True))
    assert told.status_code == 200, told.text
    token = told.json()["access_token"]
    assert (
        w.call("records.read", {"id": "x"}, token=token).json()["result"]["ssn"] != "078-05-1120"
    )  # as the policy masks for readers


@pytest.mark.parametrize(
    ("claims", "client", "why"),
    [
        (NORA | {"groups": ["staff"]}, "aegis-console", "not_mapped"),
        (NORA | {"email_verified": False}, "aegis-console", "not_mapped"),
        (NORA, "another-client", "wrong_audience"),
    ],
    ids=["not in the group", "address not verified", "for another client"],
)
def test_who_does_not_fit_a_mapping_gets_no_token(w, provider, claims, client, why):
    told = exchange(w, provider.log_in("nora", client, **claims), Bot(w, "agent:payer"))
    assert (told.status_code, told.json()["detail"].split(": ")[1]) == (401, why)


def test_when_the_provider_changes_its_key_new_tokens_are_taken_and_old_ones_refused(w, provider, monkeypatch):
    monkeypatch.setattr(jwksource, "PAUSE_SECONDS", 0.2)
    old = provider.log_in("robot", service=True)
    assert exchange(w, old).status_code == 200
    provider.stop()
    provider.start()  # which makes a new key, as its tokens name none
    new = provider.log_in("robot", service=True)
    until(lambda: exchange(w, new).status_code == 200)
    told = exchange(w, old)
    assert (told.status_code, told.json()["detail"]) == (401, "refused: bad_signature")
