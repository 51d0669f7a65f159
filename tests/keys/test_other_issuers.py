"""Tokens of another issuer at the token endpoint: what they open here, and what they do not."""

import secrets
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from authority.agents import Bot, with_keys
from gateway.world import World
from keys.issuer import Key, KeyServer, token
from keys.seen import aegis, jti, until

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT, ID_TOKEN = "urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token"
KEY = Key("RS256", "theirs")
DOCUMENT = """
apiVersion: aegis.issuers/v1
kind: Issuers
metadata: {{tenant: {tenant}}}
spec:
  issuers:
    - issuer: {issuer}
      audience: aegis
      algorithms: [RS256]
      jwks: {{uri: "{uri}"}}
      mappings:
        - when: {{azp: {{is: payer-app}}}}
          agent: agent:payer
          subject: {{claim: sub, prefix: "user:"}}
          scopes: [pay.honours, records.*]
        - when: {{azp: {{is: console}}}}
          subject: {{claim: sub, prefix: "user:"}}
        - when: {{azp: {{is: wide}}}}
          agent: agent:reader
          scopes: ["*"]
          roles: [treasury]
        - when: {{azp: {{is: off}}}}
          agent: agent:off
"""


class Scene:
    """A gateway, and another issuer that tenant `acme` believes."""

    def __init__(self, w, server):
        self.w, self.server, self.http = w, server, httpx.Client(timeout=30)

    def claims(self, **change):
        now = int(self.w.hand().timestamp())
        found = {
            "iss": self.server.url, "aud": "aegis", "sub": "nora", "azp": "payer-app", "jti": secrets.token_hex(8),
            "iat": now, "exp": now + 200, **change,
        }  # fmt: skip
        return {name: value for name, value in found.items() if value is not ...}

    def token(self, key=KEY, header=None, **change):
        return token(key, self.claims(**change), **(header or {}))

    def ask(self, subject, *, tenant="acme", kind=JWT, bot=None, **more):
        form = {"grant_type": EXCHANGE, "subject_token": subject, "subject_token_type": kind, **more}
        if bot:
            form |= {
                "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                "client_assertion": bot.assertion(),
            }
        else:
            form["audience"] = f"https://aegis/{tenant}"
        return self.http.post(f"{self.w.url}/v1/token", data=form)

    def refused(self, subject, **more):
        told = self.ask(subject, **more)
        assert told.status_code in (400, 401, 403), told.text
        return told.json()["detail"].removeprefix("refused: ").split(":")[0]


@pytest.fixture
def server():
    made = KeyServer()
    made.keys = [KEY.jwk()]
    yield made
    made.close()


@pytest.fixture
def scene(tmp_path, store_url, server):
    world = World(tmp_path, store_url)
    with_keys(world)
    for tenant, issuer in (("acme", server.url), ("globex", "https://login.globex.example")):
        text = DOCUMENT.format(tenant=tenant, issuer=issuer, uri=server.uri)
        (tmp_path / "tenants" / tenant / "issuers.yaml").write_text(text)
    try:
        world.start()
        made = Scene(world, server)
        yield made
        made.http.close()
    finally:
        world.close()


@pytest.mark.parametrize("kind", [JWT, ID_TOKEN])
def test_a_token_that_stands_for_an_agent_becomes_a_short_token_of_that_agent(scene, kind):
    theirs = scene.token()
    told = scene.ask(theirs, kind=kind)
    assert told.status_code == 200, told.text
    found = told.json()
    assert (found["agent_id"], found["scope"], found["expires_in"] <= 200) == ("agent:payer", "pay.honours records.*", True)
    done = scene.w.call("pay.honours", {"amount": 5}, "k", found["access_token"])
    assert done.status_code == 200, done.text
    assert scene.w.call("pay.ask", {"amount": 5}, "k2", found["access_token"]).status_code == 403
    (issued,) = [event for event in scene.w.events() if event["type"] == "token_issued"]
    assert (issued["grant"], issued["actor"]["sub"], issued["token_jti"]) == ("issuer", "user:nora", jti(found["access_token"]))
    assert theirs not in str(scene.w.events())


def test_an_agent_acts_for_the_person_whose_token_it_shows(scene):
    told = scene.ask(scene.token(azp="console"), bot=Bot(scene.w, "agent:other"))
    assert told.status_code == 200, told.text
    assert told.json()["agent_id"] == "agent:other"
    (issued,) = [event for event in scene.w.events() if event["type"] == "token_issued"]
    assert issued["actor"] == {"sub": "user:nora", "act": [{"sub": "agent:other"}]}


def test_a_persons_token_alone_opens_nothing(scene):
    assert scene.refused(scene.token(azp="console")) == "no_client"


def test_an_agent_cannot_use_a_token_that_stands_for_another(scene):
    assert scene.refused(scene.token(), bot=Bot(scene.w, "agent:other")) == "wrong_owner"


def test_a_mapping_never_gives_more_than_the_directory(scene):
    found = scene.ask(scene.token(azp="wide")).json()
    assert found["scope"] == "records.*"
    assert scene.w.call("pay.honours", {"amount": 5}, "k", found["access_token"]).status_code == 403


def test_an_agent_that_is_switched_off_stays_off(scene):
    assert scene.refused(scene.token(azp="off")) == "agent_disabled"


def test_what_one_tenant_believes_opens_nothing_at_another(scene):
    assert scene.refused(scene.token(), tenant="globex") == "unknown_issuer"
    assert scene.refused(scene.token(iss="https://login.globex.example")) == "unknown_issuer"
    assert scene.refused(scene.token(), tenant="nobody") == "unknown_issuer"  # which tenants there are is nobody's business


def test_an_access_token_of_ours_is_no_token_of_another_issuer_and_theirs_is_none_of_ours(scene):
    assert scene.refused(scene.w.token()) in ("wrong_type", "unknown_issuer")
    assert scene.w.get("/v1/tools", scene.token()).json()["detail"] == "refused: bad_algorithm"


HOSTILE = {
    "alg none": ({"header": {"alg": "none"}}, "bad_algorithm"),
    "HS256": ({"header": {"alg": "HS256"}}, "bad_algorithm"),
    "unknown crit": ({"header": {"crit": ["exp"]}}, "malformed"),
    "a key of its own": ({"header": {"jwk": Key("RS256", "mine").jwk()}}, "malformed"),
    "an address of its own": ({"header": {"jku": "{url}/evil"}}, "malformed"),
    "a certificate's address": ({"header": {"x5u": "{url}/evil"}}, "malformed"),
    "another type": ({"header": {"typ": "approval+jwt"}}, "wrong_type"),
    "an unknown key": ({"header": {"kid": "../keys"}}, "unknown_kid"),
    "another's signature": ({"key": Key("RS256", "theirs", 3072)}, "bad_signature"),
    "another audience": ({"aud": "other"}, "wrong_audience"),
    "too old": ({"iat": 1}, "too_old"),
    "bound": ({"cnf": {"jkt": "x"}}, "pop_required"),
    "nobody's": ({"azp": "stranger"}, "not_mapped"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_case_14_a_hostile_token_of_another_issuer_is_refused_and_fetches_nothing_but_the_key_set(scene, case):
    change, why = HOSTILE[case]
    header = {
        name: value.format(url=scene.server.url) if isinstance(value, str) else value
        for name, value in change.get("header", {}).items()
    }
    assert scene.refused(scene.token(**{**change, "header": header})) == why
    assert {path for path, _ in scene.server.asked} <= {"/keys"}
    assert not [event for event in scene.w.events() if event["type"] == "token_issued"]


@pytest.mark.parametrize(
    "spoil", [lambda t: t + "=", lambda t: t + "\n", lambda t: " " + t, lambda t: t.replace(".", ".="), lambda t: t + ".x"]
)
def test_case_15_another_text_of_the_same_token_is_refused(scene, spoil):
    good = scene.token()
    assert scene.ask(good).status_code == 200
    assert scene.refused(spoil(good)) == "malformed"


def test_case_16_a_flood_of_key_ids_costs_the_issuer_one_request_and_harms_no_good_token(scene):
    assert scene.ask(scene.token()).status_code == 200
    begun = len(scene.server.asked)
    made_up = [scene.token(header={"kid": secrets.token_hex(8)}) for _ in range(300)]
    with ThreadPoolExecutor(8) as pool:
        flood = pool.map(scene.refused, made_up)
        good = [scene.ask(scene.token()).status_code for _ in range(20)]
        assert set(flood) == {"unknown_kid"}
    assert good == [200] * 20
    assert len(scene.server.asked) - begun <= 2  # one in ten seconds


def test_a_changed_document_is_followed_and_a_broken_one_changes_nothing(scene):
    path = scene.w.root / "tenants/acme/issuers.yaml"
    good = path.read_text()
    path.write_text("kind: [")
    until(lambda: "issuers: " in scene.w.get("/readyz").text)
    assert scene.ask(scene.token()).status_code == 200
    path.write_text(good.replace("payer-app", "another-app"))
    until(lambda: scene.ask(scene.token()).status_code == 401)
    assert scene.refused(scene.token()) == "not_mapped"
    path.unlink()
    until(lambda: scene.refused(scene.token()) == "unknown_issuer")
    assert scene.w.get("/readyz").status_code == 200


def test_an_issuer_that_cannot_be_reached_stops_nothing_but_its_own_tokens(scene):
    scene.server.mood = "broken"
    assert scene.refused(scene.token()) == "issuer_unreachable"
    assert Bot(scene.w, "agent:payer").get().access
    assert scene.w.call("pay.honours", {"amount": 5}, "k").status_code == 200


def test_check_says_what_is_wrong_with_a_document_and_whom_it_names_in_vain(scene):
    (scene.w.root / "aegis.toml").write_text(f'[store]\nurl = "{scene.w.settings.store.url}"\n')
    assert "issuers acme" in aegis(scene.w, "check", code=1)  # `agent:reader` has no role `treasury`
    for tenant in ("acme", "globex"):
        path = scene.w.root / "tenants" / tenant / "issuers.yaml"
        path.write_text(path.read_text().replace("          roles: [treasury]\n", ""))
    good = path.read_text()
    assert aegis(scene.w, "--json", "check").count("issuers: 1") == 2
    path.write_text(good.replace("agent:off", "agent:of"))
    assert "did you mean `agent:off`" in aegis(scene.w, "--json", "check", code=1)
    path.write_text(good.replace("kind: Issuers", "kind: Issuer"))
    assert "expected `Issuers`" in aegis(scene.w, "--json", "check", code=1)
