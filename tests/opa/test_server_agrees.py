"""A real OPA server gives the answers of native evaluation, whether builtin errors are strict or not."""

import json

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.opa.server import Server, binary
from tests.policy import oracle, strategies
from tests.policy.variants import Variants

from aegis.errors import CanonicalError
from aegis.policy.guard import RulesGuard
from aegis.policy.rego import module
from aegis.policy.rego.asked import document

POLICIES = 4
PER_POLICY = 80


@pytest.mark.parametrize("strict", ["true", "false"])
def test_the_server_decides_as_native_evaluation_does(strict):
    binary()
    compared = 0

    @settings(max_examples=POLICIES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def run(data):
        nonlocal compared
        compared += compare(data, strict)

    run()
    assert compared >= POLICIES * PER_POLICY // 2


def compare(data, strict):
    given_ = data.draw(strategies.policies())
    tenant_data = data.draw(strategies.tenant_data())
    bases = [data.draw(strategies.calls(given_, fitting=True)) for _ in range(3)]
    variants = Variants(data.draw(st.integers(0, 2**32)), given_, tenant_data, bases)
    policy = strategies.loaded(given_)
    guard = RulesGuard(policy, tenant_data)
    files = {**module.library(), **module.modules(policy), "data.json": module.data(policy, tenant_data)}
    compared = 0
    with Server(files) as opa, httpx.Client(base_url=opa.url) as http:
        for _ in range(PER_POLICY):
            proposal, facts = variants.call()
            try:
                asked = document(proposal, facts, policy)
            except CanonicalError:
                continue
            content = json.dumps({"input": asked}, allow_nan=False)
            told = http.post("/v1/data/aegis_acme/main/decision", params={"strict-builtin-errors": strict}, content=content)
            answer = told.json()["result"]
            assert (answer.pop("revision"), answer.pop("custom")) == (policy.digest, [])
            assert answer == oracle.native(guard, proposal, facts)
            compared += 1
    return compared


def test_whatever_is_asked_without_an_input_is_denied():
    policy = strategies.loaded(_document())
    files = {**module.library(), **module.modules(policy), "data.json": module.data(policy, {})}
    with Server(files) as opa:
        for body in ({}, {"input": None}, {"input": []}, {"input": "probe.run"}, {"input": {"tenant": "acme", "tool": 7}}):
            answer = httpx.post(f"{opa.url}/v1/data/aegis_acme/main/decision", json=body).json()["result"]
            assert answer["outcome"] == "deny"


def test_without_the_data_of_the_tenant_everything_is_denied():
    policy = strategies.loaded(_document())
    with Server({**module.library(), **module.modules(policy)}) as opa:
        asked = {"tenant": "acme", "tool": "probe.run", "args": {}}
        answer = httpx.post(f"{opa.url}/v1/data/aegis_acme/main/decision", json={"input": asked}).json()["result"]
        assert (answer["outcome"], answer["rules"]) == ("deny", ["policy#data"])


def _document():
    return {
        "apiVersion": "aegis.policy/v1",
        "kind": "PolicySet",
        "metadata": {"name": "open", "tenant": "acme", "owner": "tests@acme.example"},
        "spec": {
            "tools": {"probe.run": {"args": {}}},
            "rules": [{"id": "all", "effect": "allow", "tools": ["*"]}],
        },
    }
