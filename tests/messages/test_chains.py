"""Agents that work for another one: they send and receive only while what they stand on is under way."""

from datetime import timedelta

import pytest

import aegis
from aegis.adapters import keyfiles
from messages.post import Post


def parent_of(post):
    """A request of the payer that is under way, and how to end it."""
    decided = post.post(
        "/v1/decide", {"tool": "pay.honours", "arguments": {"amount": 1}}, post.as_agent("agent:payer"), idempotency_key="p-1"
    )
    assert decided.status_code == 200, decided.text
    request_id = decided.json()["request_id"]
    return request_id, lambda: post.post(f"/v1/decide/{request_id}/outcome", {"done": False}, post.as_agent("agent:payer"))


def test_a_child_receives_only_while_its_parent_is_under_way(on_sqlite):
    on_sqlite.send()
    request_id, end = parent_of(on_sqlite)
    token = on_sqlite.as_agent("agent:store", parent=("agent:payer", request_id))
    named = {"parent_agent_id": "agent:payer", "parent_request_id": request_id}
    wanted = {"type": "order", "accept": "1.2"}
    assert on_sqlite.post("/v1/messages/lease", wanted, token).json()["rule"] == "chain.parent_required"
    other = on_sqlite.post("/v1/messages/lease", {**wanted, **named, "parent_request_id": "req_other"}, token)
    assert other.json()["rule"] == "chain.parent_mismatch"
    taken = on_sqlite.post("/v1/messages/lease", {**wanted, **named}, token).json()["message"]
    assert end().status_code == 200
    path = f"/v1/messages/{taken['message_id']}"
    for word, more in (("ack", {}), ("nack", {"reason": "x"})):
        told = on_sqlite.post(f"{path}/{word}", {"lease": taken["lease"], **named, **more}, token)
        assert (told.status_code, told.json()["rule"]) == (403, "chain.parent_not_live")
    told = on_sqlite.post("/v1/messages/lease", {**wanted, **named}, token)
    assert (told.status_code, told.json()["rule"]) == (403, "chain.parent_not_live")


def test_a_child_sends_in_its_own_name_while_its_parent_is_under_way(on_sqlite):
    request_id, end = parent_of(on_sqlite)
    token = on_sqlite.token("agent:seller", roles=("sales",), scopes=("message.books.closed",), parent=("agent:payer", request_id))
    named = {"parentagent": "agent:payer", "parentrequest": request_id}
    told = on_sqlite.send("books.closed", data={"month": 1}, source="agent:seller", token=token, **named)
    assert (told.status_code, told.json()["rule"]) == (403, "message.books.closed#from")
    token = on_sqlite.as_agent("agent:seller", parent=("agent:payer", request_id))
    assert on_sqlite.send(source="agent:seller", token=token, **named).json()["rule"] == "order.sales"
    assert on_sqlite.send(source="agent:payer", token=token, **named).json()["code"] == "forbidden"
    end()
    assert "chain.parent_not_live" in on_sqlite.send(source="agent:seller", token=token, **named).json()["rules"]


@pytest.fixture
def keyed(tmp_path):
    """A world with messages in which every agent has a key of its own."""
    made = Post(tmp_path, "sqlite:data/aegis.db")
    try:
        for name in ("agent:payer", "agent:store"):
            keyfiles.create(made.keys, "workload", "acme", name, now=made.hand() - timedelta(minutes=1))
        made.start()
        yield made
    finally:
        made.close()


def agent(w, agent_id, **more):
    home = w.keys / "workload" / "acme" / agent_id.replace(":", "-")
    return aegis.Agent(w.url, agent_id, tenant="acme", key=next(home.glob("*.jwk.json")), **more)


@pytest.mark.parametrize("bound", [False, True], ids=["bearer", "bound"])
def test_a_task_narrows_what_may_be_sent_and_received(keyed, bound):
    payer, store = agent(keyed, "agent:payer", bound=bound), agent(keyed, "agent:store", bound=bound)
    small = payer.delegate(tools=[{"tool": "message.order", "limits": {"data.amount": {"max": 10}}, "calls": 2}])
    with aegis.Client(keyed.url, payer.take_up(small.delegation)) as client:
        assert client.send("order", "1.0.0", {"sku": "A", "amount": 10}).messages
        with pytest.raises(aegis.PolicyViolation, match="outside what was handed down"):
            client.send("order", "1.0.0", {"sku": "A", "amount": 11})
        with pytest.raises(aegis.PolicyViolation, match="not handed down"):
            client.send("books.closed", "1.0.0", {"month": 1})
    reading = store.delegate(tools=[{"tool": "message.order"}])
    with aegis.Client(keyed.url, store.take_up(reading.delegation)) as client:
        with pytest.raises(aegis.PolicyViolation, match="not handed down"):
            client.receive("note", accept="1.0")
        taken = client.receive("order", accept="1.2")
        assert taken.data == {"sku": "A", "amount": 10}
        store.end(reading)
        with pytest.raises(aegis.PolicyViolation, match="not under way"):
            client.ack(taken)
    with aegis.Client(keyed.url, store) as client:
        client.ack(taken)
