"""`engine: opa`: a real OPA server decides by the tenant's signed bundle, and whatever goes wrong with it denies."""

from contextlib import contextmanager

import pytest
from msgspec.structs import replace

from aegis.adapters import catalogue, keyfiles, policies
from aegis.app import load_tenants
from aegis.errors import ConfigError
from aegis.settings import PolicySettings
from gateway.world import world
from opa.server import Server, binary

REGO = """package aegis_acme.custom.fx

hits contains {"id": "fx.odd", "effect": "deny", "live": true} if input.args.amount % 2 == 1
"""


def packed(w, tenant="acme"):
    """The bundle of the tenant's files, and the library beside it."""
    path = w.root / "tenants" / tenant / policies.FILE
    policy, sources = policies.load_file(path, catalogue.load(path.parent / "tools", tenant).by_digest)
    key = keyfiles.load_bundle_key(w.keys, tenant)
    bundle, library = w.root / "acme.tar.gz", w.root / "lib.tar.gz"
    bundle.write_bytes(policies.bundled(policy, sources, key))
    library.write_bytes(policies.library(tenant, key))
    return bundle, library


@contextmanager
def judged(w, engine="opa"):
    """The gateway of `w` with an OPA that verifies what it loads."""
    bundle, library = packed(w)
    pem = w.root / "acme.pem"
    pem.write_text(keyfiles.load_bundle_key(w.keys, "acme").public.pem)
    words = ("--verification-key", str(pem), "--signing-alg", "ES256", "--scope", "acme")
    with Server(bundles=(bundle, library), words=words) as opa:
        w.stop()
        w.settings = replace(w.settings, policy=PolicySettings(engine=engine, opa_url=opa.url, opa_timeout_ms=2000))
        w.start()
        yield opa


@pytest.fixture
def w(tmp_path):
    binary()
    with world(tmp_path) as made:
        yield made


def test_the_four_outcomes_are_the_same_when_opa_decides(w):
    with judged(w):
        assert w.call("pay.honours", {"amount": 5}, "a").status_code == 200
        assert w.call("pay.honours", {"amount": 6000}, "b").json()["rule"] == "pay.ceiling"
        held = w.call("pay.honours", {"amount": 1500}, "c").json()
        assert held["code"] == "approval-needed"
        w.approve(held["approval_id"])
        assert w.call("pay.honours", {"amount": 1500}, "c").status_code == 200
        assert w.call("records.read", {"id": "p1"}, token=w.token("agent:reader")).json()["result"]["ssn"] == "****"
        assert w.call("pay.honours", {"amount": 5, "memo": "ssn 078-05-1120"}, "d").json()["decision"] == "sanitize"


def test_nothing_is_done_while_opa_is_gone_and_the_reason_is_recorded(w):
    with judged(w) as opa:
        assert w.get("/readyz").status_code == 200
        opa.stop()
        assert w.get("/readyz").status_code == 503
        told = w.call("pay.honours", {"amount": 5}, "a")
        assert (told.status_code, told.json()["rule"]) == (403, "opa#unavailable")
        (event,) = [e for e in w.events(told.json()["request_id"]) if e["type"] == "decision"]
        assert event["rules"] == ["opa#unavailable"]
        assert w.tool.done == []


def test_an_opa_with_yesterdays_bundle_is_not_believed(w):
    with judged(w):
        path = w.root / "tenants/acme/policy.yaml"
        path.write_text(path.read_text().replace("gt: 5000", "gt: 4000"))
        w.stop()
        w.start()
        told = w.call("pay.honours", {"amount": 5}, "a")
        assert (told.status_code, told.json()["rule"]) == (403, "opa#revision")
        assert w.tool.done == []


def test_a_tenant_whose_bundle_opa_does_not_hold_is_denied(w):
    with judged(w):
        told = w.call("pay.honours", {"amount": 5}, "a", w.token(tenant="globex"))
        assert (told.status_code, told.json()["rule"]) == (403, "opa#answer")


def with_rego(w):
    home = w.root / "tenants/acme"
    (home / "custom").mkdir()
    (home / "custom/fx.rego").write_text(REGO)
    path = home / "policy.yaml"
    path.write_text(path.read_text().replace("  rules:\n", "  rego: [{file: custom/fx.rego, tools: [pay.honours]}]\n  rules:\n"))


def test_hand_written_rego_joins_the_rules_of_its_tools(w):
    with_rego(w)
    with judged(w, engine="native"):
        assert w.call("pay.honours", {"amount": 4}, "a").status_code == 200
        assert w.call("pay.honours", {"amount": 5}, "b").json()["rule"] == "fx.odd"
        assert w.call("pay.honours", {"amount": 6000}, "c").json()["rule"] == "pay.ceiling"
        assert w.call("pay.neither", {"amount": 5}, "d").status_code == 200


def test_hand_written_rego_does_not_load_without_an_opa(w):
    with_rego(w)
    with pytest.raises(ConfigError, match="needs an OPA"):
        load_tenants(w.settings)
