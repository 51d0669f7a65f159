"""Messages over real HTTP, on both stores: a send is a governed call, a lease is one consumer's."""

from datetime import timedelta

from aegis.runtime.halts import Halt
from messages.post import until


def test_a_message_is_sent_leased_and_done_with(post):
    sent = post.send(subject="order/7")
    assert sent.status_code == 202, sent.text
    (put_in,) = sent.json()["messages"]
    assert put_in["to"] == "agent:store"
    taken = post.take()
    assert taken["message_id"] == put_in["id"]
    assert (taken["deliveries"], taken["accepted"]) == (1, "1.2")
    event = taken["event"]
    assert {name: event[name] for name in ("specversion", "source", "type", "schemaversion", "subject", "to", "data")} == {
        "specversion": "1.0", "source": "agent:payer", "type": "order", "schemaversion": "1.0.0", "subject": "order/7",
        "to": "agent:store", "data": {"sku": "A-1", "amount": 5},
    }  # fmt: skip
    assert event["dataschema"] == "urn:aegis:message:acme:order:1.0.0"
    assert post.take() is None
    assert post.ack(taken).json() == {"message_id": put_in["id"], "state": "acked"}
    assert post.ack(taken).status_code == 200
    assert post.take() is None
    kinds = [event["type"] for event in post.events(sent.json()["request_id"])]
    assert kinds == ["decision", "message", "outcome", "message_leased", "message_acked"]
    assert post.fsck() == []


def test_the_same_source_and_id_is_one_message(post):
    envelope = post.envelope(time="2026-03-01T12:00:00Z")
    first, again = (post.post("/v1/messages", envelope) for _ in range(2))
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.json()["messages"] == again.json()["messages"]
    assert again.json()["repeat_of"] == first.json()["request_id"]
    spiffe = post.post("/v1/messages", {**envelope, "source": "spiffe://acme.aegis/agent/payer"})
    assert spiffe.json()["messages"] == first.json()["messages"]
    other = post.post("/v1/messages", {**envelope, "data": {"sku": "A-2", "amount": 5}})
    assert other.json()["code"] == "idempotency-key-reused"
    assert post.take()
    assert post.take() is None


def test_what_is_refused_is_refused_with_its_place(on_sqlite):
    for change, status, code, field in (
        ({"source": "agent:store"}, 403, "forbidden", "/source"),
        ({"source": "spiffe://globex.aegis/agent/payer"}, 403, "forbidden", "/source"),
        ({"schemaversion": None}, 400, "malformed", "/schemaversion"),
        ({"dataschema": "urn:aegis:message:acme:order:1.2.0"}, 400, "malformed", "/schemaversion"),
        ({"dataschema": "urn:aegis:message:globex:order:1.0.0"}, 400, "malformed", "/dataschema"),
        ({"specversion": "0.3"}, 400, "malformed", "/specversion"),
        ({"datacontenttype": "text/xml"}, 400, "malformed", "/datacontenttype"),
        ({"extra": "x"}, 400, "malformed", ""),
        ({"id": ""}, 400, "malformed", "/id"),
        ({"type": "nothing.such"}, 422, "unknown-message", "/type"),
        ({"schemaversion": "1.1.0"}, 422, "unknown-message", "/schemaversion"),
        ({"data": {"sku": "A"}}, 422, "contract-violation", "args.data.amount"),
        ({"data": {"sku": "A", "amount": 1, "x": 1}}, 422, "contract-violation", "args.data.x"),
        ({"time": "yesterday"}, 422, "contract-violation", "args.time"),
        ({"to": "agent:other"}, 422, "contract-violation", "args.to"),
        ({"parentagent": "agent:x", "parentrequest": "req_1"}, 403, "policy-violation", ""),
    ):
        told = on_sqlite.send(**change)
        assert (told.status_code, told.json()["code"], told.json().get("field", "")) == (status, code, field), told.text
    assert on_sqlite.take() is None
    told = on_sqlite.send(headers={"idempotency_key": "mine"})
    assert (told.status_code, told.json()["field"]) == (400, "/headers/idempotency-key")


def test_a_refusal_names_what_is_known(on_sqlite):
    told = on_sqlite.send("oder")
    assert "this agent may send: books.closed, note, order" in told.json()["detail"]
    assert "there are: 1.0.0, 1.2.0, 2.0.0" in on_sqlite.send(version="3.0.0").json()["detail"]
    assert (
        "may send: none" in on_sqlite.send("oder", source="agent:store", token=on_sqlite.as_agent("agent:store")).json()["detail"]
    )


def test_rules_decide_about_messages_as_about_tools(on_sqlite):
    told = on_sqlite.send(source="agent:seller", token=on_sqlite.as_agent("agent:seller"))
    assert (told.status_code, told.json()["rule"]) == (403, "order.sales")
    held = on_sqlite.envelope(data={"sku": "A", "amount": 2000})
    waits = on_sqlite.post("/v1/messages", held)
    assert waits.json()["code"] == "approval-needed"
    assert on_sqlite.take() is None
    on_sqlite.approve(waits.json()["approval_id"])
    assert on_sqlite.post("/v1/messages", held).status_code == 202
    assert on_sqlite.take()["event"]["data"]["amount"] == 2000
    on_sqlite.send(data={"sku": "A", "amount": 1, "card": "4111111111111111"})
    assert "4111" not in on_sqlite.take()["event"]["data"]["card"]


def test_only_whom_the_contract_names_may_send_whatever_the_door(on_sqlite):
    store = on_sqlite.as_agent("agent:store")
    told = on_sqlite.send(source="agent:store", token=store)
    assert (told.status_code, told.json()["rule"]) == (403, "message.order#from")
    arguments = {"source": "agent:payer", "id": "1", "data": {"sku": "A", "amount": 1}}
    for token, changed, key in (
        (on_sqlite.as_agent("agent:seller"), {}, "k"),
        (on_sqlite.as_agent("agent:payer"), {}, "k"),
        (store, {"source": "agent:store"}, "k"),
    ):
        told = on_sqlite.call("message.order", {**arguments, **changed}, key, token)
        assert told.status_code in (403, 422), told.text
    assert on_sqlite.take() is None


def test_a_message_with_a_choice_names_its_addressee_and_a_role_is_any_one_of_it(post):
    text = {"data": {"text": "hello"}}
    assert post.send("note", **text, headers={"idempotency_key": "n0"}).json()["field"] == "args.to"
    assert post.send("note", **text, to="role:audit").json()["rule"] == "message.note#idempotency-key"
    assert post.send("note", **text, to="role:audit", headers={"idempotency_key": "n1"}).status_code == 202
    assert post.take("note", "1.0") is None
    taken = post.take("note", "1.0", agent="agent:ann")
    assert taken["event"]["to"] == "role:audit"
    assert post.take("note", "1.0", agent="agent:ben") is None
    assert post.ack(taken, "agent:ben").status_code == 404
    assert post.ack(taken, "agent:ann").status_code == 200


def test_an_event_reaches_every_addressee_once(post):
    sent = post.send("books.closed", data={"month": 3})
    assert [each["to"] for each in sent.json()["messages"]] == ["agent:store", "role:audit"]
    for agent in ("agent:store", "agent:ben"):
        assert post.take("books.closed", "1.0", agent=agent)["event"]["data"] == {"month": 3}
        assert post.take("books.closed", "1.0", agent=agent) is None


def test_whoever_is_not_the_addressee_finds_nothing_and_that_is_recorded(post):
    post.send()
    for agent in ("agent:payer", "agent:ann"):
        assert post.lease(agent=agent).status_code == 404
    assert post.lease("nothing.such").status_code == 404
    taken = post.take()
    for agent in ("agent:payer", "agent:ann"):
        assert post.ack(taken, agent).status_code == 404
        assert post.nack(taken, agent).status_code == 404
    assert [event["reason"] for event in post.of_type("refusal")] == ["not-found"] * 7
    assert post.ack(taken).status_code == 200


def test_tenants_do_not_meet(post):
    post.send()
    assert post.take(tenant="globex") is None
    taken = post.take()
    assert post.ack(taken, tenant="globex").status_code == 404
    told = post.post(
        f"/v1/messages/{taken['message_id']}/nack", {"lease": taken["lease"], "reason": "x"}, post.as_agent("agent:store", "globex")
    )
    assert told.status_code == 404
    assert post.send(source="agent:payer", token=post.as_agent("agent:payer", "globex")).status_code == 202
    assert post.take() is None
    assert post.take(tenant="globex")["event"]["source"] == "agent:payer"
    assert [event["reason"] for event in post.of_type("refusal", "globex")] == ["not-found"] * 2


def test_a_consumer_states_a_version_that_there_is(on_sqlite):
    told = on_sqlite.lease(accept="1.9")
    assert (told.status_code, told.json()["code"]) == (422, "unknown-message")
    assert "there are: 1.0.0, 1.2.0, 2.0.0" in told.json()["detail"]
    assert on_sqlite.lease(accept="latest").json()["field"] == "/accept"


def test_within_a_major_version_both_sides_cope(on_sqlite):
    on_sqlite.send(version="1.2.0", data={"sku": "A", "amount": 1, "gift": True})
    assert on_sqlite.take(accept="1.0")["event"]["schemaversion"] == "1.2.0"
    on_sqlite.send(version="1.0.0")
    assert on_sqlite.take(accept="2.0,1.2")["event"]["schemaversion"] == "1.0.0"


def test_versions_that_do_not_meet_are_told_and_the_message_is_dead(post):
    (put_in,) = post.send(version="2.0.0", data={"sku": "A", "count": 1}).json()["messages"]
    told = post.lease(accept="1.2")
    assert (told.status_code, told.json()["code"]) == (409, "version-mismatch")
    detail = told.json()["detail"]
    assert "version 2.0.0 (`schemaversion`, stated by agent:payer)" in detail
    assert "agent:store reads 1.2 (`accept`)" in detail
    (dead,) = post.dead()
    assert (dead.id, dead.reason, dead.detail) == (put_in["id"], "version_mismatch", detail)
    assert post.take(accept="2.0") is None


def test_a_lease_that_runs_out_gives_the_message_to_another(post):
    post.send()
    first = post.take(seconds=60)
    post.hand.offset = timedelta(seconds=61)
    second = until(post.take)
    assert second["message_id"] == first["message_id"]
    assert second["deliveries"] == 2
    assert post.ack(first).json()["code"] == "lease-lost"
    assert post.nack(first).json()["code"] == "lease-lost"
    assert post.ack(second).status_code == 200


def test_a_message_that_is_given_back_three_times_is_dead(post):
    post.send()
    for attempt in (1, 2, 3):
        taken = post.take()
        assert taken["deliveries"] == attempt
        assert post.nack(taken).status_code == 200
    assert post.take() is None
    (dead,) = post.dead()
    assert (dead.reason, dead.deliveries) == ("too_many_deliveries", 3)
    assert [event["reason"] for event in post.of_type("dead_letter")] == ["too_many_deliveries"]


def test_a_message_whose_time_ran_out_is_dead(post):
    post.send()
    post.hand.offset = timedelta(seconds=601)
    assert post.take() is None
    until(post.dead)
    assert post.dead()[0].reason == "timeout"


def test_a_halted_agent_receives_nothing(post):
    post.send()
    post.inside(
        lambda app: app.gate.halts.set(Halt(tenant="acme", what="agent:store", mode="halt", reason="drill", by="person:alice"))
    )
    told = until(lambda: next((said for said in [post.lease()] if said.status_code == 403), None))
    assert told.json()["rule"] == "halted"


def test_a_token_that_does_not_open_the_message_does_not_receive_it(on_sqlite):
    on_sqlite.send()
    told = on_sqlite.lease(token=on_sqlite.as_agent("agent:store", scopes=("message.note",)))
    assert (told.status_code, told.json()["rule"]) == (403, "chain.scope")


def test_messages_may_declare_themselves_as_cloudevents(on_sqlite):
    told = on_sqlite.post("/v1/messages", on_sqlite.envelope(), content_type="application/cloudevents+json; charset=utf-8")
    assert told.status_code == 202, told.text
