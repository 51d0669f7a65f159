"""Agents by the SDK: a key is all that they are given."""

import asyncio
from pathlib import Path

import pytest

import aegis
from aegis.adapters import keyfiles
from aegis.errors import ConfigError
from authority.agents import with_keys
from gateway.world import World


def agent(w, agent_id, **more):
    home = w.keys / "workload" / "acme" / agent_id.replace(":", "-")
    return aegis.Agent(w.url, agent_id, tenant="acme", key=next(home.glob("*.jwk.json")), **more)


@pytest.mark.parametrize("bound", [False, True], ids=["bearer", "bound"])
def test_a_task_is_handed_down_taken_up_and_ended(w, bound):
    desk, payer = agent(w, "agent:desk", bound=bound), agent(w, "agent:payer", bound=bound)
    handed = desk.delegate("agent:payer", tools=[{"tool": "pay.honours", "limits": {"amount": {"max": 10}}}], task="invoice-1")
    with aegis.Client(w.url, payer.take_up(handed.delegation)) as client:
        assert client.call("pay.honours", {"amount": 10}, key="k1").decision == "allow"
        with pytest.raises(aegis.PolicyViolation, match="outside what was handed down"):
            client.call("pay.honours", {"amount": 11}, key="k2")
        desk.end(handed)
        with pytest.raises(aegis.PolicyViolation, match="not under way"):
            client.call("pay.honours", {"amount": 1}, key="k3")
    with pytest.raises(aegis.GatewayError, match="parent_not_live"):
        payer.take_up(handed.delegation)
    assert len(w.tool.done) == 1


def test_the_asynchronous_client_takes_an_agent_too(on_sqlite):
    w = on_sqlite

    async def run() -> str:
        async with aegis.AsyncClient(w.url, agent(w, "agent:payer", bound=True, scopes=["pay.honours"])) as client:
            done = await client.call("pay.honours", {"amount": 1}, key="k")
            with pytest.raises(aegis.PolicyViolation):
                await client.call("pay.ask", {"amount": 1}, key="k2")
            return done.decision

    assert asyncio.run(run()) == "allow"


def test_an_agent_that_may_not_hand_down_learns_why(on_sqlite):
    with pytest.raises(aegis.PolicyViolation, match="delegation_not_granted"):
        agent(on_sqlite, "agent:planner").delegate("agent:other", scopes=["pay.honours"])


@pytest.mark.parametrize("key", ["{}", '{"d": 1}', '{"d": "AAAA"}', Path("nowhere.json"), "nowhere.json"])
def test_a_key_that_is_none_is_refused_without_telling_what_was_there(key):
    with pytest.raises(ConfigError, match="holds no Ed25519 private key") as refused:
        aegis.Agent("http://127.0.0.1:1", "agent:x", tenant="acme", key=key)
    assert "AAAA" not in str(refused.value)


def test_the_key_itself_is_taken_as_well(on_sqlite):
    w = on_sqlite
    key = keyfiles.load_private(w.keys, "workload", "acme", "agent:reader")
    with aegis.Client(w.url, aegis.Agent(w.url, "agent:reader", tenant="acme", key=key)) as client:
        assert client.call("records.read", {"id": "r1"}).decision == "sanitize"


def shown(found):
    return found.headers("GET", "/v1/tools")["authorization"].split()[1]


def test_an_agent_whose_token_is_taken_back_goes_on_with_a_fresh_one(w):
    payer, desk = agent(w, "agent:payer"), agent(w, "agent:desk")

    async def call(key):
        async with aegis.AsyncClient(w.url, payer) as client:
            return (await client.call("pay.honours", {"amount": 1}, key=key)).decision

    with aegis.Client(w.url, payer) as client:
        for key in ("k1", "k2"):
            before = shown(payer)
            w.revoke_token(before)
            assert client.call("pay.honours", {"amount": 1}, key=key).decision == "allow"
            assert shown(payer) != before
    w.revoke_token(shown(payer))
    assert asyncio.run(call("k3")) == "allow"
    w.revoke_token(shown(desk))
    assert desk.delegate("agent:payer", scopes=["pay.honours"]).to == "agent:payer"
    assert len(w.tool.done) == 3


def test_a_task_whose_giver_is_taken_back_stays_refused(on_sqlite):
    w = on_sqlite
    desk, payer = agent(w, "agent:desk"), agent(w, "agent:payer")
    with aegis.Client(w.url, payer.take_up(desk.delegate("agent:payer", scopes=["pay.honours"]).delegation)) as client:
        assert client.call("pay.honours", {"amount": 1}, key="k1").decision == "allow"
        w.revoke_token(shown(desk))
        with pytest.raises(aegis.GatewayError, match="revoked"):
            client.call("pay.honours", {"amount": 1}, key="k2")


def test_a_token_that_is_no_agents_own_is_not_replaced(on_sqlite):
    w = on_sqlite
    token = shown(agent(w, "agent:desk"))
    w.revoke_token(token)
    with aegis.Client(w.url, token) as client, pytest.raises(aegis.GatewayError, match="refused: revoked"):
        client.tools()


def test_an_agent_states_its_prompt_by_the_file(tmp_path):
    w = World(tmp_path, "sqlite:data/aegis.db")
    with_keys(w)
    path, prompt = tmp_path / "tenants" / "acme" / "directory.yaml", tmp_path / "tenants" / "acme" / "payer.md"
    path.write_text(path.read_text().replace("agent:payer: {roles", "agent:payer: {prompt: payer.md, roles"))
    prompt.write_text("pay invoices")
    try:
        w.start()
        with aegis.Client(w.url, agent(w, "agent:payer", prompt=prompt)) as client:
            assert client.call("pay.honours", {"amount": 1}, key="k").decision == "allow"
        with pytest.raises(aegis.GatewayError, match="artifact_digest_mismatch"):
            agent(w, "agent:payer").headers("GET", "/v1/tools")
        with pytest.raises(ConfigError, match="cannot be read"):
            agent(w, "agent:payer", prompt=tmp_path / "nowhere.md")
    finally:
        w.close()


@pytest.mark.parametrize(
    ("to", "wanted", "rule", "field"),
    [
        ("agent:payr", {"scopes": ["pay.honours"]}, "unknown_agent", "to"),
        ("agent:payer", {"tools": [{"tool": "pay.honors"}]}, "unknown_tool", "tools"),
    ],
)
def test_a_slip_in_a_task_is_told_with_its_place(on_sqlite, to, wanted, rule, field):
    with pytest.raises(aegis.PolicyViolation) as refused:
        agent(on_sqlite, "agent:desk").delegate(to, **wanted)
    assert (refused.value.problem["rule"], refused.value.problem["field"]) == (f"delegation.{rule}", field)
