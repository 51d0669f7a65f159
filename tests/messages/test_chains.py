"""Agents that work for another one: they send and receive only while what they stand on is under way."""


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
