"""Whoever reaches the port learns that the process is well, and nothing of who its tenants are."""

import re
import time

import httpx
import pytest
from tests.tenants.two import CURIOUS, OWNER

from aegis.adapters import keyfiles, monitorkey
from aegis.errors import ConfigError
from aegis.surfaces.gateway.metrics import Metrics

NAMING = {"tenant", "tool", "agent", "agent_id", "person", "subject", "client", "kid", "issuer"}
PLAIN = ("/healthz", "/readyz", "/metrics", "/openapi.json")


@pytest.fixture
def busy(on_sqlite):
    for tenant in (OWNER, CURIOUS):
        token = on_sqlite.token("agent:payer", tenant)
        assert on_sqlite.call("pay.honours", {"amount": 5}, "k", token).status_code == 200
        assert on_sqlite.call("pay.honours", {"amount": 9999}, "k2", token).status_code == 403
    return on_sqlite


def test_nobody_learns_of_tenants_tools_and_agents_by_watching(busy):
    for path in PLAIN:
        text = httpx.get(busy.url + path).text
        for name in (OWNER, CURIOUS, "pay.honours", "payer", "treasury"):
            assert name not in text, path
    assert 'aegis_outcomes_total{outcome="allow"} 2.0' in httpx.get(busy.url + "/metrics").text


def test_the_operator_sees_every_tenant(busy):
    text = busy.watch("/metrics").text
    for tenant in (OWNER, CURIOUS):
        assert f'aegis_decisions_total{{outcome="deny",tenant="{tenant}",tool="pay.honours"}} 1.0' in text
        assert f'aegis_policy_version{{role="enforced",tenant="{tenant}"}}' in text
    assert 'aegis_outcomes_total{outcome="allow"} 2.0' in text
    families = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
    assert len(families) == len(set(families)), "a family may stand once in the format of Prometheus"


def test_what_anybody_may_see_has_no_label_that_names_somebody():
    for family in Metrics().registry.collect():
        for name in getattr(Metrics().registry._names_to_collectors[family.name], "_labelnames", ()):
            assert name not in NAMING, f"`{family.name}` belongs into the registry for the operator"


@pytest.mark.parametrize("given", ["x", "x" * 64, "agent"])
def test_another_credential_opens_nothing_and_is_refused(busy, given):
    token = busy.token() if given == "agent" else given
    told = httpx.get(busy.url + "/metrics", headers={"authorization": f"Bearer {token}"})
    assert (told.status_code, told.json()["code"]) == (401, "unauthenticated")
    assert OWNER not in told.text


def test_a_new_key_holds_at_once_and_one_that_others_can_read_holds_nothing(busy):
    path = busy.keys / monitorkey.FILE
    old = monitorkey.load(busy.keys)
    path.unlink()
    assert httpx.get(busy.url + "/metrics", headers={"authorization": f"Bearer {old}"}).status_code == 401
    assert httpx.get(busy.url + "/metrics", headers={"authorization": "Bearer"}).status_code == 401
    monitorkey.create(busy.keys)
    assert busy.watch("/metrics").status_code == 200
    path.chmod(0o644)
    key = path.read_text().strip()
    assert httpx.get(busy.url + "/metrics", headers={"authorization": f"Bearer {key}"}).status_code == 401
    with pytest.raises(ConfigError, match="chmod 600"):
        monitorkey.load(busy.keys)
    path.write_text("short\n")
    path.chmod(0o600)
    assert httpx.get(busy.url + "/metrics", headers={"authorization": "Bearer short"}).status_code == 401


def test_only_the_operator_is_told_what_a_trouble_is_about(busy):
    (busy.keys / "public.json").write_text("{")
    end = time.monotonic() + 10
    while (told := httpx.get(busy.url + "/readyz")).status_code == 200:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert told.text.startswith("keys: ")
    assert "public.json" not in told.text
    assert "public.json" in busy.watch("/readyz").text


def test_who_does_not_exist_is_refused_in_the_words_for_who_does(busy):
    """A token for a tenant that is not served says no more than one for a tenant that is."""
    keyfiles.create(busy.keys, "sts", "initech", "", now=busy.hand())
    refused = [
        busy.get("/v1/tools", busy.token("agent:payer", "initech")),
        busy.get("/v1/tools", busy.token("agent:nobody", OWNER)),
    ]
    assert [told.status_code for told in refused] == [401, 401]
